"""The kernel that explains a blurry image, given what the sharp image is believed to be.

One half of alternating blind deconvolution: regularised least squares between gradients (Cho and
Lee, "Fast motion deblurring", SIGGRAPH Asia 2009), here with the kernel's support and sign as part
of the problem instead of an afterthought.  The normal equations of a kernel (m, m) need only the
auto-correlation of the sharp gradients at lags below m and their cross-correlation with the blurry
gradients at lags up to m // 2: both come from one Fourier transform of the images; all further
work is on arrays of 2 m x 2 m.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from napari_deblur.blur.kernel import Kernel, centre_kernel, check_kernel, check_side, delta_kernel
from napari_deblur.blur.spectra import fast_length, to_full_precision
from napari_deblur.errors import InputError

__all__ = ["clean_kernel", "solve_kernel"]

_ITERATIONS: Final = 100


def solve_kernel(
    sharp: Tensor,
    blurry: Tensor,
    size: int,
    *,
    ridge: float = 3e-3,
    strongest: float = 1.0,
) -> Tensor:
    """Find the non-negative kernels that best map sharp gradients to blurry gradients.

    Minimises ``sum |w (grad sharp * k - grad blurry)|^2 / E + ridge |k|^2`` over k >= 0, with w a
    window that falls to 0 at the border and E the energy of the sharp gradients used.  The
    channels of an image share one kernel.

    Parameters
    ----------
    sharp, blurry : Tensor, shape (B, C, H, W)
        Estimate of the sharp image, and the blurry image.
    size : int
        Side m of the kernels, odd, at most H and W.
    ridge : float
        Weight of the kernel's square, 0 or more; larger gives smoother kernels.
    strongest : float
        Share of the sharp gradients that are used, the strongest, above 0 up to 1.

    Returns
    -------
    Tensor, shape (B, m, m)
        Sum 1; neither cleaned nor centred (see `clean_kernel`).  A flat image gives the kernel
        that changes nothing.

    Raises
    ------
    InputError
        If the images' shapes differ or are smaller than the kernel, or a parameter is out of range.
    KernelError
        If `size` is not odd.
    """
    check_side(size)
    if sharp.ndim != 4 or sharp.shape != blurry.shape or min(sharp.shape[-2:]) < size:
        raise InputError(
            f"sharp is {tuple(sharp.shape)} and blurry {tuple(blurry.shape)}: both must be the "
            f"same (B, C, H, W) with at least {size}x{size} pixels; use a smaller kernel"
        )
    if not 0 < strongest <= 1:
        raise InputError(f"strongest is {strongest}: it must be above 0 and at most 1; use 0.3")
    if not ridge >= 0:
        raise InputError(f"ridge is {ridge}: it must be 0 or more; use 0.003")
    with torch.no_grad(), torch.autocast(sharp.device.type, enabled=False):
        window = _window((sharp.shape[-2], sharp.shape[-1]), size, to_full_precision(blurry))
        edges = _keep_strongest(_gradients(to_full_precision(sharp)), strongest) * window
        target = _gradients(to_full_precision(blurry)) * window
        auto, cross = _correlations(edges, target, size)
        energy = auto[:, 0, 0]
        flat = energy <= torch.finfo(energy.dtype).tiny
        scale = torch.where(flat, 1.0, energy)[:, None, None]
        kernels = _non_negative_least_squares(auto / scale, cross / scale, ridge)
        total = kernels.sum(dim=(1, 2), keepdim=True)
        unit = torch.from_numpy(delta_kernel(size)).to(kernels)
        return torch.where(total > 0, kernels / torch.where(total > 0, total, 1.0), unit)


def clean_kernel(kernel: Kernel, *, cut: float = 0.05, smallest: float = 0.03) -> Kernel:
    """Remove from an estimated kernel what is noise: faint values, small components, specks.

    Parameters
    ----------
    kernel : ndarray, shape (m, m)
        A valid kernel.
    cut : float
        Values up to this share of the peak go, in [0, 1).
    smallest : float
        8-connected components with less than this share of the remaining mass go, in [0, 1).  The
        heaviest stays in any case.

    Returns
    -------
    ndarray, shape (m, m), float32
        Sum 1, centroid in the middle.

    Raises
    ------
    InputError
        If `cut` or `smallest` is out of range.
    KernelError
        If `kernel` is not valid.
    """
    for name, value in (("cut", cut), ("smallest", smallest)):
        if not 0 <= value < 1:
            raise InputError(f"{name} is {value}: it must be at least 0 and below 1; use 0.05")
    values = check_kernel(kernel)
    values = np.where(values > cut * values.max(), values, np.float32(0))
    labels, count = ndimage.label(values, structure=np.ones((3, 3)))
    masses = ndimage.sum_labels(values, labels, np.arange(1, count + 1))
    kept = masses >= min(smallest * masses.sum(), masses.max())
    return centre_kernel(np.where(np.isin(labels, 1 + np.flatnonzero(kept)), values, 0))


def _gradients(image: Tensor) -> Tensor:
    """Forward differences down and across, 0 at the far border, (B, 2 C, H, W)."""
    down = functional.pad(torch.diff(image, dim=-2), (0, 0, 0, 1))
    across = functional.pad(torch.diff(image, dim=-1), (0, 1))
    return torch.cat([down, across], dim=1)


def _keep_strongest(gradients: Tensor, share: float) -> Tensor:
    """Set all but the strongest gradients of each image to 0."""
    if share == 1:
        return gradients
    down, across = gradients.chunk(2, dim=1)
    magnitude = (down.square() + across.square()).sum(dim=1, keepdim=True)
    rank = 1 + int((1 - share) * (magnitude[0].numel() - 1))
    threshold = magnitude.flatten(1).kthvalue(rank, dim=1).values
    return gradients * (magnitude >= threshold[:, None, None, None])


def _window(shape: tuple[int, int], size: int, like: Tensor) -> Tensor:
    """Raised-cosine ramps as wide as the kernel at every border, flat between, (H, W)."""
    ramps = []
    for length in shape:
        position = torch.arange(length, dtype=like.dtype, device=like.device)
        distance = torch.minimum(position, length - 1 - position) + 0.5
        ramp = min(size, length / 2)
        ramps.append(torch.sin((distance / ramp).clamp(max=1) * (torch.pi / 2)).square())
    return ramps[0][:, None] * ramps[1][None, :]


def _correlations(edges: Tensor, target: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Auto-correlation at lags within +-(m - 1), circular; cross-correlation (m, m)."""
    radius = size // 2
    grid = tuple(fast_length(length + size) for length in edges.shape[-2:])
    spectrum, other = torch.fft.rfft2(edges, s=grid), torch.fft.rfft2(target, s=grid)
    auto = torch.fft.irfft2((spectrum.conj() * spectrum).sum(dim=1), s=grid)
    cross = torch.fft.irfft2((spectrum.conj() * other).sum(dim=1), s=grid)
    near = torch.roll(auto, (size - 1, size - 1), dims=(-2, -1))[:, : 2 * size - 1, : 2 * size - 1]
    cross = torch.roll(cross, (radius, radius), dims=(-2, -1))[:, :size, :size]
    small = fast_length(2 * size - 1)
    around = functional.pad(near, (0, small - 2 * size + 1, 0, small - 2 * size + 1))
    return torch.roll(around, (1 - size, 1 - size), dims=(-2, -1)), cross


def _non_negative_least_squares(auto: Tensor, cross: Tensor, ridge: float) -> Tensor:
    """Minimise k.A.k / 2 - k.cross + ridge |k|^2 / 2 over k >= 0, A Toeplitz with entries `auto`.

    Accelerated projected gradient (Beck and Teboulle, "A fast iterative shrinkage-thresholding
    algorithm", 2009) with restart where the momentum points uphill.
    """
    size, grid = cross.shape[-1], (auto.shape[-2], auto.shape[-1])
    # Windowed gradients make A positive in theory; cut-off lags may leave small negative values.
    response = torch.fft.rfft2(auto).real.clamp(min=0) + ridge
    step = 1 / response.amax(dim=(1, 2), keepdim=True)
    kernel = cross.clamp(min=0)
    kernel = kernel / kernel.sum(dim=(1, 2), keepdim=True).clamp(min=1e-12)
    ahead, momentum = kernel, cross.new_ones(len(cross), 1, 1)
    for _ in range(_ITERATIONS):
        applied = torch.fft.irfft2(torch.fft.rfft2(ahead, s=grid) * response, s=grid)
        slope = applied[:, :size, :size] - cross
        after = (ahead - step * slope).clamp(min=0)
        uphill = ((ahead - after) * (after - kernel)).sum(dim=(1, 2), keepdim=True) > 0
        following = torch.where(uphill, 1.0, (1 + (1 + 4 * momentum.square()).sqrt()) / 2)
        gain = torch.where(uphill, 0.0, (momentum - 1) / following)
        ahead, kernel, momentum = after + gain * (after - kernel), after, following
    return kernel
