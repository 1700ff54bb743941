"""The kernel that explains a blurry image, given what the sharp image is believed to be.

One half of alternating blind deconvolution: regularised least squares between gradients (Cho and
Lee, "Fast motion deblurring", SIGGRAPH Asia 2009), here with the kernel's support and sign as part
of the problem instead of an afterthought.  The normal equations of a kernel (m, m) need only the
auto-correlation of the sharp gradients at lags below m and their cross-correlation with the blurry
gradients at lags up to m // 2: statistics of the same kind as the analysis network's, which may be
added up over images that share one kernel.  All further work is on arrays of about 2 m x 2 m.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from napari_deblur.blur.kernel import check_side, delta_kernel
from napari_deblur.blur.spectra import fast_length, for_both_parts
from napari_deblur.errors import InputError

__all__ = [
    "FLOOR",
    "WIDE_FLOOR",
    "NormalEquations",
    "clean_kernel",
    "kept_values",
    "normal_equations",
    "solve_kernel",
]

FLOOR: Final = 0.05
"""Share of a kernel's peak below which values usually count as noise."""

WIDE_FLOOR: Final = 0.01
"""The same in the end for kernels larger than the network's: their faint strokes carry low
frequencies.  What is faint in smaller ones is noise as often."""

_ITERATIONS: Final = 60
_NEIGHBOURS: Final = np.ones((3, 3), bool)


@dataclass(frozen=True)
class NormalEquations:
    """What least squares needs to know of a pair of images.

    Attributes
    ----------
    auto : Tensor, shape (B, 2 m - 1, 2 m - 1)
        Auto-correlation of the sharp gradients at lags within m - 1.
    cross : Tensor, shape (B, m, m)
        Cross-correlation of the sharp with the blurry gradients at lags within m // 2.
    """

    auto: Tensor
    cross: Tensor

    def __add__(self, other: NormalEquations) -> NormalEquations:
        """Equations of one kernel for both."""
        return NormalEquations(self.auto + other.auto, self.cross + other.cross)


@torch.no_grad()
def normal_equations(sharp: Tensor, blurry: Tensor, size: int) -> NormalEquations:
    """Correlate gradients at short lags; outside the image they count as zero.

    Parameters
    ----------
    sharp, blurry : Tensor, shape (B, 2, H, W)
        Gradients of the sharp image (see `napari_deblur.blur.edges.strongest_gradients`) and of
        the blurry one (see `napari_deblur.blur.edges.differences`).
    size : int
        Side m of the kernel in pixels, odd.

    Raises
    ------
    InputError
        If the shapes differ.
    KernelError
        If `size` is not odd.
    """
    check_side(size)
    if sharp.ndim != 4 or sharp.shape != blurry.shape:
        raise InputError(
            f"sharp is {tuple(sharp.shape)} and blurry {tuple(blurry.shape)}: both must be the "
            "same (B, 2, H, W); take the gradients of images of one size"
        )
    # Room for all lags, also where the image is smaller than the kernel.
    grid = [fast_length(max(length, size) + size) for length in sharp.shape[-2:]]
    with torch.autocast(sharp.device.type, enabled=False):
        spectrum = torch.fft.rfft2(sharp, s=grid)
        power = (spectrum.real.square() + spectrum.imag.square()).sum(dim=1)
        product = (spectrum.conj() * torch.fft.rfft2(blurry, s=grid)).sum(dim=1)
        auto = _lags(torch.fft.irfft2(power, s=grid), size - 1)
        cross = _lags(torch.fft.irfft2(product, s=grid), size // 2)
    return NormalEquations(auto, cross)


def _lags(correlation: Tensor, radius: int) -> Tensor:
    """Lags within `radius` of circular correlations, lag 0 in the middle."""
    rolled = torch.roll(correlation, (radius, radius), (-2, -1))
    return rolled[..., : 2 * radius + 1, : 2 * radius + 1]


@torch.no_grad()
def solve_kernel(equations: NormalEquations, ridge: float = 1e-2) -> Tensor:
    """Find the non-negative kernels that best map sharp gradients to blurry gradients.

    Minimises ``|grad sharp * k - grad blurry|^2 / E + ridge |k|^2`` over k >= 0, E being the
    energy of the sharp gradients.

    Parameters
    ----------
    equations : NormalEquations
        Of one or several images.
    ridge : float
        Weight of the kernel's square, 0 or more; larger gives smoother kernels.

    Returns
    -------
    Tensor, shape (B, m, m)
        Sum 1; neither cleaned nor centred (see `clean_kernel`).  Without any gradient, the kernel
        that changes nothing.

    Raises
    ------
    InputError
        If `ridge` is negative.
    """
    if not ridge >= 0:
        raise InputError(f"ridge is {ridge}: it must be 0 or more; use 0.01")
    size = equations.cross.shape[-1]
    energy = equations.auto[:, size - 1, size - 1]
    flat = energy <= torch.finfo(energy.dtype).tiny
    scale = torch.where(flat, 1.0, energy)[:, None, None]
    kernels = _non_negative_least_squares(equations.auto / scale, equations.cross / scale, ridge)
    total = kernels.sum(dim=(1, 2), keepdim=True)
    unit = torch.from_numpy(delta_kernel(size)).to(kernels)
    return torch.where(total > 0, kernels / torch.where(total > 0, total, 1.0), unit)


def _non_negative_least_squares(auto: Tensor, cross: Tensor, ridge: float) -> Tensor:
    """Minimise k.A.k / 2 - k.cross + ridge |k|^2 / 2 over k >= 0, A Toeplitz with entries `auto`.

    Accelerated projected gradient (Beck and Teboulle, "A fast iterative shrinkage-thresholding
    algorithm", 2009) with restart where the momentum points uphill.
    """
    size = cross.shape[-1]
    side = fast_length(2 * size - 1)
    grid = (side, side)
    around = functional.pad(auto, (0, side - 2 * size + 1, 0, side - 2 * size + 1))
    around = torch.roll(around, (1 - size, 1 - size), (-2, -1))
    # Correlations make A positive in theory; cut-off lags may leave small negative values.
    response = torch.fft.rfft2(around).real.clamp(min=0) + ridge
    step = 1 / response.amax(dim=(1, 2), keepdim=True)
    kernel = cross.clamp(min=0)
    kernel = kernel / kernel.sum(dim=(1, 2), keepdim=True).clamp(min=1e-12)
    pulled, response = step * cross, for_both_parts(step * response)
    # The kernel to go on from lies in the corner of a grid that is zero elsewhere.
    whole = functional.pad(kernel, (0, side - size, 0, side - size))
    ahead = whole[:, :size, :size]
    gains, since = cross.new_tensor(_gains(_ITERATIONS)), torch.zeros_like(cross[:, :1, :1]).long()
    for _ in range(_ITERATIONS):
        spectrum = torch.fft.rfft2(whole)
        torch.view_as_real(spectrum).mul_(response)
        applied = torch.fft.irfft2(spectrum, s=grid)[:, :size, :size]
        after = torch.sub(ahead, applied).add_(pulled).clamp_(min=0)
        change = after - kernel
        downhill = ((ahead - after) * change).sum(dim=(1, 2), keepdim=True) <= 0
        since += 1
        since *= downhill
        torch.addcmul(after, gains[since], change, out=ahead)
        kernel = after
    return kernel


def _gains(count: int) -> list[float]:
    """Momentum by the number of steps since the last restart."""
    gains, before = [0.0], 1.0
    for _ in range(count):
        after = (1 + math.sqrt(1 + 4 * before**2)) / 2
        gains.append((before - 1) / after)
        before = after
    return gains


def clean_kernel(
    kernel: ArrayLike, *, floor: float = FLOOR, speck: float = 0.05
) -> NDArray[np.float32]:
    """Remove from an estimated kernel what is noise: faint values and specks.

    Parameters
    ----------
    kernel : array_like, shape (m, m)
        Any values; negative ones and NaN count as 0.
    floor : float
        Values below this share of the peak go, in [0, 1).
    speck : float
        8-connected pieces with less than this share of the remaining mass go, in [0, 1).  The
        heaviest stays in any case.

    Returns
    -------
    ndarray, shape (m, m), float32
        Non-negative, sum 1.  Moved by whole pixels, which blur nothing, until its centroid lies in
        the middle pixel.  Without any positive value: the kernel that changes nothing.

    Raises
    ------
    InputError
        If `floor` or `speck` is out of range.
    """
    for name, value in (("floor", floor), ("speck", speck)):
        if not 0 <= value < 1:
            raise InputError(f"{name} is {value}: it must be at least 0 and below 1; use 0.05")
    values = kept_values(kernel, floor=floor, speck=speck)
    if values.max() == 0:
        return delta_kernel(values.shape[-1])
    values = _centre_on_pixel(values)
    return np.asarray(values / values.sum(), np.float32)


def kept_values(
    kernel: ArrayLike, *, floor: float = FLOOR, speck: float = 0.05
) -> NDArray[np.float64]:
    """Return what `clean_kernel` keeps of a kernel (m, m), in its place; zeros elsewhere."""
    values = np.maximum(np.nan_to_num(np.asarray(kernel, np.float64)), 0)
    if values.max() == 0:
        return values
    values[values < floor * values.max()] = 0
    labels, count = ndimage.label(values, _NEIGHBOURS)
    masses = ndimage.sum_labels(values, labels, np.arange(1, count + 1))
    kept = masses >= min(speck * masses.sum(), masses.max())
    values[~np.isin(labels, 1 + np.flatnonzero(kept))] = 0
    return values


def _centre_on_pixel(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move by whole pixels; what leaves the support is lost."""
    centre = ndimage.center_of_mass(values)
    shift = [side // 2 - round(c) for side, c in zip(values.shape, centre, strict=True)]
    moved: NDArray[np.float64] = ndimage.shift(values, shift, order=0, mode="constant")
    return moved if moved.sum() > 0 else values
