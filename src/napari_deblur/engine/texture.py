"""Whether an image shows anything but noise; no torch.

Noise of the sensor is white: whatever the size of the squares that its pixels are averaged over,
the mean of n pixels varies by 1 / sqrt(n) of what one pixel does.  Scenes do not, and blurry ones
least of all: their neighbours are alike.  A kernel that is read from white noise is noise itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_deblur.engine.region import luma

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_deblur.engine.layout import Picture
    from napari_deblur.engine.region import Region

__all__ = ["is_white", "shows_texture"]

_WINDOW = 512  # pixels
_FADE = 16  # pixels
_SIDES = (2, 4, 8, 16, 32)  # of squares, in pixels
_LEAST_SQUARES = 16
_SPREADS = 5  # that the variance may differ from white noise's; by chance once in a million
_LARGEST = 6  # standard deviations; more is a spot
_SPOT = 4  # side in pixels from which means of any noise are nearly normal


def shows_texture(frames: Sequence[tuple[Picture, Region]]) -> bool:
    """Whether any part of any frame is more than white noise.

    Most images are known by their first window, so that this costs next to nothing.

    Parameters
    ----------
    frames : sequence of (Picture, Region)
        Images, and the part of each that counts.
    """
    return any(
        not is_white(region.fade(luma(picture.read(window)), window, _FADE))
        for picture, region in frames
        for window in region.windows(_WINDOW)
    )


def is_white(values: NDArray[np.float32]) -> bool:
    """Whether nothing tells values (h, w) from white noise; an even image counts as white, too.

    Marks that nobody could see do not tell: the variance of the means over squares must differ from
    noise's by five times what it does by chance, or one of the means by six standard deviations.
    """
    deviations = values - values.mean(dtype=np.float64)
    power = float(np.square(deviations).mean())
    for side in _SIDES:
        means = _means(deviations, side)
        if means.size < _LEAST_SQUARES or power == 0:
            break
        squares = np.square(means) * (side**2 / power)  # 1 on average if the values are white
        if abs(float(squares.mean()) - 1) > _SPREADS * np.sqrt(2 / means.size):
            return False
        if side >= _SPOT and squares.max() > _LARGEST**2:
            return False
    return True


def _means(values: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Means over squares; what does not fill one at the far ends is left out."""
    rows, columns = (length // side for length in values.shape)
    whole = values[: rows * side, : columns * side]
    means: NDArray[np.float64] = whole.reshape(rows, side, columns, side).mean(axis=(1, 3))
    return means
