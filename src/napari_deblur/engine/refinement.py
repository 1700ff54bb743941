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
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
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
    last = len(scales) - 1
    if factor < 1:
        views = views.whole()
        plan = _plan_many(views, kernel, factor, scales, schedule)
    else:
        plan = _plan_few(kernel, scales, schedule)
    (first, count), *later = plan.stops
    ascent = _Ascent(views, scales, plan, count_up("refine", plan.count_steps(last)))
    yield next(ascent.progress)

    arrived = []
    if plan.screened:
        curves = screen_curves(views, scales, first, schedule, plan.residual_weight)
        arrived += yield from counted(curves, ascent.progress)
    arrived += yield from ascent.climb(plan.paths, first)
    kept = [arrived[i] for i in ascent.best(arrived, first, count)]
    judged = kept[0]
    paths = going_on(kept, first + 1, schedule, plan.paper)
    for (stop, count), most in zip(later, plan.most_going(), strict=True):
        arrived = yield from ascent.climb(paths, stop)
        ascent.leave_out((most - len(paths)) * (stop + 1 - paths[0].scale))
        going = ascent.best(arrived, stop, count)
        paths = [replace(paths[i], kernel=arrived[i], scale=stop + 1) for i in going]
    current, *_ = yield from ascent.climb(paths[:1], last)

    def start_at(number: int) -> NDArray[np.float32]:
        scale = scales[number]
        if kernel.shape[-1] == scale.kernel_size:
            return kernel
        return resize_kernel(kernel, scale.factor / factor, scale.kernel_size)

    # On finer scales a blob may need fewer edges than a large kernel that is nearly right.
    judged, judged_at = (judged, first) if factor < 1 else (current, last)
    found, given = ascent.costs((judged, start_at(judged_at)), judged_at)
    return current if found <= given else start_at(last)


@dataclass(frozen=True)
class _Plan:
    """Where to start, where to compare, and how to judge.

    Attributes
    ----------
    paths : list of Path
        The starts.
    stops : list of (int, int)
        Numbers of the scales where they are compared, and how many of them go on from there.
    residual_weight : float
        See `napari_deblur.blur.alternation.energy`.
    last_floor : float
        Share of the peak below which the last scale leaves nothing of a kernel.
    screened : bool
        Whether what `napari_deblur.engine.screening` breeds joins them at the first stop.
    paper : float or None
        See `napari_deblur.engine.starts.going_on`.
    """

    paths: list[Path]
    stops: list[tuple[int, int]]
    residual_weight: float = 1.0
    last_floor: float = FLOOR
    screened: bool = False
    paper: float | None = None

    def most_going(self) -> list[int]:
        """How many paths at most go on from every stop but the last, from which one does."""
        counts = [count for _, count in self.stops[:-1]]
        return [count_going_on(each, self.paper) for each in counts[:1]] + counts[1:]

    def count_steps(self, last: int) -> int:
        """How often is reported at most, up to the last scale."""
        numbers = [number for number, _ in self.stops]
        legs = zip(self.most_going(), itertools.pairwise(numbers), strict=True)
        starts = sum(numbers[0] + 1 - path.scale for path in self.paths)
        bred = STEPS if self.screened else 0
        return starts + bred + sum(most * (to - at) for most, (at, to) in legs) + last - numbers[-1]


def _plan_few(kernel: NDArray[np.float32], scales: Sequence[Scale], schedule: Schedule) -> _Plan:
    """For a kernel that the network saw at full size."""
    stops = [(first_of(scales, _CHOICE_FACTOR), 1)]
    return _Plan(few_starts(kernel, scales, schedule), stops)


def _plan_many(
    views: Views,
    kernel: NDArray[np.float32],
    factor: float,
    scales: Sequence[Scale],
    schedule: Schedule,
) -> _Plan:
    """For a kernel of which the network saw an image shrunk by `factor`."""
    coarsest = screening_scale(scales)
    stops = list({max(coarsest, first_of(scales, each)): count for each, count in _STOPS}.items())
    paper = paper_of(views.images)
    return _Plan(
        many_starts(kernel, factor, scales, schedule, stops[0][0], paper),
        stops,
        LITTLE_RESIDUAL,
        WIDE_FLOOR,
        screened=True,
        paper=paper,
    )


@dataclass(frozen=True)
class _Ascent:
    """Kernels brought up the scales, and compared on them."""

    views: Views
    scales: Sequence[Scale]
    plan: _Plan
    progress: Iterator[Progress]

    def climb(
        self, paths: Sequence[Path], to: int
    ) -> Generator[Progress, None, list[NDArray[np.float32]]]:
        """Improve each on every scale from its own to the one of a number; return the kernels."""
        arrived = []
        for path in paths:
            kernel = path.kernel
            for number in range(path.scale, to + 1):
                is_last = number == len(self.scales) - 1
                floor = self.plan.last_floor if is_last else FLOOR
                kernel = improve_at(self.views, kernel, self.scales, number, path.schedule, floor)
                yield next(self.progress)
            arrived.append(kernel)
        return arrived

    def leave_out(self, steps: int) -> None:
        """Report as done what had been announced, and was worth it for fewer."""
        for _ in range(steps):
            next(self.progress)

    def best(self, kernels: Sequence[NDArray[np.float32]], number: int, count: int) -> list[int]:
        """Which kernels go on from a scale, at most `count`, the best first."""
        return best_and_different(kernels, self.costs(kernels, number), count)

    def costs(self, kernels: Sequence[NDArray[np.float32]], number: int) -> list[float]:
        """What each kernel costs on a scale."""
        shrunk = self.views.at(self.scales[number])
        return [shrunk.energy(each, self.plan.residual_weight) for each in kernels]


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
