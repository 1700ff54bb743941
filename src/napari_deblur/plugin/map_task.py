"""A map of kernels over the field, as a task and as a function for scripts.

Neither Qt nor, before the work begins, torch here.
"""

from __future__ import annotations

import time
from dataclasses import KW_ONLY, dataclass
from itertools import product

import numpy as np
from napari.layers import Image
from napari.types import LayerDataTuple
from numpy.typing import NDArray

from napari_deblur.blur.field import FieldGrid
from napari_deblur.blur.kernel import kernel_support
from napari_deblur.plugin.metadata import KEY, MAP_FLOOR, mosaic_attributes, spread
from napari_deblur.plugin.provenance import Record, describe
from napari_deblur.plugin.requests import EngineRequest, layer_function
from napari_deblur.plugin.slices import LayerView
from napari_deblur.plugin.tasks import Task, follow

__all__ = [
    "MapRequest",
    "check_grid",
    "map_kernels_of_layer",
    "map_layer",
    "map_name",
    "map_task",
    "mosaic",
]

_SHARE_OF_CELL = 0.6  # of a cell's side that its kernel is drawn over
_VISIBLE = 0.03  # of a kernel's peak, above which its values are drawn in any case


@dataclass(frozen=True, eq=False)
class MapRequest(EngineRequest):
    """Parameters of `map_kernels_of_layer`."""

    _: KW_ONLY
    grid: tuple[int, int] = (3, 3)


def map_name(layer: Image) -> str:
    """Name of the layer that shows a layer's kernels over the field."""
    return f"kernel map of {layer.name}"


@layer_function(MapRequest)
def map_kernels_of_layer(request: MapRequest) -> Task:
    """Estimate kernels on a grid of overlapping patches of one plane and show them as a mosaic.

    Parameters
    ----------
    layer : Image
        Any image layer.
    grid : tuple of int
        Rows and columns of cells.
    model, device, tile, kernel_size, refine, gamma, saturation, level, channel_axis, index
        See `napari_deblur.plugin.requests`.

    Returns
    -------
    list of layer data tuples
        The mosaic, 0 to 1: each kernel scaled to a peak of 1, in the middle of its part of the
        image.  The kernels themselves, (rows, columns, m, m), are in its metadata.

    Raises
    ------
    DeblurError
        When the layer, the model or a parameter cannot be used.
    """
    return map_task(request)


def map_task(request: MapRequest) -> Task:
    """Prepare the work: the layer and the grid are checked now, pixels are read later."""
    view = request.view()
    check_grid(view, request.grid)
    return _map(request, view)


def check_grid(view: LayerView, grid: tuple[int, int]) -> None:
    """Check that a grid fits the planes of an image.

    Raises
    ------
    InputError
        When its cells are smaller than 16 x 16 pixels.
    """
    FieldGrid(view.size, grid)


def mosaic(
    kernels: NDArray[np.float32], size: tuple[int, int]
) -> tuple[NDArray[np.float32], float]:
    """Draw kernels in the middle of the cells of a grid over the image, all magnified alike.

    What all of them leave empty around themselves is cut off, so that they are drawn large.

    Parameters
    ----------
    kernels : ndarray of shape (rows, columns, m, m)
        The kernels.
    size : tuple of int
        Height and width of the image in pixels.

    Returns
    -------
    mosaic : ndarray, float32, 0 to 1
        Each kernel in a square of its own, from `MAP_FLOOR` to a peak of 1; 0 around them.
    pixel : float
        Side of one of its pixels in pixels of the image.
    """
    rows, columns, whole, _ = kernels.shape
    supports = [kernel_support(each, _VISIBLE) for each in kernels.reshape(-1, whole, whole)]
    side = min(whole, max(supports) + 2)
    margin = (whole - side) // 2
    pixel = min(size[0] / rows, size[1] / columns) * _SHARE_OF_CELL / side
    shape = [max(side, round(length / pixel)) for length in size]
    drawn = np.zeros(shape, dtype=np.float32)
    for row, column in product(range(rows), range(columns)):
        kernel = kernels[row, column, margin : margin + side, margin : margin + side]
        top = round((row + 0.5) * shape[0] / rows - side / 2)
        left = round((column + 0.5) * shape[1] / columns - side / 2)
        top, left = max(0, min(top, shape[0] - side)), max(0, min(left, shape[1] - side))
        square = MAP_FLOOR + (1 - MAP_FLOOR) * kernel / kernel.max()
        drawn[top : top + side, left : left + side] = square
    return drawn, pixel


def _map(request: MapRequest, view: LayerView) -> Task:
    from napari_deblur.engine.run import kernel_grid_steps

    began = time.perf_counter()
    index = next(view.indices(request.index))
    result = yield from follow(
        kernel_grid_steps(view.plane(index), grid=request.grid, **request.for_engine(view)),
        stages=("load", "kernel", "refine"),
        rounds=2,
    )
    kernels = result.field.kernels
    record = Record.of(
        request,
        describe(request.layer, view, index),
        result,
        kind="kernel map",
        function="map_kernels_of_layer",
        seconds=time.perf_counter() - began,
        found={"varies": result.varies, "trusted": result.trusted.tolist()},
    )
    return [map_layer(request.layer, view, kernels, record)]


def map_layer(
    layer: Image, view: LayerView, kernels: NDArray[np.float32], record: Record
) -> LayerDataTuple:
    """Layer data tuple of a mosaic of kernels (rows, columns, m, m), which go into its metadata."""
    drawn, pixel = mosaic(kernels, view.size)
    attributes = mosaic_attributes(layer, view, name=map_name(layer), pixel=pixel)
    attributes["metadata"] = {KEY: record.as_dict() | {"kernels": kernels}}
    return spread(view, drawn), attributes, "image"
