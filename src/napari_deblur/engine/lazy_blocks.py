"""The blocks of an image as tasks of dask, and a stack of them as one array.

A block is one task, which gives what it counts for in each chunk of the result; a chunk is another,
which adds up what the blocks gave.  So blocks fade into each other as they do without dask (see
`napari_deblur.engine.blending`), and no task holds more of the image than it needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from operator import getitem
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch

from napari_deblur.engine.lazy_shared import Known
from napari_deblur.engine.lazy_tasks import Source, node, pair_of, picture_of, read, task
from napari_deblur.engine.pair import load_pair
from napari_deblur.engine.planes import Plane
from napari_deblur.engine.plans import cut_blocks
from napari_deblur.engine.progress import drain
from napari_deblur.engine.restoration import restore_part
from napari_deblur.engine.tiles import overlap, within

if TYPE_CHECKING:
    import dask.array as da
    from dask.delayed import Delayed
    from numpy.typing import NDArray

    from napari_deblur.engine.blending import Block
    from napari_deblur.engine.layout import Layout
    from napari_deblur.engine.stacks import Slice, Stack
    from napari_deblur.engine.tiles import Window

    Place: TypeAlias = tuple[int, ...]

__all__ = ["assemble", "join"]

_HERE = torch.device("cpu")  # of the networks that only their sizes are asked of


def assemble(stack: Stack, of: Slice, source: Source, known: Known, block: int) -> NDArray[Any]:
    """Chunks of a slice as dask arrays with the stack's axes, in an array (rows, columns)."""
    import dask.array as da

    layout = known.layout
    counted = tuple(np.newaxis if isinstance(part, int) else slice(None) for part in of.index)
    turned = source.plane.turned if isinstance(source.plane, Plane) else stack.turned
    rows, columns = (list(_cut(side, block)) for side in layout.size)
    grid = np.empty((len(rows), len(columns)), dtype=object)
    windows = {at: (rows[at[0]], columns[at[1]]) for at in np.ndindex(grid.shape)}
    for at, chunk in _chunks(source, known, windows, block):
        array = da.from_delayed(chunk, _shape(layout, windows[at]), layout.dtype)
        grid[at] = (array if turned is None else da.swapaxes(array, *turned))[counted]
    return grid


def _cut(length: int, side: int) -> Iterator[slice]:
    """An axis in parts of one length, the last of which may be shorter."""
    return (slice(start, min(start + side, length)) for start in range(0, length, side))


def _chunks(
    source: Source, known: Known, windows: Mapping[Place, Window], side: int
) -> Iterator[tuple[Place, Delayed]]:
    """The task for each chunk of the result, by its place on a grid of windows."""
    told = node(known)
    index = known.layout.index
    if not known.informative:
        yield from ((at, task(read, source.cut(index(each)))) for at, each in windows.items())
        return
    given: dict[Place, list[Any]] = {at: [] for at in windows}
    pair = load_pair(known.options.model, _HERE)
    for block in cut_blocks(pair, known.layout.size, known.kernel, side):
        rows, columns = (range(part.start // side, -(-part.stop // side)) for part in block.counts)
        places: list[Place] = list(product(rows, columns))
        parts = [overlap(block.counts, windows[at]) for at in places]
        values = task(_deblur, source.cut(index(block.source)), told, block, parts)
        for number, (at, part) in enumerate(zip(places, parts, strict=True)):
            given[at].append([within(part, windows[at]), task(getitem, values, number)])
    for at, window in windows.items():
        original = source.cut(index(window)) if known.layout.alpha else None
        yield at, task(_add, given[at], told, window, original)


def _deblur(
    window: Sequence[Any], known: Known, block: Block, parts: Sequence[Window]
) -> list[NDArray[np.float32]]:
    """Working values of a block in some parts of the image, times its weights."""
    picture, tile = picture_of(read(window), known.layout), known.options.tile
    pair = pair_of(known.options)
    steps = restore_part(pair, picture, block.counted, known.kernel, known.noise, tile)
    values = drain(steps) * block.weights()
    # Copies, because a part must not keep all of the block alive.
    return [values[:, *within(part, block.counts)].copy() for part in parts]


def _add(
    given: Sequence[tuple[Window, NDArray[np.float32]]],
    known: Known,
    window: Window,
    original: Sequence[Any] | None,
) -> NDArray[Any]:
    """One chunk of the result, of what blocks give to it; alpha comes from the original."""
    height, width = (part.stop - part.start for part in window)
    summed = np.zeros((known.layout.channels, height, width), np.float32)
    for place, values in given:
        summed[:, *place] += values
    chunk = np.empty(_shape(known.layout, window), known.layout.dtype)
    layout = replace(known.layout, shape=chunk.shape)
    whole = (slice(0, height), slice(0, width))
    layout.write(chunk, whole, summed, chunk if original is None else read(original))
    return chunk


def _shape(layout: Layout, window: Window) -> tuple[int, ...]:
    """Shape of a window of an image with its channels."""
    shape = [part.stop - part.start for part in window]
    if layout.channel_axis is not None:
        shape.insert(layout.channel_axis, layout.shape[layout.channel_axis])
    return tuple(shape)


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
