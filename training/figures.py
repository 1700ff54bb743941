"""Kernels and images compared: the losses of paper section 3.4 and the figures of the log."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_deblur.training.recipe import ImageLoss

__all__ = [
    "flip_invariant_distance",
    "image_loss",
    "kernel_correlation",
    "kernel_distance",
    "perturbed_kernels",
    "psnr",
    "spectral_error",
]

_SMALLEST_MSE = 1e-7
_SPECTRAL_FLOOR = 3e-3  # of a restoration: powers of a kernel below it are lost anyway


def kernel_distance(estimate: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """L1 distance of each pair (B, m, m), summed over pixels: (B,), 0 for equal, at most 2."""
    return (estimate - kernel).abs().sum(dim=(1, 2))


def flip_invariant_distance(estimate: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """L1 distance (B,) to the kernel or to its 180-degree rotation, whichever is nearer.

    An auto-correlation cannot tell the two apart; plain L1 makes a network that sees little else
    answer with their mean.
    """
    turned = kernel_distance(estimate, kernel.flip((1, 2)))
    return torch.minimum(kernel_distance(estimate, kernel), turned)


def kernel_correlation(estimate: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """Normalised correlation (B,) of kernels (B, m, m) at the best whole-pixel shift; 1: equal."""
    grid = (2 * kernel.shape[-1],) * 2
    spectra = [torch.fft.rfft2(part.float(), s=grid) for part in (estimate, kernel)]
    lags = torch.fft.irfft2(spectra[0] * spectra[1].conj(), s=grid)
    norms = [part.float().square().sum(dim=(1, 2)).sqrt() for part in (estimate, kernel)]
    peak: torch.Tensor = lags.amax(dim=(1, 2))
    return peak / (norms[0] * norms[1]).clamp(min=1e-12)


def spectral_error(estimate: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """Error (B,) that a kernel's error makes in a restored photograph, per power of its details.

    A Wiener filter divides by the kernel's spectrum, so an error counts where the true kernel
    passes little, and counts as the spectrum of photographs falls: the mean over all frequencies f
    of ``|E - K|^2 / (|K|^2 + floor)``, weighted by ``1 / |f|^2``.  0 for equal kernels (B, m, m).
    """
    side = kernel.shape[-1]
    grid = 2 * side + 2
    rows = torch.fft.fftfreq(grid, device=kernel.device)[:, None]
    columns = torch.fft.rfftfreq(grid, device=kernel.device)[None]
    weights = 1 / (rows.square() + columns.square() + 1 / grid**2)
    weights = weights / weights.sum()
    power, error = (
        torch.fft.rfft2(each.float(), s=(grid, grid)).abs().square()
        for each in (kernel, estimate - kernel)
    )
    relative: torch.Tensor = weights * error / (power + _SPECTRAL_FLOOR)
    return relative.sum(dim=(1, 2))


def perturbed_kernels(
    kernel: torch.Tensor,
    blur: NDArray[np.float64],
    noise: NDArray[np.float64],
    rng: np.random.Generator,
) -> torch.Tensor:
    """Blur kernels (B, m, m) by Gaussians of standard deviation `blur` (B,) and change each value.

    The change has a standard deviation of `noise` (B,) times the value, so that what is empty stays
    so.  Where both are zero a kernel stays exactly as it is.
    """
    side, device = kernel.shape[-1], kernel.device
    grid = (2 * side, 2 * side)
    width, spread = (
        torch.from_numpy(np.asarray(each)).to(device, torch.float32).view(-1, 1, 1)
        for each in (blur, noise)
    )
    rows = torch.fft.fftfreq(grid[0], device=device).view(1, -1, 1)
    columns = torch.fft.rfftfreq(grid[1], device=device).view(1, 1, -1)
    decay = torch.exp(-2 * (math.pi * width) ** 2 * (rows**2 + columns**2))
    spectrum = torch.fft.rfft2(kernel, s=grid) * decay
    spoilt = torch.fft.irfft2(spectrum, s=grid)[:, :side, :side].clamp(min=0)
    chance = rng.standard_normal(tuple(kernel.shape), dtype=np.float32)
    spoilt = spoilt * (1 + spread * torch.from_numpy(chance).to(device)).clamp(min=0)
    spoilt = spoilt / spoilt.sum(dim=(1, 2), keepdim=True)
    return torch.where((width == 0) & (spread == 0), kernel, spoilt)


def image_loss(kind: ImageLoss, estimate: torch.Tensor, sharp: torch.Tensor) -> torch.Tensor:
    """Mean loss of a batch (B, C, H, W): L2 (paper), L1, or the log of each image's L2."""
    difference = estimate.float() - sharp
    if kind == "l1":
        return difference.abs().mean()
    squares = difference.square().mean(dim=(1, 2, 3))
    return squares.mean() if kind == "l2" else (squares + _SMALLEST_MSE).log().mean()


def psnr(estimate: torch.Tensor, sharp: torch.Tensor) -> torch.Tensor:
    """Peak signal-to-noise ratio (B,) in dB for a peak of 1, the estimate clipped to [0, 1]."""
    squares = (estimate.float().clamp(0, 1) - sharp).square().mean(dim=(1, 2, 3))
    return -10 * squares.clamp(min=1e-12).log10()
