"""In which order kernels of several sizes are looked for, and which of them is believed.

A support that is too small often shows no sign of it: what is found there is a dot, not a kernel
cut off at its rim.  A support that is too large costs time and precision, but what is found on it
tells how large the kernel is.  So the search on the largest support says which size to look at
again, and what is known of the blur beforehand says whether that search is worth its time.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from napari_deblur.blur.kernel import resize_kernel_support
from napari_deblur.blur.pyramid import odd_side
from napari_deblur.defaults import LARGEST_KERNEL

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_deblur.engine.comparison import Comparison
    from napari_deblur.engine.estimation import Estimate
    from napari_deblur.engine.progress import Progress

__all__ = ["PAIRS_OWN", "FindAt", "Order", "SizePlan", "Suspect", "find_at_sizes", "look_elsewhere"]

# Supports on which a large kernel is looked for again, as multiples of that on which it is wanted.
_OTHER_SUPPORTS: Final = (1.125, 0.9)

FindAt: TypeAlias = "Callable[[int], Generator[Progress, None, Estimate]]"
"""Looks for the kernel on a support of a side in pixels."""

Order: TypeAlias = Literal["doubt", "suspect", "both", "largest"]
"""In which order sizes are looked at, see `SizePlan`."""

Suspect: TypeAlias = "Callable[[Estimate, int], Generator[Progress, None, bool]]"
"""Says by a quick look whether the blur reaches beyond what was found, up to a side in pixels."""


@dataclass(frozen=True)
class SizePlan:
    """Which sizes of kernel to look for.

    Attributes
    ----------
    sizes : tuple of int
        Sides in pixels, odd, ascending; empty for the pair's own.
    order : Order
        The smallest size, and the larger ones where that explains little and a quick look says so;
        where a quick look says so; the smallest and the larger ones; or the largest, and a smaller
        one only where what was found fits it.
    """

    sizes: tuple[int, ...] = ()
    order: Order = "suspect"


PAIRS_OWN: Final = SizePlan()
"""The plan where nothing is known but the pair."""


def find_at_sizes(
    plan: SizePlan, find_at: FindAt, suspect: Suspect, comparison: Comparison
) -> Generator[Progress, None, Estimate]:
    """Look for a kernel at the sizes of a plan.

    Parameters
    ----------
    plan : SizePlan
        Its sizes are not empty.
    find_at, suspect : callable
        The search, and the quick look.
    comparison : Comparison
        Of the frames that the kernel is looked for on.

    Returns
    -------
    Estimate
        The kernel that is believed.
    """
    smallest, largest = plan.sizes[0], plan.sizes[-1]
    if smallest == largest:
        return (yield from find_at(smallest))
    if plan.order == "largest":
        wide = yield from find_at(largest)
        return (yield from _at_its_own_size(plan, wide, find_at, comparison))
    found = yield from find_at(smallest)
    if not found.informative:
        return found
    if plan.order == "doubt" and not comparison.explains_little(found.kernel):
        return found
    if plan.order != "both" and not (yield from suspect(found, largest)):
        return found
    wide = yield from find_at(largest)
    if not comparison.fits(wide.kernel, smallest):
        wide = yield from _at_its_own_size(plan, wide, find_at, comparison)
    return wide if comparison.wider_is_better(found.kernel, wide.kernel) else found


def _at_its_own_size(
    plan: SizePlan, wide: Estimate, find_at: FindAt, comparison: Comparison
) -> Generator[Progress, None, Estimate]:
    """What was found at the largest size, or at the smallest that it fits if that is believed."""
    fitting = [size for size in plan.sizes[:-1] if comparison.fits(wide.kernel, size)]
    if not (fitting and wide.informative):
        return wide
    other = yield from find_at(fitting[0])
    return wide if comparison.wider_is_better(other.kernel, wide.kernel) else other


def look_elsewhere(
    kernel: NDArray[np.float32],
    find_on: Callable[[int], Generator[Progress, None, NDArray[np.float32]]],
    comparison: Comparison,
) -> Generator[Progress, None, NDArray[np.float32]]:
    """Doubt a large kernel that explains little, and look for a better one on other supports.

    On each of them the search takes another way from its coarsest scale on: what one loses, another
    may find.

    Parameters
    ----------
    kernel : ndarray, shape (m, m)
        Found on a support of m pixels, larger than the network's.
    find_on : callable
        Looks for a kernel on a support of a side in pixels.
    comparison : Comparison
        Of the frames that the kernel is looked for on.

    Returns
    -------
    ndarray, shape (m, m), float32
        The kernel itself unless another explains much more.
    """
    if not comparison.explains_little(kernel):
        return kernel
    side = kernel.shape[-1]
    for times in _OTHER_SUPPORTS:
        other_side = odd_side(times * side - 1)  # the nearest odd number
        if not comparison.precise < other_side <= LARGEST_KERNEL:
            continue
        other = yield from find_on(other_side)
        if comparison.much_better(other, kernel):
            kernel = resize_kernel_support(other, side)
            if not comparison.explains_little(kernel):
                break
    return kernel
