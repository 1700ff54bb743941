"""What the values of an image are like: their range and clipping, read band by band.

Arrays are never read as a whole.  No torch here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_deblur.blur.clipping import clipping_level
from napari_deblur.engine.arrays import (
    SMALLEST_SIDE,
    ArraySource,
    check_dtype,
    find_channels,
    image_size,
)
from napari_deblur.engine.tiles import spread
from napari_deblur.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["extremes", "find_saturation", "shared_range", "working_range"]

_FILLED = 0.25  # part of the nominal range that data must span to be kept in it
_BAND = 1 << 24  # values looked at in one go when an array is surveyed
_CLIPPING_BANDS = 4  # bands in which a plateau of clipped values is looked for


def working_range(dtype: np.dtype[Any], least: float, most: float) -> tuple[float, float]:
    """Values that become 0 and 1 by the rule that `napari_deblur.engine.layout` describes."""
    if dtype.kind == "u":
        nominal = float(np.iinfo(dtype).max)
    elif dtype.kind == "f" and least >= 0 and most <= 1:
        nominal = 1.0
    else:
        return least, most
    return (0.0, nominal) if most - least >= _FILLED * nominal else (least, most)


def shared_range(
    images: Iterable[ArraySource], *, channel_axis: int | None = None
) -> tuple[float, float]:
    """Black and white that images of one kind share, such as the slices of a stack.

    Parameters
    ----------
    images : iterable of arrays
        At least one; see `image_layout`.  They are read in bands, one after the other.
    channel_axis : int, optional
        See `image_layout`.

    Returns
    -------
    low, high : float
        What `image_layout` would find for all of them side by side.

    Raises
    ------
    InputError
        When one of them is no image.
    """
    least, most = math.inf, -math.inf
    for image in images:
        low, high = extremes(image, channel_axis=channel_axis)
        least, most = min(least, low), max(most, high)
    return working_range(np.dtype(image.dtype), least, most)


def extremes(
    image: ArraySource, *, channel_axis: int | None = None, first_row: int = 0
) -> tuple[float, float]:
    """Smallest and largest value of an image, alpha not counted; see `shared_range`.

    Of a band of an image `first_row` says where it begins, for the message of the error.

    Raises
    ------
    InputError
        When it is no image, or holds a value that is not finite, be it in its alpha channel.
    """
    check_dtype(image)
    axis, alpha = find_channels(tuple(image.shape), channel_axis)
    return _survey(image, axis, first_row, alpha=alpha)


def find_saturation(array: ArraySource, channel_axis: int | None) -> float:
    """Value from which an array is clipped, by the values of some bands that are spread over it."""
    axis, alpha = find_channels(tuple(array.shape), channel_axis)
    last = -1 if alpha else None
    values = [
        _band(array, axis, rows)[:last].ravel()
        for rows in spread(_plan_bands(array, axis), _CLIPPING_BANDS)
    ]
    return clipping_level(np.concatenate(values))


def _survey(
    array: ArraySource, axis: int | None, first_row: int, *, alpha: bool
) -> tuple[float, float]:
    """Smallest and largest value, alpha not counted, read in bands of rows."""
    least, most = math.inf, -math.inf
    for rows in _plan_bands(array, axis):
        band = _band(array, axis, rows)
        if band.dtype.kind == "f" and not np.isfinite(band).all():
            bad = np.argwhere(~np.isfinite(band))[0]
            channel, row, column = (int(each) for each in bad)
            height, width = image_size(tuple(array.shape), axis)
            part = " in its alpha channel" if alpha and channel == len(band) - 1 else ""
            raise InputError(
                f"the image of {height} x {width} pixels holds {band[tuple(bad)]}{part} at row "
                f"{first_row + rows.start + row}, column {column}: every value must be finite; "
                "replace it, for instance with numpy.nan_to_num"
            )
        colours = band[:-1] if alpha else band
        least, most = min(least, float(colours.min())), max(most, float(colours.max()))
    return least, most


def _plan_bands(array: ArraySource, axis: int | None) -> list[slice]:
    """Rows of bands that cover an array."""
    height, width = image_size(tuple(array.shape), axis)
    per_row = width * (1 if axis is None else array.shape[axis])
    step = max(SMALLEST_SIDE, _BAND // per_row)
    return [slice(start, min(start + step, height)) for start in range(0, height, step)]


def _band(array: ArraySource, axis: int | None, rows: slice) -> NDArray[Any]:
    """Channels-first values of a band of rows, alpha included."""
    index = [rows, slice(0, image_size(tuple(array.shape), axis)[1])]
    if axis is None:
        return np.asarray(array[tuple(index)])[np.newaxis]
    index.insert(axis, slice(None))
    return np.moveaxis(np.asarray(array[tuple(index)]), axis, 0)
