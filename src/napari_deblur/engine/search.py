"""Looking for a kernel of any size: the network's, refined, on a wider support, corrected."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from napari_deblur.blur.alternation import resize_kernel
from napari_deblur.blur.kernel import delta_kernel
from napari_deblur.engine.comparison import Comparison
from napari_deblur.engine.correction import correct
from napari_deblur.engine.estimation import Estimate, estimate
from napari_deblur.engine.pair import LARGEST_KERNEL
from napari_deblur.engine.plans import choose_tile
from napari_deblur.engine.progress import with_smaller_tiles
from napari_deblur.engine.refinement import refine_kernel
from napari_deblur.engine.sizes import PAIRS_OWN, SizePlan, find_at_sizes, look_elsewhere
from napari_deblur.engine.suspicion import reaches_beyond
from napari_deblur.engine.texture import shows_texture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_deblur.engine.layout import Picture
    from napari_deblur.engine.options import Options
    from napari_deblur.engine.pair import Pair
    from napari_deblur.engine.progress import Progress
    from napari_deblur.engine.region import Region

__all__ = ["NothingToEstimateWarning", "Search", "find_kernel"]

_RIM = 2  # pixels
_LARGEST_SHARE_AT_RIM = 0.1


class NothingToEstimateWarning(UserWarning):
    """The image has no texture, or noise alone, so no kernel could be estimated from it."""


def find_kernel(
    pair: Pair,
    frames: Sequence[tuple[Picture, Region]],
    options: Options,
    plan: SizePlan = PAIRS_OWN,
) -> Generator[Progress, None, Estimate]:
    """Estimate the one kernel that blurred all frames.

    Parameters
    ----------
    pair : Pair
        The networks.
    frames : sequence of (Picture, Region)
        Images, and the part of each that counts.
    options : Options
        `kernel_size` (None for a size that the blur turns out to need), `refine` and `tile` are
        looked at.
    plan : SizePlan
        The sizes to begin with where `options` leaves it open; the pair's own by default.

    Warns
    -----
    NothingToEstimateWarning
        When no frame has any texture; noise is none.
    """
    search = Search(pair, frames, options)
    found = yield from search.run(plan)
    return search.correct(found)


class Search:
    """The steps of `find_kernel`; what one has read of the frames serves the others.

    Parameters
    ----------
    pair, frames, options
        See `find_kernel`.
    """

    def __init__(
        self, pair: Pair, frames: Sequence[tuple[Picture, Region]], options: Options
    ) -> None:
        self._pair = pair
        self._frames = frames
        self._options = options
        self._comparison = Comparison(frames, pair.kernel_size, pair.device)
        self._starts: dict[float, Estimate] = {}

    def run(self, plan: SizePlan = PAIRS_OWN) -> Generator[Progress, None, Estimate]:
        """Do what `find_kernel` does but for the last step, `correct`.

        For whoever compares the kernel with others that are not corrected.
        """
        told = self._options.kernel_size
        if told is not None or not plan.sizes:
            plan = SizePlan((told or self._pair.kernel_size,))
        if shows_texture(self._frames):
            found = yield from find_at_sizes(plan, self._find_at, self._suspect, self._comparison)
        else:
            found = Estimate(delta_kernel(plan.sizes[0]), informative=False)
        if not found.informative:
            warnings.warn(
                "the image has no texture, or noise alone, so its blur cannot be estimated: the "
                "kernel changes nothing; choose a region with edges",
                NothingToEstimateWarning,
                stacklevel=2,
            )
            return found
        if told is None and self._options.refine > 0:
            found = yield from self._widen(found)
        return found

    def correct(self, found: Estimate) -> Estimate:
        """Take the last step from what `run` found; none where it was not refined."""
        if self._options.refine == 0 or not found.informative:
            return found
        kernel = correct(self._comparison.views, found.kernel, self._pair.device)
        return replace(found, kernel=kernel, corrected=True)

    def _widen(self, found: Estimate) -> Generator[Progress, None, Estimate]:
        """Look on wider supports as long as a kernel may go on beyond its own."""
        while _is_cut_off(found.kernel) and found.kernel.shape[-1] < LARGEST_KERNEL:
            wider = min(2 * found.kernel.shape[-1] - 1, LARGEST_KERNEL)
            other = yield from self._find_at(wider)
            if not self._comparison.wider_is_better(found.kernel, other.kernel):
                break
            found = other
        return found

    def _find_at(self, side: int) -> Generator[Progress, None, Estimate]:
        """The kernel (side, side), refined from the network's."""
        factor = self._factor(side)
        start = yield from self._start_at(factor)
        if not start.informative:
            return Estimate(delta_kernel(side), informative=False)
        if self._options.refine == 0:
            return Estimate(resize_kernel(start.kernel, 1 / factor, side), informative=True)
        kernel = yield from self._refined(side)
        if factor < 1:
            kernel = yield from look_elsewhere(kernel, self._refined, self._comparison)
        return Estimate(kernel, informative=True)

    def _refined(self, side: int) -> Generator[Progress, None, NDArray[np.float32]]:
        factor = self._factor(side)
        start = yield from self._start_at(factor)
        views, rounds = self._comparison.views, self._options.refine
        return (yield from refine_kernel(views, start.kernel, rounds, factor=factor, size=side))

    def _suspect(self, found: Estimate, side: int) -> Generator[Progress, None, bool]:
        """Whether a quick look says that the blur reaches beyond what was found, up to `side`."""
        factor = self._factor(side)
        start = yield from self._start_at(factor)
        return reaches_beyond(
            self._comparison.views, found.kernel, start.kernel, factor, side, self._options.refine
        )

    def _factor(self, side: int) -> float:
        """By how much images are shrunk for the network to see kernels of a side."""
        return min(1.0, self._pair.kernel_size / side)

    def _start_at(self, factor: float) -> Generator[Progress, None, Estimate]:
        """The network's kernel of the images shrunk by `factor`; asked for once."""

        def steps(tile: int) -> Generator[Progress, None, Estimate]:
            return estimate(self._pair, self._frames, tile, factor)

        if factor not in self._starts:
            tile = self._options.tile or choose_tile(self._pair)
            self._starts[factor] = yield from with_smaller_tiles(steps, tile, self._pair.device)
        return self._starts[factor]


def _is_cut_off(kernel: NDArray[np.float32]) -> bool:
    """Whether so much of a kernel lies at the rim of its support that it may go on beyond."""
    inner = kernel[_RIM:-_RIM, _RIM:-_RIM]
    return float(inner.sum()) < 1 - _LARGEST_SHARE_AT_RIM
