"""What may hold an image: an array with a shape, a dtype and slicing, checked without reading it.

No torch here.  The array may be in memory or not (memory map, Zarr, dask, HDF5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from napari_deblur.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = [
    "SMALLEST_SIDE",
    "ArraySource",
    "as_source",
    "check_dtype",
    "find_channels",
    "image_size",
]

SMALLEST_SIDE = 16
"""Smallest height and width in pixels that an image may have."""


class ArraySource(Protocol):
    """What an input must offer: a shape, a dtype, and slicing by one slice per axis."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        ...

    @property
    def dtype(self) -> Any:
        """Type of the values, anything that `numpy.dtype` understands."""
        ...

    def __getitem__(self, key: Any, /) -> Any: ...


def as_source(image: ArraySource | ArrayLike) -> ArraySource:
    """Take an image as something with a shape, a dtype and slicing; lazy arrays stay lazy.

    Raises
    ------
    InputError
        When it cannot be understood as an array of numbers.
    """
    if isinstance(image, np.ma.MaskedArray) and np.ma.is_masked(image):
        raise InputError(
            "the image is a masked array, and what lies under its mask blurs its surroundings all "
            "the same: give the values as they are, image.data, or image.filled(...)"
        )
    if _is_lazy(image):
        return cast("ArraySource", image)
    try:
        array = np.asarray(image)
    except (ValueError, TypeError, RuntimeError):  # torch's, of a tensor with a gradient
        array = np.empty((), dtype=object)
    if array.dtype.kind in "OSUVMm":
        raise InputError(
            f"not an image: {type(image).__name__}; give a 2-D or 3-D array of numbers "
            "(read files with napari_deblur.files.images.read_image)"
        )
    return array


def _is_lazy(image: ArraySource | ArrayLike) -> bool:
    """Whether an image can be read by slices; a torch tensor cannot, for its dtype is its own."""
    if isinstance(image, np.generic) or not all(
        hasattr(image, name) for name in ("shape", "dtype", "ndim", "__getitem__")
    ):
        return False
    try:
        np.dtype(image.dtype)  # type: ignore[union-attr]
    except TypeError:
        return False
    return True


def check_dtype(array: ArraySource) -> np.dtype[Any]:
    """Return the dtype of an array.

    Raises
    ------
    InputError
        When an image cannot have it.
    """
    dtype: np.dtype[Any] = np.dtype(array.dtype)
    if dtype.kind in "ui" or (dtype.kind == "f" and dtype.itemsize <= 8):
        return dtype
    advice = {
        "b": "give the picture itself rather than a mask",
        "c": "give its magnitude, numpy.abs(image)",
        "f": "convert it with image.astype(float)",
    }.get(dtype.kind, "convert it to numbers")
    raise InputError(
        f"images of dtype {dtype} cannot be deblurred: allowed are integers and floats of up to 64 "
        f"bits; {advice}"
    )


def find_channels(shape: tuple[int, ...], channel_axis: int | None) -> tuple[int | None, bool]:
    """Non-negative channel axis or None, and whether the last channel is alpha.

    Raises
    ------
    InputError
        When no image has this shape, or not with its channels there.
    """
    if not all(isinstance(side, int | np.integer) for side in shape):  # dask calls them NaN
        raise InputError(
            f"the image's shape {shape} is not known before it is computed: give its sides, in "
            "dask with image.compute_chunk_sizes()"
        )
    text = " x ".join(map(str, shape)) or "a single number"
    if len(shape) not in (2, 3):
        raise InputError(
            f"not an image: {len(shape)} dimensions ({text}); give (Y, X), or three axes with one "
            "of channels, and take stacks slice by slice"
        )
    if 0 in shape:
        raise InputError(f"the image is empty ({text}): give at least 16 x 16 pixels")
    axis, alpha = _channel_axis(shape, channel_axis, text)
    if min(image_size(shape, axis)) < SMALLEST_SIDE:
        height, width = image_size(shape, axis)
        hint = "" if axis is None else f" (channels on axis {axis} of {text})"
        raise InputError(
            f"the image has {height} x {width} pixels{hint}: at least {SMALLEST_SIDE} x "
            f"{SMALLEST_SIDE} are needed; take a larger part"
        )
    return axis, alpha


def _channel_axis(
    shape: tuple[int, ...], channel_axis: int | None, text: str
) -> tuple[int | None, bool]:
    if len(shape) == 2:
        if channel_axis is not None:
            raise InputError(
                f"channel_axis {channel_axis} does not go with a 2-D image ({text}): leave it out"
            )
        return None, False
    if channel_axis is None:
        if shape[2] not in (1, 3, 4):
            raise InputError(
                f"an image of {text} has {shape[2]} values on its last axis, where RGB has 3 and "
                "RGBA 4: name the axis of the channels with channel_axis, or take stacks slice by "
                "slice"
            )
        return 2, shape[2] == 4
    if not isinstance(channel_axis, int | np.integer) or not -3 <= channel_axis < 3:
        raise InputError(f"channel_axis {channel_axis!r} is not an axis of {text}: give -3 to 2")
    return channel_axis % 3, False


def image_size(shape: tuple[int, ...], channel_axis: int | None) -> tuple[int, int]:
    """Height and width of an array of this shape."""
    height, width = (side for axis, side in enumerate(shape) if axis != channel_axis)
    return height, width
