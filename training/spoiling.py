"""Kernels as a search leaves them, made from true ones, and what their images say of them.

A whole search takes long and often fails, which teaches a correction nothing.  Its last scales take
a fraction of that, and they alone decide what is left wrong with a kernel that was found: started
from a true kernel that was bent, smoothed and weighted at random, they forget the start and keep
the errors of the method.  A share of the samples has kernels nearer to the truth than alternation
comes, so that the correction learns when to leave a kernel alone.
"""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from scipy import ndimage

from napari_deblur.blur.alternation import EDGES_OF_NOISE, Schedule, alternate, resize_kernel
from napari_deblur.blur.curves import bend
from napari_deblur.blur.evidence import kernel_evidence
from napari_deblur.blur.kernel_step import FLOOR, WIDE_FLOOR, clean_kernel
from napari_deblur.blur.likeness import kernel_likeness
from napari_deblur.blur.noise import estimate_noise
from napari_deblur.blur.placement import align_truth
from napari_deblur.blur.pyramid import plan_scales
from napari_deblur.blur.shrinking import shrink_image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["Sample", "SampleTask", "Spoiling", "take_sample"]

_SIDE: Final = 31
"""Side in pixels of the kernels that lengths are given for; they grow with the kernel's side."""

_LEAST_LIKENESS: Final = 0.75
_SCALES_BELOW: Final = (2, 3)
_LEAST_SMOOTHED: Final = 0.3
_BENT: Final = 0.7  # share of the starts that are bent at all
_UNEVEN: Final = 0.3  # standard deviation of the logarithm of a start's weights, at most
_GRAIN: Final = 2.0  # pixels over which these weights change
# Of kernels near the truth: bent and smoothed by less, cleaned by any floor up to the usual.
_NEAR_BENT, _NEAR_SMOOTHED = 0.3, 0.5


@dataclasses.dataclass(frozen=True)
class Spoiling:
    """How far starts lie from the truth.

    Attributes
    ----------
    near : float
        Share of the kernels that are near the truth and not improved.
    bent : float
        Most that the others' starts are bent by, in pixels of a kernel of 31 pixels.
    smoothed : float
        Most that they are smoothed by: standard deviation of a Gaussian, in the same unit.
    wide : bool
        Whether the engine would look for such kernels on a shrunk image.
    """

    near: float
    bent: float
    smoothed: float
    wide: bool


@dataclasses.dataclass(frozen=True)
class SampleTask:
    """What a worker process needs for one sample.

    Attributes
    ----------
    blurry : ndarray, shape (H, W), float32
        Luma.
    kernel : ndarray, shape (m, m), float32
        What it was blurred with; where the blur varies, the mean.
    chance : tuple of int
        Seed of all that is drawn.
    spoiling : Spoiling
        How far to start from the truth.
    """

    blurry: NDArray[np.float32]
    kernel: NDArray[np.float32]
    chance: tuple[int, ...]
    spoiling: Spoiling


@dataclasses.dataclass(frozen=True)
class Sample:
    """One sample.

    Attributes
    ----------
    evidence : ndarray, shape (C, m, m), float16
        See `napari_deblur.blur.evidence.kernel_evidence`.
    truth : ndarray, shape (m, m), float32
        The true kernel in the place of the found one, sum 1.
    """

    evidence: NDArray[np.float16]
    truth: NDArray[np.float32]


@torch.inference_mode()
def take_sample(task: SampleTask) -> Sample | None:
    """Find a kernel and collect the evidence; None where it is lost.

    The same task gives the same sample, in whatever process.
    """
    rng = np.random.default_rng(np.random.SeedSequence(task.chance))
    blurry = torch.from_numpy(task.blurry)[None, None]
    with _one_thread():
        variance = float(estimate_noise(blurry)) ** 2
        if rng.random() < task.spoiling.near:
            found = _near(rng, task.kernel)
        else:
            start = _start(rng, task.kernel, task.spoiling)
            found = _improve(rng, blurry, start, variance, wide=task.spoiling.wide)
        if kernel_likeness(found, task.kernel) < _LEAST_LIKENESS:
            return None
        maps = kernel_evidence([blurry], found, variance)
    if not np.isfinite(maps).all():
        return None
    evidence = maps.astype(np.float16)
    return Sample(evidence, align_truth(task.kernel, found))


def _near(rng: np.random.Generator, kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    near = _bent(rng, kernel, _NEAR_BENT)
    near = ndimage.gaussian_filter(near, rng.uniform(0, _NEAR_SMOOTHED))
    return clean_kernel(near, floor=float(rng.uniform(0, FLOOR)))


def _start(
    rng: np.random.Generator, kernel: NDArray[np.float32], spoiling: Spoiling
) -> NDArray[np.float32]:
    """Bend, smooth and weight a kernel."""
    unit = kernel.shape[-1] / _SIDE
    start = _bent(rng, kernel, spoiling.bent)
    most = max(_LEAST_SMOOTHED, spoiling.smoothed)
    start = ndimage.gaussian_filter(start, rng.uniform(_LEAST_SMOOTHED, most) * unit)
    weights = ndimage.gaussian_filter(rng.standard_normal(start.shape), _GRAIN * unit)
    start = start * np.exp(rng.uniform(0, _UNEVEN) * weights / weights.std())
    return np.asarray(start / start.sum(), np.float32)


def _bent(
    rng: np.random.Generator, kernel: NDArray[np.float32], most: float
) -> NDArray[np.float32]:
    if rng.random() >= _BENT:
        return kernel
    return np.asarray(bend(rng, kernel[None], rng.uniform(0, most) * kernel.shape[-1] / _SIDE)[0])


def _improve(
    rng: np.random.Generator,
    blurry: torch.Tensor,
    start: NDArray[np.float32],
    variance: float,
    *,
    wide: bool,
) -> NDArray[np.float32]:
    """Alternate on the last scales, as the engine's refinement does on all."""
    scales = plan_scales(start.shape[-1])
    last = len(scales) - 1
    first = max(0, last - int(rng.integers(_SCALES_BELOW[0], _SCALES_BELOW[1] + 1)))
    kernel = resize_kernel(start, scales[first].factor, scales[first].kernel_size)
    schedule = Schedule()
    for number in range(first, last + 1):
        scale = scales[number]
        if kernel.shape[-1] != scale.kernel_size:
            ratio = scale.factor / scales[number - 1].factor
            kernel = resize_kernel(kernel, ratio, scale.kernel_size)
        least = max(schedule.smallest_sparsity, EDGES_OF_NOISE * variance * scale.factor**2)
        kernel = alternate(
            [shrink_image(blurry, scale.factor)],
            kernel,
            number,
            dataclasses.replace(schedule, smallest_sparsity=least),
            last_floor=WIDE_FLOOR if wide and number == last else FLOOR,
        )
    return kernel


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums in one order, however many cores there are; many samples share them anyway."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
