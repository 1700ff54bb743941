"""Looking for a kernel of any size: the network's, refined, on a wider support, corrected."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Sequence
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
from napari_deblur.engine.sizes import PAIRS_OWN, SizePlan, find_at_sizes
from napari_deblur.engine.suspicion import reaches_beyond
from napari_deblur.engine.texture import shows_texture
from napari_deblur.engine.views import look_at

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_deblur.engine.layout import Picture
    from napari_deblur.engine.options import Options
    from napari_deblur.engine.pair import Pair
    from napari_deblur.engine.progress import Progress
    from napari_deblur.engine.region import Region

__all__ = ["NothingToEstimateWarning", "correct_found", "find_kernel", "search_kernel"]

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
    found = yield from search_kernel(pair, frames, options, plan)
    return correct_found(pair, frames, options, found)


def correct_found(
    pair: Pair, frames: Sequence[tuple[Picture, Region]], options: Options, found: Estimate
) -> Estimate:
    """Take the last step from what `search_kernel` found; none where it was not refined."""
    if options.refine == 0 or not found.informative:
        return found
    kernel = correct(look_at(frames, pair.device), found.kernel, pair.device)
    return Estimate(kernel, informative=True)


def search_kernel(
    pair: Pair,
    frames: Sequence[tuple[Picture, Region]],
    options: Options,
    plan: SizePlan = PAIRS_OWN,
) -> Generator[Progress, None, Estimate]:
    """Do what `find_kernel` does but for the last step, the correction.

    For whoever compares the kernel with others that are not corrected.
    """
    told = options.kernel_size
    if told is not None or not plan.sizes:
        plan = SizePlan((told or pair.kernel_size,))
    comparison = Comparison(frames, pair.kernel_size, pair.device)
    starts: dict[float, Estimate] = {}

    def start_at(factor: float) -> Generator[Progress, None, Estimate]:
        if factor not in starts:
            starts[factor] = yield from _network_kernel(pair, frames, options, factor)
        return starts[factor]

    def find_at(side: int) -> Generator[Progress, None, Estimate]:
        factor = min(1.0, pair.kernel_size / side)
        start = yield from start_at(factor)
        return (yield from _refined(pair, frames, options, start, factor, side))

    def suspect(found: Estimate, side: int) -> Generator[Progress, None, bool]:
        factor = min(1.0, pair.kernel_size / side)
        start = yield from start_at(factor)
        return reaches_beyond(
            comparison.views, found.kernel, start.kernel, factor, side, options.refine
        )

    if shows_texture(frames):
        found = yield from find_at_sizes(plan, find_at, suspect, comparison)
    else:
        found = Estimate(delta_kernel(plan.sizes[0]), informative=False)
    if not found.informative:
        warnings.warn(
            "the image has no texture, or noise alone, so its blur cannot be estimated: the kernel "
            "changes nothing; choose a region with edges",
            NothingToEstimateWarning,
            stacklevel=2,
        )
    if told is not None or options.refine == 0 or not found.informative:
        return found
    while _is_cut_off(found.kernel) and found.kernel.shape[-1] < LARGEST_KERNEL:
        wider = min(2 * found.kernel.shape[-1] - 1, LARGEST_KERNEL)
        other = yield from find_at(wider)
        if not comparison.wider_is_better(found.kernel, other.kernel):
            break
        found = other
    return found


def _is_cut_off(kernel: NDArray[np.float32]) -> bool:
    """Whether so much of a kernel lies at the rim of its support that it may go on beyond."""
    inner = kernel[_RIM:-_RIM, _RIM:-_RIM]
    return float(inner.sum()) < 1 - _LARGEST_SHARE_AT_RIM


def _refined(
    pair: Pair,
    frames: Sequence[tuple[Picture, Region]],
    options: Options,
    found: Estimate,
    factor: float,
    size: int,
) -> Generator[Progress, None, Estimate]:
    """The kernel (size, size), from the network's of the images shrunk by `factor`."""
    if not found.informative:
        return Estimate(delta_kernel(size), informative=False)
    if options.refine == 0:
        return Estimate(resize_kernel(found.kernel, 1 / factor, size), informative=True)
    kernel = yield from refine_kernel(
        frames, found.kernel, options.refine, pair.device, factor=factor, size=size
    )
    return Estimate(kernel, informative=True)


def _network_kernel(
    pair: Pair, frames: Sequence[tuple[Picture, Region]], options: Options, factor: float
) -> Generator[Progress, None, Estimate]:
    """The network's kernel of the images shrunk by `factor`."""

    def steps(side: int) -> Generator[Progress, None, Estimate]:
        return estimate(pair, frames, side, factor)

    return (yield from with_smaller_tiles(steps, options.tile or choose_tile(pair), pair.device))
