"""What an image says of a kernel that is nearly right: maps of the kernel's size.

Each least-squares step of the alternation (`napari_deblur.blur.alternation`) reads the kernel from
an image of few edges.  How its result differs from the kernel that the edges were found with, and
what that kernel leaves unexplained at each lag, tells where the kernel errs, though not directly:
edges that are missing or too straight leave traces of their own.  The correction network
(`napari_deblur.networks.correction`) learns to tell one from the other.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import scipy.fft
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_deblur.blur.alternation import EDGES_OF_NOISE, unclipped
from napari_deblur.blur.edges import differences, sparse_edges, strongest_of_all
from napari_deblur.blur.kernel_step import NormalEquations, normal_equations, solve_kernel

__all__ = ["EVIDENCE", "kernel_evidence"]

# Images of few edges: the penalty on an edge, and the shares of the gradients that count.
_READINGS: Final = ((1e-4, (0.2, 1.0)), (1e-3, (0.1,)))
# Bring the maps to the range of the kernel, whose peak is 1.
_RESIDUAL_SCALE: Final = 3.0
_LARGEST: Final = 30.0  # an image without edges leaves maps without meaning, not without bounds
_LEAST_ENERGY: Final = 1e-6  # of gradients; an image of few edges may be flat
_NOISE_SCALE: Final = 30.0

EVIDENCE: Final = 4 + 2 * sum(len(shares) for _, shares in _READINGS)
"""Number of maps."""


@torch.no_grad()
def kernel_evidence(
    images: Sequence[Tensor],
    kernel: NDArray[np.float32],
    variance: float,
    *,
    clipped: Sequence[Tensor] | None = None,
) -> NDArray[np.float32]:
    """Collect what blurry images say of a kernel.

    Parameters
    ----------
    images : sequence of Tensor, each of shape (1, 1, H, W)
        Blurry luma in [0, 1]; all blurred with the same kernel.
    kernel : ndarray, shape (m, m)
        The kernel in question, m odd, sum 1.
    variance : float
        That of the images' noise.
    clipped : sequence of Tensor of bool, each of shape (1, 1, H, W), optional
        Saturated pixels, as for `napari_deblur.blur.alternation.alternate`.

    Returns
    -------
    ndarray, shape (EVIDENCE, m, m), float32
        The kernel, scaled to a peak of 1; for each of three readings of an image of few edges the
        kernel that least squares makes of it, in the same scale, and the correlation of its
        gradients with what the kernel leaves of the blurry image's; the auto-correlations of the
        blurry image's gradients and of the kernel, with peaks of 1; thirty times the noise's
        standard deviation.  All maps turn and mirror as the images do.

    Raises
    ------
    InputError, KernelError
        If shapes do not fit.
    """
    size, peak = kernel.shape[-1], float(kernel.max())
    batch = torch.from_numpy(np.ascontiguousarray(kernel))[None].to(images[0])
    images = unclipped(images, batch, clipped)
    blurry = [differences(image) for image in images]
    maps = [kernel / peak]
    for penalty, shares in _READINGS:
        least = max(penalty, EDGES_OF_NOISE * variance)
        edges = [sparse_edges(image, batch, least) for image in images]
        for share in shares:
            equations = _sum_of(
                normal_equations(sharp, each, size)
                for sharp, each in zip(strongest_of_all(edges, share), blurry, strict=True)
            )
            maps.append(solve_kernel(equations)[0].cpu().numpy() / peak)
            maps.append(_RESIDUAL_SCALE / peak * _residual(equations, kernel))
    own = _sum_of(normal_equations(each, each, size) for each in blurry).cross[0].cpu().numpy()
    maps += [own / max(float(own.max()), 1e-12), _auto_correlation(kernel)]
    maps.append(np.full((size, size), _NOISE_SCALE * variance**0.5))
    return np.clip(np.stack(maps), -_LARGEST, _LARGEST).astype(np.float32)


def _sum_of(equations: Iterable[NormalEquations]) -> NormalEquations:
    return functools.reduce(operator.add, equations)


def _residual(equations: NormalEquations, kernel: NDArray[np.float32]) -> NDArray[np.float64]:
    """Minus the slope of the squared residual by the kernel's values, per energy of the edges."""
    size = kernel.shape[-1]
    auto = equations.auto[0].cpu().numpy().astype(np.float64)
    cross = equations.cross[0].cpu().numpy()
    grid = [scipy.fft.next_fast_len(3 * size - 2, real=True)] * 2
    spectrum = scipy.fft.rfft2(auto, grid) * scipy.fft.rfft2(kernel.astype(np.float64), grid)
    inner = slice(size - 1, 2 * size - 1)
    explained = scipy.fft.irfft2(spectrum, grid)[inner, inner]
    return np.asarray((cross - explained) / max(auto[size - 1, size - 1], _LEAST_ENERGY))


def _auto_correlation(kernel: NDArray[np.float32]) -> NDArray[np.float64]:
    size = kernel.shape[-1]
    grid = [2 * size - 1] * 2
    power = np.abs(scipy.fft.rfft2(kernel.astype(np.float64), grid)) ** 2
    lags = scipy.fft.fftshift(scipy.fft.irfft2(power, grid))
    inner = slice(size // 2, size // 2 + size)
    return np.asarray(lags[inner, inner] / lags.max())
