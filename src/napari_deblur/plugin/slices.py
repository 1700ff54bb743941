"""Which axes of a layer hold the image, and its planes one after the other.

The engine takes one image at a time: two spatial axes and perhaps one of channels.  A layer may
have any number of further axes, may be lazy (dask, Zarr, memory map) and may have several levels
of resolution.  A `LayerView` says how the one is cut into the other; planes are read one by one
when they are asked for, never the whole array.

The rules, in this order:

- Level of a multiscale layer: the finest one, unless another is asked for.
- Channels: the last axis of an RGB or RGBA layer; else the axis labelled "c", "ch" or "channel";
  else none.  All channels of a plane went through the same shake and share one kernel.
- Spatial axes: those labelled "y" and "x"; else the last two that are longer than one pixel.
- All others are a stack, time or depth alike, of planes that are treated each on its own.

Neither Qt nor torch here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray

from napari_deblur.errors import InputError

__all__ = ["Index", "LayerView", "level_names", "view_layer"]

Index = tuple[int, ...]
"""Position of a plane along the stack's axes, in the order of the layer's axes."""

_LETTERS = "TZQIRAFGHJKLMNOPUVW"
"""What axes of a stack may be called in files: nothing that means rows, columns or channels."""

_CHANNEL_LABELS = frozenset({"c", "ch", "channel", "channels"})


@dataclass(frozen=True, eq=False)
class LayerView:
    """A layer's data as a stack of planes.

    Attributes
    ----------
    data : array
        The chosen level: anything with `shape`, `dtype` and slicing.
    ndim : int
        Number of the layer's axes, an RGB axis not counted.
    spatial : tuple of int
        Axes of rows and of columns in `data`.
    channel_axis : int or None
        Axis of the channels in `data`.
    rgb : bool
        Whether the channels are the last axis of an RGB or RGBA layer, which is none of the
        layer's own axes.
    level : int
        Which level of a multiscale layer `data` is; 0 is the finest.
    factors : tuple of float
        Pixels of the finest level that one pixel of `data` covers, per axis of the layer.
    labels : tuple of str
        The layer's names of its axes, in lower case.
    """

    data: Any
    ndim: int
    spatial: tuple[int, int]
    channel_axis: int | None
    rgb: bool
    level: int
    factors: tuple[float, ...]
    labels: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return tuple(int(side) for side in self.data.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        dtype: np.dtype[Any] = np.dtype(self.data.dtype)
        return dtype

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a plane in pixels."""
        rows, columns = self.spatial
        return self.shape[rows], self.shape[columns]

    @property
    def stack_axes(self) -> tuple[int, ...]:
        """Axes that are neither spatial nor channels."""
        held = {*self.spatial, self.channel_axis}
        return tuple(axis for axis in range(len(self.shape)) if axis not in held)

    @property
    def stack_shape(self) -> tuple[int, ...]:
        """Lengths of the stack's axes; empty for a single plane."""
        return tuple(self.shape[axis] for axis in self.stack_axes)

    @property
    def count(self) -> int:
        """Number of planes."""
        return int(np.prod(self.stack_shape, dtype=int))

    @property
    def trailing(self) -> bool:
        """Whether rows and columns are the layer's last two axes, in this order."""
        return self.spatial == (self.ndim - 2, self.ndim - 1)

    @property
    def plane_channel_axis(self) -> int | None:
        """Axis of the channels in what `plane` gives."""
        if self.channel_axis is None:
            return None
        return sum(axis < self.channel_axis for axis in self.spatial)

    @property
    def engine_channel_axis(self) -> int | None:
        """What the engine is told of the channels; RGB and RGBA it knows by itself."""
        return None if self.rgb else self.plane_channel_axis

    @property
    def letters(self) -> str:
        """One letter per axis of `data`, as image files name them.

        Y and X; S for the samples of RGB and RGBA; C for other channels; the label of any other
        axis where that is a letter, else the next one that is free.
        """
        known = dict(zip(self.spatial, "YX", strict=True))
        if self.channel_axis is not None:
            known[self.channel_axis] = "S" if self.rgb else "C"
        for axis in self.stack_axes:
            label = self.labels[axis].upper() if axis < len(self.labels) else ""
            if len(label) == 1 and label in _LETTERS and label not in known.values():
                known[axis] = label
        for axis in self.stack_axes:
            if axis not in known:
                known[axis] = next(each for each in _LETTERS if each not in known.values())
        return "".join(known[axis] for axis in range(len(self.shape)))

    def label_of(self, index: Index) -> str:
        """Name of a plane on the command line: T3_Z0; empty for the only one."""
        letters = self.letters
        return "_".join(
            f"{letters[axis]}{position}"
            for axis, position in zip(self.stack_axes, index, strict=True)
        )

    @contextmanager
    def naming(self, index: Index) -> Iterator[None]:
        """Let what is said of a bad plane in a block say which one of a stack it is."""
        try:
            yield
        except InputError as error:
            if self.count == 1:
                raise
            raise InputError(f"plane {self.label_of(index)}: {error}") from error

    def indices(self, first: Index | None = None) -> Iterator[Index]:
        """Positions of all planes, from `first` to the end and then round from the start."""
        everything = list(np.ndindex(self.stack_shape))
        start = everything.index(first) if first in everything else 0
        yield from everything[start:] + everything[:start]

    def key(self, index: Index, window: tuple[slice, slice] | None = None) -> tuple[Any, ...]:
        """Index into `data` that picks one plane, or a window of rows and columns of it."""
        key: list[Any] = [slice(None)] * len(self.shape)
        for axis, position in zip(self.stack_axes, index, strict=True):
            key[axis] = position
        if window is not None:
            for axis, part in zip(self.spatial, window, strict=True):
                key[axis] = part
        return tuple(key)

    def plane(self, index: Index, window: tuple[slice, slice] | None = None) -> NDArray[Any]:
        """Read one plane: (Y, X) with the channels where `plane_channel_axis` says.

        Rows come before columns, whatever their order in the layer.
        """
        return self._turned(np.asarray(self.data[self.key(index, window)]))

    def part(self, out: NDArray[Any], index: Index) -> NDArray[Any]:
        """Return a plane of an array that has the axes of `data`, to be written to."""
        return self._turned(out[self.key(index)])

    def index_at(self, position: tuple[float, ...]) -> Index:
        """Return the plane at a position in the layer's own pixels (of the finest level)."""
        return tuple(
            int(np.clip(round(position[axis] / self.factors[axis]), 0, self.shape[axis] - 1))
            for axis in self.stack_axes
        )

    def _turned(self, plane: NDArray[Any]) -> NDArray[Any]:
        """Exchange rows and columns where the layer holds columns first."""
        rows, columns = self.spatial
        if rows < columns:
            return plane
        low, high = (
            sum(a < axis for a in (*self.spatial, *self._channels)) for axis in (columns, rows)
        )
        return np.swapaxes(plane, low, high)

    @property
    def _channels(self) -> tuple[int, ...]:
        return () if self.channel_axis is None else (self.channel_axis,)


def view_layer(layer: Image, *, level: int = 0, channel_axis: int | None = None) -> LayerView:
    """Say how a layer is cut into planes.

    Parameters
    ----------
    layer : Image
        Any image layer.
    level : int
        Level of a multiscale layer; 0 is the finest.
    channel_axis : int, optional
        Axis of the layer that holds channels of one exposure, where no label says so.

    Raises
    ------
    InputError
        When there are no two axes longer than one pixel, the level does not exist, or the channel
        axis is not one that is left.
    """
    data, factors = _pick_level(layer, level)
    ndim = int(layer.ndim)
    labels = [str(label).lower() for label in layer.axis_labels]
    shape = tuple(int(side) for side in data.shape)
    channels = _find_channels(layer, labels, channel_axis)
    return LayerView(
        data=data,
        ndim=ndim,
        spatial=_find_spatial(layer.name, labels, shape[:ndim], channels),
        channel_axis=channels,
        rgb=bool(layer.rgb),
        level=level,
        factors=factors,
        labels=tuple(labels),
    )


def level_names(layer: Image) -> list[str]:
    """Names of a multiscale layer's levels, the finest first; empty for an ordinary layer."""
    if not layer.multiscale:
        return []
    shapes = [level.shape[: layer.ndim] for level in layer.data]
    names = [" x ".join(map(str, shape)) for shape in shapes]
    names[0] += " (finest)"
    names[layer.data_level] += " (shown)"
    return names


def _pick_level(layer: Image, level: int) -> tuple[Any, tuple[float, ...]]:
    levels = list(layer.data) if layer.multiscale else [layer.data]
    if not 0 <= level < len(levels):
        raise InputError(
            f"level {level} of {layer.name!r} does not exist: it has {len(levels)}, counted from 0 "
            "for the finest; choose one of these"
        )
    finest, data = levels[0].shape[: layer.ndim], levels[level]
    return data, tuple(a / b for a, b in zip(finest, data.shape[: layer.ndim], strict=True))


def _find_channels(layer: Image, labels: list[str], channel_axis: int | None) -> int | None:
    if layer.rgb:
        if channel_axis is not None:
            raise InputError(
                f"{layer.name!r} is an RGB layer, whose channels are its last axis: leave channel "
                f"axis {channel_axis} out"
            )
        return int(layer.ndim)
    if channel_axis is None:
        found = [axis for axis, label in enumerate(labels) if label in _CHANNEL_LABELS]
        return found[0] if found and layer.ndim > 2 else None
    if layer.ndim < 3 or not -layer.ndim <= channel_axis < layer.ndim:
        raise InputError(
            f"channel axis {channel_axis} does not go with {layer.name!r}, which has {layer.ndim} "
            "axes: two of them must be left for rows and columns; choose another or none"
        )
    return int(channel_axis % layer.ndim)


def _find_spatial(
    name: str, labels: list[str], shape: tuple[int, ...], channels: int | None
) -> tuple[int, int]:
    if labels.count("y") == labels.count("x") == 1:
        rows, columns = labels.index("y"), labels.index("x")
        if channels not in (rows, columns):
            return rows, columns
    free = [axis for axis in range(len(shape)) if axis != channels]
    long = [axis for axis in free if shape[axis] > 1]
    chosen = long if len(long) >= 2 else free
    if len(chosen) < 2:
        text = " x ".join(map(str, shape))
        raise InputError(
            f"{name!r} ({text}) has no two axes for rows and columns: choose another layer"
        )
    return chosen[-2], chosen[-1]
