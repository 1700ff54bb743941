"""Geometry of tiles: which window a tile is computed from, and which part of it counts.

Tiles *own* their pixels instead of being blended: every pixel of the image belongs to exactly one
tile, and each tile is computed from a window that reaches a halo further.  With a halo as wide as
the networks' receptive field, the pixels a tile owns are those that the whole image would have
given, so there is nothing to blend.  Blocks of a deconvolution, which has no finite reach, fade
into each other instead (see `napari_deblur.engine.blending`).

No torch here, and no pixels: only integers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import TypeVar

import numpy as np

from napari_deblur.errors import InputError

__all__ = ["Tile", "Window", "overlap", "plan_part", "plan_tiles", "spread", "within"]

Window = tuple[slice, slice]
T = TypeVar("T")


@dataclass(frozen=True)
class Tile:
    """One tile of an image.

    Attributes
    ----------
    source : tuple of slice
        Rows and columns of the image that the tile is computed from, halo included, clipped at the
        image's borders.
    owned : tuple of slice
        Rows and columns of the image that the tile's result is kept for.
    """

    source: Window
    owned: Window

    @property
    def inner(self) -> Window:
        """The owned rows and columns, counted from the window's own corner."""
        return within(self.owned, self.source)

    @property
    def pixels(self) -> int:
        """Number of pixels that the tile owns."""
        rows, columns = self.owned
        return int((rows.stop - rows.start) * (columns.stop - columns.start))


def plan_tiles(shape: tuple[int, int], tile: int, halo: int, *, align: int = 1) -> tuple[Tile, ...]:
    """Cut an image into tiles that own every pixel once.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the image in pixels.
    tile : int
        Side in pixels of the part that a tile owns.  It is rounded up to a multiple of `align`,
        and then made smaller where that spreads the same number of tiles evenly.
    halo : int
        Pixels that a window reaches beyond the owned part, rounded up to a multiple of `align`.
        Nothing lies beyond the image's borders, so tiles there own up to a halo more.
    align : int
        Windows start at multiples of this many pixels, so that a network that samples down by
        this factor sees the same grid in every tile as in the whole image.

    Returns
    -------
    tuple of Tile
        Row by row.  All windows have the same height and width, except that the last row and the
        last column may be up to ``align - 1`` pixels smaller, and that an axis that fits into one
        window has just that one.

    Raises
    ------
    InputError
        When a size is not positive, or the halo is negative.
    """
    if min(shape) < 1 or tile < 1 or align < 1 or halo < 0:
        raise InputError(
            f"cannot cut {shape[0]} x {shape[1]} pixels into tiles of {tile} with a halo of "
            f"{halo}, aligned to {align}: sizes must be at least 1 and the halo at least 0"
        )
    tile, halo = _round_up(tile, align), _round_up(halo, align)
    rows, columns = (_plan_axis(length, tile, halo, align) for length in shape)
    return tuple(Tile(source=(y[0], x[0]), owned=(y[1], x[1])) for y, x in product(rows, columns))


def plan_part(
    shape: tuple[int, int], part: Window, tile: int, halo: int, *, align: int = 1
) -> tuple[Tile, ...]:
    """Cut an image into tiles of which only a part is wanted.

    Parameters
    ----------
    shape, tile, halo, align
        See `plan_tiles`.
    part : tuple of slice
        Rows and columns that are wanted.

    Returns
    -------
    tuple of Tile
        As those of `plan_tiles` for the part with a halo around it, as far as there is an image:
        they own every pixel of the part, and some of the halo besides.
    """
    halo = _round_up(halo, align)
    rows, columns = (
        slice(max(0, wanted.start - halo) // align * align, min(length, wanted.stop + halo))
        for wanted, length in zip(part, shape, strict=True)
    )
    size = (rows.stop - rows.start, columns.stop - columns.start)

    def moved(window: Window) -> Window:
        down, across = window
        return (
            slice(down.start + rows.start, down.stop + rows.start),
            slice(across.start + columns.start, across.stop + columns.start),
        )

    return tuple(
        Tile(source=moved(each.source), owned=moved(each.owned))
        for each in plan_tiles(size, tile, halo, align=align)
    )


def overlap(one: Window, other: Window) -> Window:
    """Rows and columns that two windows share; empty slices where they share none."""
    starts = (max(a.start, b.start) for a, b in zip(one, other, strict=True))
    stops = (min(a.stop, b.stop) for a, b in zip(one, other, strict=True))
    rows, columns = (
        slice(start, max(start, stop)) for start, stop in zip(starts, stops, strict=True)
    )
    return rows, columns


def within(part: Window, whole: Window) -> Window:
    """A window counted from the corner of one that holds it."""
    rows, columns = (
        slice(a.start - b.start, a.stop - b.start) for a, b in zip(part, whole, strict=True)
    )
    return rows, columns


def _plan_axis(length: int, tile: int, halo: int, align: int) -> list[tuple[slice, slice]]:
    """Source and owned slices along one axis."""
    count = max(1, math.ceil((length - 2 * halo) / tile))
    if count == 1:
        return [(slice(0, length), slice(0, length))]
    # The same number of tiles, as even as the grid allows: less halo computed twice.
    step = _round_up(math.ceil((length - 2 * halo) / count), align)
    count = math.ceil((length - 2 * halo) / step)
    starts = [step * index for index in range(count)]
    side = step + 2 * halo
    starts[-1] = min(starts[-1], _round_up(length - side, align))
    edges = [0, *(start + halo for start in starts[1:]), length]
    return [
        (slice(start, min(start + side, length)), slice(low, high))
        for start, (low, high) in zip(starts, pairwise(edges), strict=True)
    ]


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def spread(items: Sequence[T], most: int) -> list[T]:
    """Return the items, or of many `most` of them, from the first to the last at even distances."""
    count = min(len(items), most)
    return [items[index] for index in np.linspace(0, len(items) - 1, count).round().astype(int)]
