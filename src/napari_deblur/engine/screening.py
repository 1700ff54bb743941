"""Kernels worth a start, bred from random curves on a scale where images are small.

From nothing, the alternation ends in one of few shapes that its coarsest scales prefer.  For busy
scenes, and for blur as long as what they show, these are all wrong.  Where it starts from a curve
that is only roughly like the true one, it finds the true one, which then needs fewest edges.  So
many curves are judged as they are, the best of them improved by some rounds, and the best of those
bent at random and improved again, twice.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from napari_deblur.blur.alternation import Schedule, alternate_each, resize_kernel
from napari_deblur.blur.curves import bend, random_curves
from napari_deblur.blur.likeness import kernel_likeness

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_deblur.blur.pyramid import Scale
    from napari_deblur.engine.views import Views

__all__ = ["STEPS", "screen_curves", "screening_scale"]

_LEAST_SIDE: Final = 9  # of a kernel that shows its shape
_SEED: Final = 0  # the same curves for every image
_CURVES: Final = 256
_IMPROVED: Final = 64
_KEPT: Final = 24
_PARENTS: Final = 12
_CHILDREN: Final = 4  # of each
_GENERATIONS: Final = 2
_BEND: Final = 1.0  # pixels
_LIFTED: Final = 16  # go on to the last scale
_FINISHED: Final = 8  # are improved there by all rounds
# Images of more pixels have fewer curves, down to this share, as that many take the time.
_PIXELS: Final = 11_000
_LEAST_SHARE: Final = 0.35
_TOGETHER: Final = 16  # kernels in a batch: more are no faster on a processor
# Normalised correlation from which two kernels are one.
_ALIKE: Final = 0.93
STEPS: Final = 3 + _GENERATIONS
"""How often `screen_curves` yields."""


def screening_scale(scales: Sequence[Scale]) -> int:
    """Number of the first scale where a kernel shows its shape."""
    large = (number for number, each in enumerate(scales) if each.kernel_size >= _LEAST_SIDE)
    return next(large, len(scales) - 1)


def screen_curves(
    views: Views, scales: Sequence[Scale], last: int, schedule: Schedule, residual_weight: float
) -> Generator[None, None, list[NDArray[np.float32]]]:
    """Find kernels that explain an image with few edges, without any start given.

    Parameters
    ----------
    views : Views
        At full size.
    scales : sequence of Scale
        Coarsest first.
    last : int
        Number of the scale that kernels are wanted for; that of `screening_scale` or a finer one.
    schedule : Schedule
        How often, and how strictly, kernels are improved.
    residual_weight : float
        See `napari_deblur.blur.alternation.energy`.

    Yields
    ------
    None
        `STEPS` times.

    Returns
    -------
    list of ndarray, each of the size of the last scale
        The best first.
    """
    rng = np.random.default_rng(_SEED)
    number = screening_scale(scales)
    here = _Level(views.at(scales[number]), number, schedule, residual_weight)
    share = min(1.0, max(_LEAST_SHARE, _PIXELS / here.pixels))

    def some(count: int) -> int:
        return max(2, round(share * count))

    turns = range(schedule.rounds)
    curves = random_curves(rng, some(_CURVES), scales[number].kernel_size)
    kernels = here.best(curves, some(_IMPROVED))
    yield
    kernels = here.best(here.improve(kernels, turns[:2]), some(_KEPT))
    yield
    for _ in range(_GENERATIONS):
        children = bend(rng, np.repeat(kernels[: some(_PARENTS)], _CHILDREN, axis=0), _BEND)
        children = here.improve(children, turns[1:3] or turns)
        kernels = here.best(np.concatenate((kernels, children)), some(_KEPT))
        yield
    if last > number:
        finer = scales[last]
        ratio = finer.factor / scales[number].factor
        lifted = [resize_kernel(each, ratio, finer.kernel_size) for each in kernels[:_LIFTED]]
        here = _Level(views.at(finer), last, schedule, residual_weight)
        kernels = here.improve(np.stack(lifted), turns[:3])
    kernels = here.improve(here.best(kernels, _FINISHED), turns[3:])
    kernels = here.best(kernels, _FINISHED)
    yield
    return list(kernels)


@dataclass(frozen=True)
class _Level:
    """The views at one scale, and how kernels are improved and judged there."""

    views: Views
    number: int
    schedule: Schedule
    residual_weight: float

    @property
    def pixels(self) -> int:
        return sum(image.numel() for image in self.views.images)

    def improve(self, kernels: NDArray[np.float32], turns: Sequence[int]) -> NDArray[np.float32]:
        """Alternate a few rounds of the schedule from each of some kernels (n, m, m)."""
        images, clipped = self.views.images, self.views.clipped
        schedule = self.views.follow(self.schedule)
        parts = [
            alternate_each(images, each, self.number, schedule, turns, clipped=clipped)
            for each in _parts(kernels)
        ]
        return np.concatenate(parts)

    def best(self, kernels: NDArray[np.float32], count: int) -> NDArray[np.float32]:
        """At most `count` of the lowest cost, the lowest first, without those like better ones."""
        parts = [self.views.energies(each, self.residual_weight) for each in _parts(kernels)]
        kept: list[NDArray[np.float32]] = []
        for index in np.argsort(np.concatenate(parts), kind="stable"):
            if all(kernel_likeness(kernels[index], other) < _ALIKE for other in kept):
                kept.append(kernels[index])
            if len(kept) == count:
                break
        return np.stack(kept)


def _parts(kernels: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    return [kernels[first : first + _TOGETHER] for first in range(0, len(kernels), _TOGETHER)]
