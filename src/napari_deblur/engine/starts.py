"""Where the search for a kernel starts, and how each start goes on.

Kernels that the network can see at full size have three starts: from nothing, and from the
network's kernel either way up.  Larger ones, of which it sees a shrunk image only, have many:
coarse scales cost little, and what goes wrong there is never put right.  They go as far as the
image is small, where kernels that `napari_deblur.engine.screening` bred join them; then those that
explain it best go on, fewer from scale to scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from napari_deblur.blur.alternation import Schedule, resize_kernel, straight_start
from napari_deblur.blur.likeness import kernel_likeness
from napari_deblur.blur.marks import sparse_marks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_deblur.blur.pyramid import Scale

__all__ = [
    "Path",
    "best_and_different",
    "count_going_on",
    "few_starts",
    "first_of",
    "going_on",
    "many_starts",
]

_NETWORK_FACTOR: Final = 0.25  # where the network's kernel comes in: coarse enough to be corrected
# Penalties on edges, as multiples of the usual one: where texture is finer than the blur is long,
# kernels else shrink to a dot; on paper, fewer still.
_STRICTER: Final = 2.5
_STRICTEST: Final = 5.0
_ACROSS, _DOWN, _FALLING, _RISING = (0, 1), (1, 0), (1, 1), (1, -1)
_DIRECTIONS: Final = (_ACROSS, _DOWN, _FALLING, _RISING)
_DIAGONALS: Final = (_FALLING, _RISING)
_ALIKE: Final = 0.9  # normalised correlation from which two kernels are one
_FAR_MORE: Final = 1.05  # of two costs, where kernels that are right differ from wrong ones by less


@dataclass(frozen=True)
class Path:
    """A start: a kernel, the number of the scale that it has and enters at, and how it goes on."""

    kernel: NDArray[np.float32]
    scale: int
    schedule: Schedule


def first_of(scales: Sequence[Scale], factor: float) -> int:
    """Number of the first scale that is not coarser than `factor`."""
    return next(number for number, each in enumerate(scales) if each.factor > factor * 0.99)


def few_starts(
    kernel: NDArray[np.float32], scales: Sequence[Scale], schedule: Schedule
) -> list[Path]:
    """Return the starts for a kernel that the network saw at full size."""
    nothing = Path(straight_start(scales[0].kernel_size), 0, schedule)
    return [nothing, *_from_network(kernel, 1.0, scales, schedule, _NETWORK_FACTOR)]


def many_starts(
    kernel: NDArray[np.float32],
    factor: float,
    scales: Sequence[Scale],
    schedule: Schedule,
    last: int,
    paper: float | None,
) -> list[Path]:
    """Return the starts for a kernel of which the network saw an image shrunk by `factor`.

    Parameters
    ----------
    kernel : ndarray, shape (m, m)
        The network's.
    factor : float
        Below 1.
    scales : sequence of Scale
        Coarsest first.
    schedule : Schedule
        The usual one.
    last : int
        Number of the scale that all of them go to.
    paper : float, optional
        Brightness of the paper that the image shows marks on (see
        `napari_deblur.blur.marks.paper_of`); None for other images.
    """
    size = scales[0].kernel_size
    stricter = _with_penalty(schedule, _STRICTER)
    enters = min(_NETWORK_FACTOR * factor, scales[last].factor)
    paths = [
        *(Path(straight_start(size, each), 0, stricter) for each in _DIRECTIONS),
        *(Path(straight_start(size, each), 0, schedule) for each in (_DOWN, _FALLING)),
        *_from_network(kernel, factor, scales, stricter, enters),
    ]
    if paper is None:
        return paths
    strictest = _for_marks(_with_penalty(schedule, _STRICTEST), paper)
    return [*paths, *(Path(straight_start(size, each), 0, strictest) for each in _DIAGONALS)]


def going_on(
    kernels: Sequence[NDArray[np.float32]], scale: int, schedule: Schedule, paper: float | None
) -> list[Path]:
    """Return how the kernels of `many_starts` that were kept, best first, go on from a scale.

    On paper the better half go on in both ways, as edges and as marks; else all as edges.
    """
    edges = [Path(kernel, scale, schedule) for kernel in kernels]
    if paper is None:
        return edges
    half = _half(len(kernels))
    marks = _for_marks(_with_penalty(schedule, _STRICTER), paper)
    return [*edges[:half], *(Path(kernel, scale, marks) for kernel in kernels[:half])]


def count_going_on(kept: int, paper: float | None) -> int:
    """Return how many paths `going_on` makes of so many kernels."""
    return kept if paper is None else 2 * _half(kept)


def _half(count: int) -> int:
    return (count + 1) // 2


def best_and_different(
    kernels: Sequence[NDArray[np.float32]], costs: Sequence[float], count: int
) -> list[int]:
    """Return which kernels go on, at most `count`: those that cost least, the least first.

    Without those much like them, and those that cost far more than the least.
    """
    kept: list[int] = []
    for index in map(int, np.argsort(costs, kind="stable")):
        if len(kept) == count or costs[index] > _FAR_MORE * min(costs):
            break
        if all(kernel_likeness(kernels[index], kernels[other]) <= _ALIKE for other in kept):
            kept.append(index)
    return kept


def _from_network(
    kernel: NDArray[np.float32],
    factor: float,
    scales: Sequence[Scale],
    schedule: Schedule,
    enters: float,
) -> list[Path]:
    """Either way up, on the first scale that is not coarser than `enters`."""
    number = first_of(scales, enters)
    scale = scales[number]
    coarse = resize_kernel(kernel, scale.factor / factor, scale.kernel_size)
    turned = np.ascontiguousarray(coarse[::-1, ::-1])
    return [Path(each, number, schedule) for each in (coarse, turned)]


def _with_penalty(schedule: Schedule, times: float) -> Schedule:
    return replace(schedule, sparsity=times * schedule.sparsity)


def _for_marks(schedule: Schedule, paper: float) -> Schedule:
    return replace(schedule, latent=partial(sparse_marks, paper=paper))
