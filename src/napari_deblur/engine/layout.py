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
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_deblur.engine.arrays import as_source, check_dtype, find_channels, image_size
from napari_deblur.engine.survey import extremes, find_saturation, working_range
from napari_deblur.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_deblur.engine.arrays import ArraySource
    from napari_deblur.engine.tiles import Window

__all__ = ["Layout", "Picture", "image_layout", "layout_within", "open_picture"]

_FARTHEST = 1e9  # ranges from black that a value may be away: its square is one of float32 yet


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
    rgb : bool
        Whether the channels are red, green and blue, which mostly show the same.
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
    rgb: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return image_size(self.shape, self.channel_axis)

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
        saturation = find_saturation(array, channel_axis)
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
    dtype = check_dtype(array)
    axis, alpha = find_channels(tuple(array.shape), channel_axis)
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
        # Whoever names the axis of channels may have any, each with a scene of its own.
        rgb=channel_axis is None and axis is not None and array.shape[axis] - alpha == 3,
    )


def _power(values: Any, exponent: float) -> Any:
    """Raise to a power, negative values as if they were positive ones turned down."""
    return values if exponent == 1 else np.copysign(np.abs(values) ** exponent, values)


def _two_numbers(value_range: tuple[float, float]) -> tuple[float, float]:
    try:
        low, high = (float(value) for value in value_range)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"value range {value_range!r} cannot be used: give two numbers, the values of black "
            "and white"
        ) from error
    return low, high


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
