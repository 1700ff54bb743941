"""A map of kernels over the field, as a task and as a function for scripts.

Neither Qt nor, before the work begins, torch here.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from napari.layers import Image
from napari.types import LayerDataTuple
from numpy.typing import NDArray

from napari_deblur.defaults import DEFAULT_ROUNDS
from napari_deblur.engine.layout import SMALLEST_SIDE
from napari_deblur.errors import InputError
from napari_deblur.plugin.metadata import KEY, mosaic_attributes, spread
from napari_deblur.plugin.provenance import Record, describe
from napari_deblur.plugin.slices import Index, LayerView, view_layer
from napari_deblur.plugin.tasks import Task, finish, follow, where

__all__ = ["MapRequest", "map_kernels_of_layer", "map_name", "map_task", "mosaic", "patches"]

_OVERLAP = 0.5  # of a patch's side that it shares with its neighbour, where there is one


@dataclass(frozen=True, eq=False)
class MapRequest:
    """Arguments of `map_kernels_of_layer`."""

    layer: Image
    grid: tuple[int, int] = (3, 3)
    model: str = "default"
    device: str = "auto"
    tile: int | None = None
    refine: int = DEFAULT_ROUNDS
    level: int = 0
    channel_axis: int | None = None
    index: Index | None = None

    def parameters(self) -> dict[str, Any]:
        """Return what a script would pass."""
        names = ("grid", "model", "device", "tile", "refine", "level", "channel_axis", "index")
        return {name: getattr(self, name) for name in names}


def map_name(layer: Image) -> str:
    """Name of the layer that shows a layer's kernels over the field."""
    return f"kernel map of {layer.name}"


def map_kernels_of_layer(
    layer: Image,
    *,
    grid: tuple[int, int] = (3, 3),
    model: str = "default",
    device: str = "auto",
    tile: int | None = None,
    refine: int = DEFAULT_ROUNDS,
    level: int = 0,
    channel_axis: int | None = None,
    index: Index | None = None,
) -> list[LayerDataTuple]:
    """Estimate kernels on a grid of overlapping patches of one plane and show them as a mosaic.

    Parameters
    ----------
    layer : Image
        Any image layer.
    grid : tuple of int
        Rows and columns of patches.
    model : str
        Name of a model, or a folder that holds one.
    device : str
        "auto", "cpu", "cuda", "cuda:0" or "mps".
    tile : int, optional
        Side of a tile in pixels; None to let the engine choose.
    refine : int
        Rounds in which an estimated kernel is improved on the image itself; 0 for none.
    level : int
        Level of a multiscale layer; 0 is the finest.
    channel_axis : int, optional
        Axis of the layer that holds channels of one exposure, where no label says so.
    index : tuple of int, optional
        The plane, one number per stack axis; the first one by default.

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
    request = MapRequest(layer, grid, model, device, tile, refine, level, channel_axis, index)
    return finish(map_task(request))


def map_task(request: MapRequest) -> Task:
    """Prepare the work: the layer and the grid are checked now, pixels are read later."""
    view = view_layer(request.layer, level=request.level, channel_axis=request.channel_axis)
    return _map(request, view, patches(view.size, request.grid))


def patches(size: tuple[int, int], grid: tuple[int, int]) -> list[list[tuple[slice, slice]]]:
    """Overlapping patches, row by row: each cell of the grid and half a cell around it.

    Raises
    ------
    InputError
        When the patches are smaller than 16 x 16 pixels.
    """
    lines = []
    for side, count in zip(size, grid, strict=True):
        if count < 1 or side // max(count, 1) < SMALLEST_SIDE:
            raise InputError(
                f"a grid of {grid[0]} x {grid[1]} does not fit {size[0]} x {size[1]} pixels: each "
                f"patch needs at least {SMALLEST_SIDE} pixels; give fewer rows or columns"
            )
        cell = side / count
        reach = cell * _OVERLAP / 2 / (1 - _OVERLAP)
        lines.append(
            [
                slice(max(0, round(n * cell - reach)), min(side, round((n + 1) * cell + reach)))
                for n in range(count)
            ]
        )
    return [[(rows, columns) for columns in lines[1]] for rows in lines[0]]


def mosaic(
    kernels: NDArray[np.float32], size: tuple[int, int]
) -> tuple[NDArray[np.float32], float]:
    """Draw kernels in the middle of the cells of a grid over the image.

    Parameters
    ----------
    kernels : ndarray of shape (rows, columns, m, m)
        The kernels.
    size : tuple of int
        Height and width of the image in pixels.

    Returns
    -------
    mosaic : ndarray, float32, 0 to 1
        Each kernel scaled to a peak of 1.
    pixel : float
        Side of one of its pixels in pixels of the image, such that a kernel fills its cell.
    """
    rows, columns, side, _ = kernels.shape
    pixel = min(size[0] / rows, size[1] / columns) / (side + 2)
    shape = [max(side, round(length / pixel)) for length in size]
    drawn = np.zeros(shape, dtype=np.float32)
    for row, column in product(range(rows), range(columns)):
        kernel = kernels[row, column]
        top = round((row + 0.5) * shape[0] / rows - side / 2)
        left = round((column + 0.5) * shape[1] / columns - side / 2)
        top, left = max(0, min(top, shape[0] - side)), max(0, min(left, shape[1] - side))
        drawn[top : top + side, left : left + side] = kernel / kernel.max()
    return drawn, pixel


def _map(request: MapRequest, view: LayerView, cells: list[list[tuple[slice, slice]]]) -> Task:
    from napari_deblur.engine.run import kernel_steps

    began = time.perf_counter()
    plane = view.plane(next(view.indices(request.index)))
    windows = [window for line in cells for window in line]
    found = []
    for number, window in enumerate(windows):
        steps = kernel_steps(
            plane,
            model=request.model,
            channel_axis=view.engine_channel_axis,
            device=request.device,
            tile=request.tile,
            refine=request.refine,
            region=window,
        )
        result = yield from follow(
            steps,
            stages=("load", "kernel", "refine"),
            start=number / len(windows),
            share=1 / len(windows),
            where=where(number, len(windows), "patch"),
        )
        found.append(result.kernel)
    kernels = np.stack(found).reshape(len(cells), len(cells[0]), *found[0].shape)
    drawn, pixel = mosaic(kernels, view.size)
    about = Record(
        kind="kernel map",
        source=describe(request.layer, view),
        parameters=request.parameters(),
        model=result.model,
        sha256=dict(result.settings["weights"]),
        device=str(result.device),
        seconds=time.perf_counter() - began,
    ).as_dict()
    attributes = mosaic_attributes(request.layer, view, name=map_name(request.layer), pixel=pixel)
    attributes["metadata"] = {KEY: about | {"kernels": kernels}}
    return [(spread(view, drawn), attributes, "image")]
