"""A kernel improved on the image itself: alternation from coarse to fine, from several starts.

The analysis network sees the whole kernel at a glance but blurs it, and cannot always tell it from
its 180° rotation; the alternation is precise but ends wherever its start leads.  So it is started
from nothing, from the network's kernel and from that kernel turned round; kernels larger than the
network's from what `napari_deblur.engine.screening` breeds as well.  Before the last and dearest
scales the start that explains the image best is chosen (see
`napari_deblur.blur.alternation.energy`); of larger kernels fewer and fewer go on, scale by scale.
The result is kept only if it explains the image no worse than what the network had found; of larger
kernels that is asked where the first are chosen.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_deblur.blur.alternation import Schedule, alternate, resize_kernel
from napari_deblur.blur.kernel_step import FLOOR, WIDE_FLOOR
from napari_deblur.blur.marks import paper_of
from napari_deblur.blur.pyramid import Scale, plan_scales
from napari_deblur.defaults import DEFAULT_ROUNDS
from napari_deblur.engine.progress import Progress, count_up, counted
from napari_deblur.engine.screening import STEPS, screen_curves, screening_scale
from napari_deblur.engine.starts import (
    Path,
    best_and_different,
    count_going_on,
    few_starts,
    first_of,
    going_on,
    many_starts,
)
from napari_deblur.engine.views import LITTLE_RESIDUAL, Views

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DEFAULT_ROUNDS", "improve_at", "refine_kernel"]

_CHOICE_FACTOR = 0.5  # the start is chosen once the image has half its size

# For kernels larger than the network's, of which it sees a shrunk image only: how many starts that
# differ go on from which scale.  What they cost tells more on each, where they cost the more time.
_STOPS = ((0.175, 8), (0.25, 5), (0.354, 3), (0.5, 2), (0.707, 1))


def refine_kernel(
    views: Views,
    kernel: NDArray[np.float32],
    rounds: int,
    *,
    factor: float = 1.0,
    size: int | None = None,
) -> Generator[Progress, None, NDArray[np.float32]]:
    """Improve the kernel that blurred all frames.

    Parameters
    ----------
    views : Views
        What is looked at of the frames, at full size.
    kernel : ndarray, shape (m, m)
        The network's kernel.
    rounds : int
        Rounds on each scale, 1 or more.
    factor : float
        Scale of the images that `kernel` was found on, relative to the frames; at most 1.
    size : int, optional
        Side of the kernel at full resolution, odd; that of `kernel` by default.

    Returns
    -------
    ndarray, shape (size, size), float32
        Sum 1; centroid in the middle pixel.
    """
    schedule = Schedule(rounds=rounds)
    scales = plan_scales(size or kernel.shape[-1])
    chosen_at, last = first_of(scales, _CHOICE_FACTOR), len(scales) - 1
    if factor < 1:
        views = views.whole()
        stops = _many_stops(scales)
        residual_weight, last_floor = LITTLE_RESIDUAL, WIDE_FLOOR
        paper = paper_of(views.images)
        paths = many_starts(kernel, factor, scales, schedule, stops[0][0], paper)
    else:
        stops = [(chosen_at, 1)]
        residual_weight, last_floor = 1.0, FLOOR
        paper = None
        paths = few_starts(kernel, scales, schedule)
    total = sum(stops[0][0] + 1 - path.scale for path in paths)
    total += _count_steps(stops, last, paper) + (STEPS if factor < 1 else 0)
    progress = count_up("refine", total)
    yield next(progress)

    def climb(path: Path, to: int) -> Generator[Progress, None, NDArray[np.float32]]:
        current = path.kernel
        for number in range(path.scale, to + 1):
            floor = last_floor if number == last else FLOOR
            current = improve_at(views, current, scales, number, path.schedule, floor)
            yield next(progress)
        return current

    def costs(kernels: Sequence[NDArray[np.float32]], number: int) -> list[float]:
        shrunk = views.at(scales[number])
        return [shrunk.energy(each, residual_weight) for each in kernels]

    (first, count), *later = stops
    arrived = []
    if factor < 1:
        curves = screen_curves(views, scales, first, schedule, residual_weight)
        arrived += yield from counted(curves, progress)
    for path in paths:
        current = yield from climb(path, first)
        arrived.append(current)
    kept = [arrived[i] for i in best_and_different(arrived, costs(arrived, first), count)]
    judged = kept[0]
    paths = going_on(kept, first + 1, schedule, paper)
    for (stop, count), most in zip(later, _most_going(stops, paper), strict=True):
        arrived = []
        for path in paths:
            current = yield from climb(path, stop)
            arrived.append(current)
        for _ in range((most - len(paths)) * (stop + 1 - paths[0].scale)):
            next(progress)  # fewer were worth it than had been announced
        going = best_and_different(arrived, costs(arrived, stop), count)
        paths = [replace(paths[i], kernel=arrived[i], scale=stop + 1) for i in going]
    current = yield from climb(paths[0], last)

    def start_at(number: int) -> NDArray[np.float32]:
        scale = scales[number]
        if kernel.shape[-1] == scale.kernel_size:
            return kernel
        return resize_kernel(kernel, scale.factor / factor, scale.kernel_size)

    # On finer scales a blob may need fewer edges than a large kernel that is nearly right.
    judged, judged_at = (judged, first) if factor < 1 else (current, last)
    found, given = costs((judged, start_at(judged_at)), judged_at)
    return current if found <= given else start_at(last)


def _many_stops(scales: Sequence[Scale]) -> list[tuple[int, int]]:
    """Where starts for large kernels are compared, and how many of them go on from there."""
    coarsest = screening_scale(scales)
    stops = {max(coarsest, first_of(scales, factor)): count for factor, count in _STOPS}
    return list(stops.items())


def _most_going(stops: Sequence[tuple[int, int]], paper: float | None) -> list[int]:
    """How many paths at most go on from every stop but the last, from which one does."""
    counts = [count for _, count in stops[:-1]]
    return [count_going_on(count, paper) if i == 0 else count for i, count in enumerate(counts)]


def _count_steps(stops: Sequence[tuple[int, int]], last: int, paper: float | None) -> int:
    """How many scales are climbed at most after the first of some stops."""
    numbers = [number for number, _ in stops]
    legs = zip(_most_going(stops, paper), itertools.pairwise(numbers), strict=True)
    return sum(most * (to - at) for most, (at, to) in legs) + last - numbers[-1]


def improve_at(
    views: Views,
    kernel: NDArray[np.float32],
    scales: Sequence[Scale],
    number: int,
    schedule: Schedule,
    floor: float = FLOOR,
) -> NDArray[np.float32]:
    """One scale: bring the kernel to its size and improve it there."""
    scale = scales[number]
    if kernel.shape[-1] != scale.kernel_size:
        ratio = scale.factor / scales[number - 1].factor
        kernel = resize_kernel(kernel, ratio, scale.kernel_size)
    shrunk = views.at(scale)
    schedule = shrunk.follow(schedule)
    return alternate(
        shrunk.images, kernel, number, schedule, clipped=shrunk.clipped, last_floor=floor
    )
