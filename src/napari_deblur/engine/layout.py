"""Between a user's array and the working image: float32 (C, H, W), values in [0, 1].

Conversion happens here and nowhere else, once on the way in and once on the way out.

**What the values mean.**  Blur adds up light, so intensities are taken as they stand and are
assumed linear in light, as a camera's raw values or a microscope's counts are.  A photograph that
went through a gamma curve is linearised only if `gamma` says so; otherwise its blur is only
approximately a convolution, which is what the published benchmarks take for granted as well.

**Scale.**  The working range is the nominal one, `[0, dtype's maximum]` for unsigned integers and
`[0, 1]` for floats that lie inside it, where the data fill at least a quarter of it.  Otherwise,
and for signed integers and floats outside `[0, 1]`, it is the data's own minimum to maximum.  So
12-bit data in uint16 and dim 8-bit data use the whole working range, and photographs keep their
usual one.  The map is affine, and an affine map commutes with convolution by a kernel of sum 1:
it changes no kernel and shifts no result.

**Way back.**  The affine map is undone in float64; integers are rounded to the nearest and clipped
to their dtype's range; floats inside [0, 1] stay inside it; other values are kept non-negative if
the input was.  Sharp peaks are higher than blurred ones, so results may exceed the input's maximum.

No torch here.  The array may be anything with `shape`, `dtype` and slicing (NumPy, memory map,
Zarr, dask, HDF5): it is read window by window and never as a whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from napari_deblur.blur.clipping import clipping_level
from napari_deblur.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "SMALLEST_SIDE",
    "ArraySource",
    "Layout",
    "Picture",
    "Window",
    "extremes",
    "layout_within",
    "open_picture",
    "shared_range",
    "working_range",
]

SMALLEST_SIDE = 16
"""Smallest height and width in pixels that an image may have."""

_FILLED = 0.25  # part of the nominal range that data must span to be kept in it
_FARTHEST = 1e9  # ranges from black that a value may be away: its square is one of float32 yet
_BAND = 1 << 24  # values looked at in one go when an array is surveyed
_CLIPPING_BANDS = 4  # bands in which a plateau of clipped values is looked for

Window = tuple[slice, slice]


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


@dataclass(frozen=True)
class Layout:
    """How an array holds an image, and how to get back to it.

    Attributes
    ----------
    shape : tuple of int
        Shape of the array.
    dtype : numpy.dtype
        Its dtype.
    channel_axis : int or None
        Non-negative axis of the channels; None for a grey image without such an axis.
    alpha : bool
        Whether the last channel is an alpha channel, which is passed through untouched.
    low, high : float
        Values that become 0 and 1 in the working image.
    floor, ceiling : float
        Values that a restored image is clipped to.
    gamma : float
        Working values are those of the array, scaled, to this power.
    saturation : float
        Values of the array from here up are clipped; infinite if none is.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    channel_axis: int | None
    alpha: bool
    low: float
    high: float
    floor: float
    ceiling: float
    gamma: float = 1.0
    saturation: float = math.inf

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return _size(self.shape, self.channel_axis)

    @property
    def channels(self) -> int:
        """Number of channels of the working image, alpha not counted."""
        count = 1 if self.channel_axis is None else self.shape[self.channel_axis]
        return count - self.alpha

    @property
    def span(self) -> float:
        """Units of the array that one unit of the working image stands for."""
        return self.high - self.low if self.high > self.low else 1.0

    def clipped(self, working: NDArray[np.float32]) -> NDArray[np.bool_] | None:
        """Pixels of a working image, of its shape, that are clipped; None if none is."""
        if not math.isfinite(self.saturation):
            return None
        level = _power(np.float64((self.saturation - self.low) / self.span), self.gamma)
        found = working >= np.nextafter(np.float32(level), np.float32(-np.inf))
        return found if found.any() else None

    def index(self, window: Window) -> tuple[slice, ...]:
        """Index into the array that picks a window (rows, columns) with all channels."""
        if self.channel_axis is None:
            return window
        index: list[slice] = list(window)
        index.insert(self.channel_axis, slice(None))
        return tuple(index)

    def read(self, array: ArraySource, window: Window) -> NDArray[np.float32]:
        """Working image (C, h, w) of a window of the array, without its alpha channel."""
        block = self._channels_first(np.asarray(array[self.index(window)]))
        scaled = (block[: self.channels].astype(np.float64) - self.low) / self.span
        return np.asarray(_power(scaled, self.gamma), np.float32, order="C")

    def write(
        self, out: Any, window: Window, working: NDArray[np.float32], source: ArraySource
    ) -> None:
        """Put a working image (C, h, w) into a window of `out`; alpha comes from `source`."""
        block = self.restore(working)
        if self.alpha:
            original = self._channels_first(np.asarray(source[self.index(window)]))
            block = np.concatenate([block, original[self.channels :]])
        out[self.index(window)] = self._channels_back(block)

    def restore(self, working: NDArray[np.float32]) -> NDArray[Any]:
        """Values (C, h, w) of the array's dtype and range for those of a working image."""
        values = _power(working.astype(np.float64), 1 / self.gamma) * self.span + self.low
        if self.dtype.kind in "ui":
            values = np.rint(values)
        restored: NDArray[Any] = np.clip(values, self.floor, self.ceiling).astype(self.dtype)
        return restored

    def _channels_first(self, block: NDArray[Any]) -> NDArray[Any]:
        if self.channel_axis is None:
            return block[np.newaxis]
        return np.moveaxis(block, self.channel_axis, 0)

    def _channels_back(self, block: NDArray[Any]) -> NDArray[Any]:
        if self.channel_axis is None:
            return block.reshape(block.shape[1:])
        return np.moveaxis(block, 0, self.channel_axis)


@dataclass(frozen=True)
class Picture:
    """An array that has been found to hold an image, and how it does.

    Attributes
    ----------
    array : array
        The user's array, never written to.
    layout : Layout
        How it holds the image.
    """

    array: ArraySource
    layout: Layout

    def read(self, window: Window) -> NDArray[np.float32]:
        """Working image (C, h, w) of a window."""
        return self.layout.read(self.array, window)

    def write(self, out: Any, window: Window, working: NDArray[np.float32]) -> None:
        """Put a working image (C, h, w) into a window of `out`; alpha comes from this picture."""
        self.layout.write(out, window, working, self.array)


def open_picture(
    image: ArraySource | ArrayLike,
    *,
    channel_axis: int | None = None,
    value_range: tuple[float, float] | None = None,
    gamma: float = 1.0,
    saturation: float | None = math.inf,
) -> Picture:
    """Take an array-like as an image; see `image_layout` for parameters and errors."""
    array = as_source(image)
    layout = image_layout(
        array,
        channel_axis=channel_axis,
        value_range=value_range,
        gamma=gamma,
        saturation=saturation,
    )
    return Picture(array, layout)


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


def image_layout(
    array: ArraySource,
    *,
    channel_axis: int | None = None,
    value_range: tuple[float, float] | None = None,
    gamma: float = 1.0,
    saturation: float | None = math.inf,
) -> Layout:
    """Find out how an array holds an image, and check that it does.

    Parameters
    ----------
    array : array of shape (H, W), or 3-D
        Integers or floats, finite, at least 16 x 16 pixels.
    channel_axis : int, optional
        Axis of the channels of a 3-D array, which are then all treated as image channels.  Without
        it a 2-D array is grey, and a 3-D array must be (H, W, 1), (H, W, 3), which is RGB, or
        (H, W, 4), which is RGB with alpha.
    value_range : tuple of float, optional
        Values that become 0 and 1 in the working image, for instance those of a whole stack for
        each of its slices.  By default the rule in this module's description.
    gamma : float
        Exponent, above 0, that makes scaled values proportional to light.  Other than 1, black is
        0 by default for images without negative values.
    saturation : float, optional
        Value from which pixels count as clipped; infinite for none, None to find it.

    Raises
    ------
    InputError
        For anything else.
    """
    bounds = extremes(array, channel_axis=channel_axis)
    if saturation is None:
        saturation = _find_saturation(array, channel_axis)
    return layout_within(
        array,
        bounds,
        channel_axis=channel_axis,
        value_range=value_range,
        gamma=gamma,
        saturation=saturation,
    )


def layout_within(
    array: ArraySource,
    bounds: tuple[float, float],
    *,
    channel_axis: int | None = None,
    value_range: tuple[float, float] | None = None,
    gamma: float = 1.0,
    saturation: float = math.inf,
) -> Layout:
    """Find the layout of an array whose smallest and largest values are known; none is read.

    Parameters
    ----------
    array, channel_axis, value_range, gamma, saturation
        See `image_layout`; the level of saturation must be known, too.
    bounds : tuple of float
        What `extremes` found.

    Raises
    ------
    InputError
        See `image_layout`.
    """
    dtype = _check_dtype(array)
    axis, alpha = _find_channels(tuple(array.shape), channel_axis)
    least, most = bounds
    if value_range is None:
        low, high = working_range(dtype, least, most)
        if gamma != 1 and least >= 0:  # a power has its zero where light has
            low = 0.0
    else:
        low, high = _two_numbers(value_range)
    if not (math.isfinite(high - low) and low <= high):
        raise InputError(
            f"value range {low:g} to {high:g} cannot be used: give two finite numbers, the smaller "
            "one first, whose difference is finite as well"
        )
    if max(abs(least - low), abs(most - low)) > _FARTHEST * (high - low) > 0:
        raise InputError(
            f"value range {low:g} to {high:g} does not go with an image of values from {least:g} "
            f"to {most:g}: give the values that are black and white in it"
        )
    if saturation <= least:
        raise InputError(
            f"saturation {saturation:g} is not above the image's smallest value, {least:g}, so all "
            "of it would be clipped: give the value at which the sensor saturates"
        )
    if value_range is not None:  # what else belongs to this image may have any of these values
        least, most = min(least, low), max(most, high)
    floor, ceiling = _limits(dtype, least, most)
    return Layout(
        shape=tuple(int(side) for side in array.shape),
        dtype=dtype,
        channel_axis=axis,
        alpha=alpha,
        low=float(low),
        high=float(high),
        floor=floor,
        ceiling=ceiling,
        gamma=float(gamma),
        saturation=float(saturation),
    )


def _power(values: Any, exponent: float) -> Any:
    """Raise to a power, negative values as if they were positive ones turned down."""
    return values if exponent == 1 else np.copysign(np.abs(values) ** exponent, values)


def _find_saturation(array: ArraySource, channel_axis: int | None) -> float:
    """Value from which an array is clipped, by the values of some bands that are spread over it."""
    axis, alpha = _find_channels(tuple(array.shape), channel_axis)
    bands = _plan_bands(array, axis)
    chosen = np.linspace(0, len(bands) - 1, min(len(bands), _CLIPPING_BANDS)).round().astype(int)
    values = [_band(array, axis, bands[index], alpha=alpha).ravel() for index in chosen]
    return clipping_level(np.concatenate(values))


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
        When it is no image.
    """
    _check_dtype(image)
    axis, alpha = _find_channels(tuple(image.shape), channel_axis)
    return _survey(image, axis, first_row, alpha=alpha)


def _two_numbers(value_range: tuple[float, float]) -> tuple[float, float]:
    try:
        low, high = (float(value) for value in value_range)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"value range {value_range!r} cannot be used: give two numbers, the values of black "
            "and white"
        ) from error
    return low, high


def _check_dtype(array: ArraySource) -> np.dtype[Any]:
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


def _find_channels(shape: tuple[int, ...], channel_axis: int | None) -> tuple[int | None, bool]:
    """Non-negative channel axis or None, and whether the last channel is alpha."""
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
    if min(_size(shape, axis)) < SMALLEST_SIDE:
        height, width = _size(shape, axis)
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


def _size(shape: tuple[int, ...], channel_axis: int | None) -> tuple[int, int]:
    height, width = (side for axis, side in enumerate(shape) if axis != channel_axis)
    return height, width


def _survey(
    array: ArraySource, axis: int | None, first_row: int, *, alpha: bool
) -> tuple[float, float]:
    """Smallest and largest value, alpha not counted, read in bands of rows."""
    least, most = math.inf, -math.inf
    for start, band in _bands(array, axis, alpha=alpha):
        if band.dtype.kind == "f" and not np.isfinite(band).all():
            bad = np.argwhere(~np.isfinite(band))
            height, width = _size(tuple(array.shape), axis)
            _, row, column = bad[0]
            raise InputError(
                f"the image of {height} x {width} pixels holds {band[tuple(bad[0])]} at row "
                f"{first_row + start + row}, column {column}: every value must be finite; replace "
                "it, for instance with numpy.nan_to_num"
            )
        least, most = min(least, float(band.min())), max(most, float(band.max()))
    return least, most


def _bands(
    array: ArraySource, axis: int | None, *, alpha: bool
) -> Iterator[tuple[int, NDArray[Any]]]:
    """First row and channels-first values of one band of rows after the other."""
    for rows in _plan_bands(array, axis):
        yield rows.start, _band(array, axis, rows, alpha=alpha)


def _plan_bands(array: ArraySource, axis: int | None) -> list[slice]:
    """Rows of bands that cover an array."""
    height, width = _size(tuple(array.shape), axis)
    per_row = width * (1 if axis is None else array.shape[axis])
    step = max(SMALLEST_SIDE, _BAND // per_row)
    return [slice(start, min(start + step, height)) for start in range(0, height, step)]


def _band(array: ArraySource, axis: int | None, rows: slice, *, alpha: bool) -> NDArray[Any]:
    """Channels-first values of a band of rows."""
    index = [rows, slice(0, _size(tuple(array.shape), axis)[1])]
    if axis is None:
        return np.asarray(array[tuple(index)])[np.newaxis]
    index.insert(axis, slice(None))
    band = np.moveaxis(np.asarray(array[tuple(index)]), axis, 0)
    return band[:-1] if alpha else band


def working_range(dtype: np.dtype[Any], least: float, most: float) -> tuple[float, float]:
    """Values that become 0 and 1 by the rule in this module's description."""
    if dtype.kind == "u":
        nominal = float(np.iinfo(dtype).max)
    elif dtype.kind == "f" and least >= 0 and most <= 1:
        nominal = 1.0
    else:
        return least, most
    return (0.0, nominal) if most - least >= _FILLED * nominal else (least, most)


def _limits(dtype: np.dtype[Any], least: float, most: float) -> tuple[float, float]:
    if dtype.kind in "ui":
        info = np.iinfo(dtype)
        ceiling = float(info.max)
        if int(ceiling) > info.max:  # 2**63 and 2**64 would wrap round
            ceiling = float(np.nextafter(ceiling, 0))
        return (0.0 if least >= 0 else float(info.min)), ceiling
    if least >= 0 and most <= 1:
        return 0.0, 1.0
    largest = float(np.finfo(dtype).max)
    return (0.0 if least >= 0 else -largest), largest
