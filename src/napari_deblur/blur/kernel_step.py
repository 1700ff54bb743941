"""The kernel that turns a latent image into the blurry one: least squares, then cleaning.

Cho and Lee, "Fast motion deblurring", SIGGRAPH Asia 2009, section 4.2, with the kernel confined to
its support while it is solved for, rather than cropped afterwards.  The normal equations need the
latent gradients' auto-correlation and their cross-correlation with the blurry image's, at lags
within the kernel: statistics of the same kind as the analysis network's, and like those they may
be added up over images that share one kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from napari_deblur.blur.spectra import fast_length

__all__ = ["NormalEquations", "clean_kernel", "normal_equations", "solve_kernel"]

_ROUNDS: Final = 25
_NEIGHBOURS: Final = np.ones((3, 3), bool)


@dataclass(frozen=True)
class NormalEquations:
    """What least squares needs to know of a pair of images.

    Attributes
    ----------
    matrix : Tensor, shape (B, 2 m - 1, 2 m - 1)
        Auto-correlation of the latent gradients at lags within m - 1.
    target : Tensor, shape (B, m, m)
        Cross-correlation of the latent with the blurry gradients at lags within m // 2.
    """

    matrix: Tensor
    target: Tensor


@torch.no_grad()
def normal_equations(latent: Tensor, blurry: Tensor, size: int) -> NormalEquations:
    """Correlate gradients at short lags.

    Parameters
    ----------
    latent, blurry : Tensor, shape (B, 2, H, W)
        Gradients of the latent image (see `napari_deblur.blur.edges.strongest_gradients`) and of
        the blurry one.
    size : int
        Side m of the kernel in pixels, odd.
    """
    shape = [fast_length(side + size) for side in latent.shape[-2:]]
    with torch.autocast(latent.device.type, enabled=False):
        spectrum = torch.fft.rfft2(latent, s=shape)
        power = (spectrum.real.square() + spectrum.imag.square()).sum(dim=1)
        cross = (spectrum.conj() * torch.fft.rfft2(blurry, s=shape)).sum(dim=1)
        matrix = _lags(torch.fft.irfft2(power, s=shape), size - 1)
        target = _lags(torch.fft.irfft2(cross, s=shape), size // 2)
    return NormalEquations(matrix, target)


def _lags(correlation: Tensor, radius: int) -> Tensor:
    """Lags within `radius` of circular correlations, lag 0 in the middle."""
    rolled = torch.roll(correlation, (radius, radius), (-2, -1))
    return rolled[..., : 2 * radius + 1, : 2 * radius + 1]


@torch.no_grad()
def solve_kernel(equations: NormalEquations, ridge: float = 2.0) -> Tensor:
    """Solve ``argmin_k |grad x * k - grad b|^2 + ridge |k|^2`` by conjugate gradients.

    Parameters
    ----------
    equations : NormalEquations
        From images in [0, 1].
    ridge : float
        Weight that holds the kernel's energy down, above 0.

    Returns
    -------
    Tensor, shape (B, m, m)
        Neither clipped nor scaled; see `clean_kernel`.
    """
    size = equations.target.shape[-1]
    span = fast_length(3 * size)
    padded = functional.pad(equations.matrix, (0, span - 2 * size + 1) * 2)
    transfer = torch.fft.rfft2(torch.roll(padded, (1 - size, 1 - size), (-2, -1))).real

    def apply(kernel: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(kernel, s=(span, span)) * transfer
        return torch.fft.irfft2(spectrum, s=(span, span))[..., :size, :size] + ridge * kernel

    kernel = torch.zeros_like(equations.target)
    rest = equations.target.clone()
    direction = rest
    energy = _dot(rest, rest)
    tiny = torch.finfo(kernel.dtype).tiny
    for _ in range(_ROUNDS):
        applied = apply(direction)
        step = energy / _dot(direction, applied).clamp_min(tiny)
        kernel = kernel + step * direction
        rest = rest - step * applied
        previous, energy = energy, _dot(rest, rest)
        direction = rest + energy / previous.clamp_min(tiny) * direction
    return kernel


def _dot(first: Tensor, second: Tensor) -> Tensor:
    return (first * second).sum(dim=(-2, -1), keepdim=True)


def clean_kernel(
    kernel: NDArray[np.floating], *, floor: float = 0.05, speck: float = 0.05
) -> NDArray[np.float32]:
    """Make a kernel of a least-squares solution.

    Values below ``floor * peak`` are noise and become 0; so do connected pieces that hold less
    than `speck` of the whole, except the heaviest.  The rest is scaled to sum 1 and moved by whole
    pixels, which blur nothing, until its centroid lies in the middle pixel.

    Parameters
    ----------
    kernel : ndarray, shape (m, m)
        Any values.
    floor, speck : float
        Fractions in [0, 1).

    Returns
    -------
    ndarray, shape (m, m), float32
        Non-negative, sum 1.  Without any positive value: the kernel that changes nothing.
    """
    values = np.maximum(np.nan_to_num(np.asarray(kernel, np.float64)), 0)
    values[values < floor * values.max()] = 0
    if values.max() == 0:
        values[values.shape[0] // 2, values.shape[1] // 2] = 1
    labels, count = ndimage.label(values, _NEIGHBOURS)
    weights = ndimage.sum_labels(values, labels, np.arange(1, count + 1))
    kept = (weights >= speck * weights.sum()) | (weights == weights.max())
    values[~np.isin(labels, np.flatnonzero(kept) + 1)] = 0
    values = _centre_on_pixel(values / values.sum())
    return (values / values.sum()).astype(np.float32)


def _centre_on_pixel(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move by whole pixels; what leaves the support is lost."""
    centre = ndimage.center_of_mass(values)
    shift = [side // 2 - round(c) for side, c in zip(values.shape, centre, strict=True)]
    moved: NDArray[np.float64] = ndimage.shift(values, shift, order=0, mode="constant")
    return moved if moved.sum() > 0 else values
