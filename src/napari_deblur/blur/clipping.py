"""The level at which a sensor cut off light, found in an image; no torch."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["clipping_level"]

_BINS: Final = 5  # looked at below the maximum, each 1/255 of the range
_PLATEAU: Final = 4  # how many times fuller than its neighbours the last bin is when light is cut
_LEAST_SHARE: Final = 2e-4  # of all values; a few hot pixels are no clipped scene


def clipping_level(values: NDArray[Any]) -> float:
    """Find the level from which the values of an image are clipped, from their histogram.

    Light that is cut off piles up at the largest value.  The histogram of an unclipped scene fades
    out instead: there the last bin, 1/255 of the range wide, is not much fuller than the four below
    it.

    Parameters
    ----------
    values : ndarray, any shape, finite
        The values of an image, or of a large part of it.

    Returns
    -------
    float
        Values from here up count as clipped; infinite if there is no plateau.  A large area that
        is uniformly white looks the same in a histogram and counts as well.
    """
    if values.size == 0:
        return np.inf
    top, bottom = float(values.max()), float(values.min())
    width = (top - bottom) / 255
    if not width > 0:
        return np.inf
    edges = top - width * (np.arange(_BINS, -1, -1) - 0.5)
    counts, _ = np.histogram(values, bins=edges)
    *below, last = counts
    if last < _LEAST_SHARE * values.size or last < _PLATEAU * max(below):
        return np.inf
    return float(edges[-2])
