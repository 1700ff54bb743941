"""The blocks of an image as tasks of dask, and a stack of them as one array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_deblur.engine.lazy_shared import Known
from napari_deblur.engine.lazy_tasks import Source, node, pair_of, picture_of, read, task
from napari_deblur.engine.pair import load_pair
from napari_deblur.engine.planes import Plane
from napari_deblur.engine.restoration import restore
from napari_deblur.engine.run import drain
from napari_deblur.engine.synthesis import block_halo
from napari_deblur.engine.tiles import Tile, plan_grid

if TYPE_CHECKING:
    import dask.array as da
    from numpy.typing import NDArray

    from napari_deblur.engine.stacks import Slice, Stack

__all__ = ["assemble", "join"]

_HERE = torch.device("cpu")  # of the networks that only their sizes are asked of


def assemble(stack: Stack, of: Slice, source: Source, known: Known, block: int) -> NDArray[Any]:
    """Blocks of a slice as dask arrays with the stack's axes, in an array (rows, columns)."""
    import dask.array as da

    layout, pair = known.layout, load_pair(known.options.model, _HERE)
    halo = block_halo(pair, known.kernel) if known.informative else 0
    tiles = plan_grid(layout.size, block, halo, align=pair.synthesis.unet.stride)
    told = node(known)
    counted = tuple(np.newaxis if isinstance(part, int) else slice(None) for part in of.index)
    turned = source.plane.turned if isinstance(source.plane, Plane) else stack.turned
    grid = np.empty((len(tiles), len(tiles[0])), dtype=object)
    for position in np.ndindex(grid.shape):
        tile = tiles[position[0]][position[1]]
        window = source.cut(layout.index(tile.source))
        piece = task(_deblur, window, told, tile)
        shape = [part.stop - part.start for part in tile.owned]
        if layout.channel_axis is not None:
            shape.insert(layout.channel_axis, layout.shape[layout.channel_axis])
        chunk = da.from_delayed(piece, tuple(shape), layout.dtype)
        grid[position] = (chunk if turned is None else da.swapaxes(chunk, *turned))[counted]
    return grid


def _deblur(window: Sequence[Any], known: Known, tile: Tile) -> NDArray[Any]:
    piece = read(window)
    inner = known.layout.index(tile.inner)
    if not known.informative:
        return piece[inner]
    picture, options = picture_of(piece, known.layout), known.options
    steps = restore(pair_of(options), picture, known.kernel, known.noise, options)
    image: NDArray[Any] = drain(steps).image[inner]
    return image


def join(stack: Stack, grids: Sequence[NDArray[Any]]) -> da.Array:
    """The whole stack of the blocks of its slices."""
    import dask.array as da

    axes = stack.axes or "YXS"[: len(stack.array.shape)]
    rows, columns = stack.rows_and_columns
    counts = [1] * len(axes)
    for number, part in enumerate(stack.slices[0].index):
        if isinstance(part, int):
            counts[number] = int(stack.array.shape[number])
    counts[rows], counts[columns] = grids[0].shape
    nested = np.empty(counts, dtype=object)
    for of, grid in zip(stack.slices, grids, strict=True):
        for row, column in np.ndindex(grid.shape):
            place = [part if isinstance(part, int) else 0 for part in of.index]
            place[rows], place[columns] = row, column
            nested[tuple(place)] = grid[row, column]
    image: da.Array = da.block(nested.tolist())
    return image
