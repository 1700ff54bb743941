"""Kernels and images compared: the losses of paper section 3.4 and the figures of the log."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_deblur.training.recipe import ImageLoss

__all__ = [
    "blurred_kernels",
    "flip_invariant_distance",
    "image_loss",
    "kernel_correlation",
    "kernel_distance",
    "psnr",
]

_SMALLEST_MSE = 1e-7


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


def blurred_kernels(
    kernel: torch.Tensor, sigma: NDArray[np.float64], shift: NDArray[np.float64]
) -> torch.Tensor:
    """Blur kernels (B, m, m) by Gaussians of `sigma` (B,) and shift them by `shift` (B, 2) pixels.

    Where both are zero a kernel stays exactly as it is.
    """
    side = kernel.shape[-1]
    grid = (2 * side, 2 * side)
    device = kernel.device
    width = torch.from_numpy(sigma).to(device, torch.float32).view(-1, 1, 1)
    move = torch.from_numpy(shift).to(device, torch.float32)
    rows = torch.fft.fftfreq(grid[0], device=device).view(1, -1, 1)
    columns = torch.fft.rfftfreq(grid[1], device=device).view(1, 1, -1)
    decay = torch.exp(-2 * (math.pi * width) ** 2 * (rows**2 + columns**2))
    phase = -2 * math.pi * (rows * move[:, 0].view(-1, 1, 1) + columns * move[:, 1].view(-1, 1, 1))
    spectrum = torch.fft.rfft2(kernel, s=grid) * torch.polar(decay, phase)
    spoilt = torch.fft.irfft2(spectrum, s=grid)[:, :side, :side].clamp(min=0)
    spoilt = spoilt / spoilt.sum(dim=(1, 2), keepdim=True)
    untouched = (width.view(-1) == 0) & (move == 0).all(dim=1)
    return torch.where(untouched.view(-1, 1, 1), kernel, spoilt)


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
