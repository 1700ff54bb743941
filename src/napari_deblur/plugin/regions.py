"""Which part of the image a kernel is estimated from, or a preview is computed of.

A `Region` is a window of rows and columns of a plane, and perhaps a mask inside it.  It comes from
what is drawn in the viewer: the field of view, a Shapes layer, a Labels layer.

Neither Qt nor torch here.
"""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer, Shapes
from numpy.typing import NDArray
from skimage.draw import polygon2mask

from napari_deblur.engine.arrays import SMALLEST_SIDE
from napari_deblur.errors import InputError
from napari_deblur.plugin.slices import LayerView

_BAND = 2**20  # pixels that are looked at together

__all__ = ["Region", "check_marks", "region_of", "visible_region", "whole_region"]


@dataclass(frozen=True, eq=False)
class Region:
    """A part of a plane.

    Attributes
    ----------
    rows, columns : slice
        The window, inside the plane.
    mask : ndarray of bool, shape of the window, optional
        Pixels of the window that count; None for all.
    """

    rows: slice
    columns: slice
    mask: NDArray[np.bool_] | None = None

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns, ready for indexing."""
        return self.rows, self.columns

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the window in pixels."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def as_dict(self) -> dict[str, Any]:
        """Return plain values fit for JSON; the mask packed into a text."""
        packed = None
        if self.mask is not None:
            packed = b64encode(zlib.compress(np.packbits(self.mask).tobytes())).decode("ascii")
        rows, columns = ([part.start, part.stop] for part in self.window)
        return {"rows": rows, "columns": columns, "mask": packed}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Region:
        """Make a region of what `as_dict` gave."""
        region = cls(slice(*plain["rows"]), slice(*plain["columns"]))
        if plain.get("mask") is None:
            return region
        packed = np.frombuffer(zlib.decompress(b64decode(plain["mask"])), np.uint8)
        bits = np.unpackbits(packed, count=region.size[0] * region.size[1])
        return replace(region, mask=bits.reshape(region.size).astype(bool))

    def within(self, size: tuple[int, int]) -> tuple[slice, slice] | NDArray[np.bool_]:
        """Return what the engine takes as a region of a plane of this height and width."""
        if self.mask is None:
            return self.window
        mask = np.zeros(size, dtype=bool)
        mask[self.window] = self.mask
        return mask


def whole_region(view: LayerView) -> Region:
    """Return the whole plane."""
    height, width = view.size
    return Region(slice(0, height), slice(0, width))


def visible_region(layer: Image, view: LayerView) -> Region:
    """Return what the canvas shows of the layer now.

    Without a canvas, in a viewer model, that is the whole plane.

    Raises
    ------
    InputError
        When less than 16 x 16 pixels are seen.
    """
    corners = np.asarray(layer.corner_pixels, dtype=float)
    shown = layer.downsample_factors[layer.data_level] if layer.multiscale else np.ones(view.ndim)
    axes = list(view.spatial)
    scale = (np.asarray(shown, dtype=float) / view.factors)[axes]
    low = corners[0, axes] * scale
    high = (corners[1, axes] + 1) * scale
    if np.any(corners[1, axes] <= corners[0, axes]):
        return whole_region(view)
    return _region(view, low, high, f"the current view of {layer.name!r}")


def check_marks(marks: Layer, layer: Image, view: LayerView) -> None:
    """Check in no time what can be checked so of a layer that is to mark a region.

    Of shapes that is the box around them; labels are not looked at.

    Raises
    ------
    InputError
        When it is no layer of shapes or labels, or its shapes mark too little of the image.
    """
    where = _place(marks, layer)
    if isinstance(marks, Labels):
        return
    if not isinstance(marks, Shapes):
        raise InputError(
            f"{marks.name!r} is no layer that marks a region: choose a Shapes or a Labels layer"
        )
    corners = [corner for each in _outlines(marks, layer, view) for corner in each]
    if not corners:
        raise _nothing(where)
    low = np.maximum(np.ceil(np.min(corners, axis=0)), 0)
    high = np.minimum(np.floor(np.max(corners, axis=0)) + 1, view.size)
    if np.any(low >= high):
        raise _nothing(where)
    _region(view, low, high, where)


def region_of(marks: Layer, layer: Image, view: LayerView) -> Region:
    """Return the region that a Shapes or Labels layer marks on an image layer.

    One rectangle that is not turned gives a plain window; other shapes and labels give a window
    with a mask.  All shapes and all labels other than 0 count, or the selected shapes only where
    some are selected.

    Raises
    ------
    InputError
        When nothing is marked on the image, or less than 16 x 16 pixels.
    """
    check_marks(marks, layer, view)
    where = _place(marks, layer)
    mask = np.zeros(view.size, dtype=bool)
    fill = _fill_shapes if isinstance(marks, Shapes) else _fill_labels
    fill(mask, marks, layer, view)
    if not mask.any():
        raise _nothing(where)
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    low, high = (rows[0], columns[0]), (rows[-1] + 1, columns[-1] + 1)
    region = _region(view, low, high, where)
    inside = mask[region.window]
    return region if inside.all() else Region(region.rows, region.columns, inside)


def _region(view: LayerView, low: Iterable[float], high: Iterable[float], where: str) -> Region:
    slices = [
        slice(int(np.clip(np.floor(a), 0, side)), int(np.clip(np.ceil(b), 0, side)))
        for a, b, side in zip(low, high, view.size, strict=True)
    ]
    region = Region(slices[0], slices[1])
    if min(region.size) < SMALLEST_SIDE:
        height, width = (max(0, side) for side in region.size)
        raise InputError(
            f"{where} has {height} x {width} pixels: at least {SMALLEST_SIDE} x {SMALLEST_SIDE} "
            "are needed; zoom out or draw a larger region"
        )
    return region


def _place(marks: Layer, layer: Image) -> str:
    return f"what {marks.name!r} marks on {layer.name!r}"


def _nothing(where: str) -> InputError:
    return InputError(f"{where} is empty: draw a rectangle or paint a label upon the image")


def _bands(mask: NDArray[np.bool_]) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Some rows of a mask after the other, each with the number of its first row.

    Positions of all of its pixels at a time would take many times the memory of a large image.
    """
    height, width = mask.shape
    step = max(1, _BAND // max(width, 1))
    for top in range(0, height, step):
        yield top, mask[top : top + step]


def _fill_shapes(mask: NDArray[np.bool_], shapes: Layer, layer: Image, view: LayerView) -> None:
    """Mark the pixels whose centres lie inside of shapes."""
    outlines = list(_outlines(shapes, layer, view))
    for top, band in _bands(mask):
        for each in outlines:
            inside = polygon2mask(band.shape, each - (top, 0))  # type: ignore[no-untyped-call]
            np.logical_or(band, inside, out=band)


def _outlines(shapes: Shapes, layer: Image, view: LayerView) -> Iterator[NDArray[np.float64]]:
    """Vertices in rows and columns of the selected shapes, or of all where none is selected."""
    selected = [number for number in sorted(shapes.selected_data) if number < shapes.nshapes]
    for number in selected or range(shapes.nshapes):
        vertices = _outline(np.asarray(shapes.data[number]), str(shapes.shape_type[number]))
        yield _to_pixels(vertices, shapes, layer, view)


def _outline(vertices: NDArray[Any], kind: str) -> NDArray[Any]:
    """Vertices of a closed outline, for ellipses of which napari gives the box around them."""
    if kind != "ellipse":
        return vertices
    centre = vertices.mean(axis=0)
    u, v = (vertices[1] - vertices[0]) / 2, (vertices[3] - vertices[0]) / 2
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)[:, np.newaxis]
    outline: NDArray[Any] = centre + np.cos(angle) * u + np.sin(angle) * v
    return outline


def _fill_labels(mask: NDArray[np.bool_], labels: Layer, layer: Image, view: LayerView) -> None:
    """Look up every pixel of the image's plane in the labels, nearest neighbour."""
    data = np.asarray(labels.data[0] if labels.multiscale else labels.data) != 0
    if data.ndim > 2:  # a stack of labels counts as one mask: what is marked anywhere
        data = data.reshape(-1, *data.shape[-2:]).any(axis=0)
    for top, band in _bands(mask):
        rows, columns = np.indices(band.shape, dtype=float)
        points = np.zeros((band.size, view.ndim))
        for axis, values in zip(view.spatial, (rows + top, columns), strict=True):
            points[:, axis] = values.ravel() * view.factors[axis]
        world = _fit(_world(layer, points), labels.ndim)
        found = np.rint(_data(labels, world)[:, -2:]).astype(int)
        inside = np.all((found >= 0) & (found < data.shape), axis=1)
        band.ravel()[inside] = data[tuple(found[inside].T)]


def _to_pixels(
    points: NDArray[Any], marks: Layer, layer: Image, view: LayerView
) -> NDArray[np.float64]:
    """Rows and columns in the image's plane of points in another layer."""
    found = _data(layer, _fit(_world(marks, points), view.ndim)) / view.factors
    return found[:, list(view.spatial)]


def _fit(world: NDArray[np.float64], ndim: int) -> NDArray[np.float64]:
    """Drop leading axes, or put zeros before them, as napari does between layers."""
    if world.shape[1] >= ndim:
        return world[:, world.shape[1] - ndim :]
    return np.pad(world, [(0, 0), (ndim - world.shape[1], 0)])


def _world(layer: Layer, points: NDArray[Any]) -> NDArray[np.float64]:
    return _affine_map(layer.data_to_world, points)


def _data(layer: Layer, points: NDArray[Any]) -> NDArray[np.float64]:
    return _affine_map(layer.world_to_data, points)


def _affine_map(function: Any, points: NDArray[Any]) -> NDArray[np.float64]:
    """Apply a layer's point-wise map, which is affine, to many points at once."""
    ndim = points.shape[1]
    origin = np.asarray(function(np.zeros(ndim)), dtype=float)
    columns = [np.asarray(function(unit), dtype=float) - origin for unit in np.eye(ndim)]
    return np.asarray(points @ np.array(columns) + origin, dtype=np.float64)
