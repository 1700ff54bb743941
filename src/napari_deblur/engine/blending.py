"""Blocks that fade into each other, so that no border between them shows.

A deconvolution has no finite reach, so two blocks never agree exactly where they meet, however far
they look beyond.  Each counts a little way into its neighbours, with a weight that falls smoothly
to zero; the weights of all blocks sum to one at every pixel.  What blocks share is kept until all
have added to it: a strip between two rows of blocks, and one between two neighbours in a row.

No torch here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from napari_deblur.engine.tiles import Tile, Window, overlap, within

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Blender", "Block", "fade_blocks"]

_SHARE = 2  # of the halo, one part; what lies farther out is disturbed by the block's own end


@dataclass(frozen=True)
class Block(Tile):
    """A tile that counts beyond what it owns.

    Attributes
    ----------
    counts : tuple of slice
        Rows and columns of the image where the block has weight.
    """

    counts: Window

    @property
    def counted(self) -> Window:
        """Rows and columns where it has weight, from the window's own corner."""
        return within(self.counts, self.source)

    def counted_in(self, part: Window) -> Window:
        """Those of them that lie in a part of the image."""
        return within(overlap(self.counts, part), self.source)

    def weights(self) -> NDArray[np.float32]:
        """Weight of every pixel of `counts`."""
        down, across = (
            _weights(owned, counts) for owned, counts in zip(self.owned, self.counts, strict=True)
        )
        return np.asarray(down[:, None] * across, np.float32)


def _weights(owned: slice, counts: slice) -> NDArray[np.float64]:
    """Weights along one axis: 1 but for a rise and a fall, each across a border."""
    middles = np.arange(counts.start, counts.stop) + 0.5
    rise, fall = (2 * (owned.start - counts.start), 2 * (counts.stop - owned.stop))
    weights = np.ones(len(middles))
    if rise:
        weights *= _smooth((middles - counts.start) / rise)
    if fall:
        weights *= 1 - _smooth((middles - counts.stop) / fall + 1)
    return weights


def _smooth(way: NDArray[np.float64]) -> NDArray[np.float64]:
    """Go from 0 to 1, level at both ends; as far below 1/2 before the middle as above after it."""
    found: NDArray[np.float64] = np.sin(np.pi / 2 * way.clip(0, 1)) ** 2
    return found


def fade_blocks(tiles: Sequence[Tile], halo: int) -> tuple[Block, ...]:
    """Let tiles count beyond what they own, where they have neighbours.

    Parameters
    ----------
    tiles : sequence of Tile
        All of one image, on a grid.
    halo : int
        Pixels that their windows reach beyond what they own.

    Returns
    -------
    tuple of Block
        They reach half of the halo into each other, and at most half of what either owns.
    """
    rows, columns = (
        _grow(((tile.owned[axis].start, tile.owned[axis].stop) for tile in tiles), halo // _SHARE)
        for axis in (0, 1)
    )
    return tuple(
        Block(
            tile.source,
            tile.owned,
            (rows[tile.owned[0].start], columns[tile.owned[1].start]),
        )
        for tile in tiles
    )


def _grow(parts: Iterable[tuple[int, int]], reach: int) -> dict[int, slice]:
    """Parts of an axis by where they start, each longer by `reach` where another follows."""
    ordered = sorted(set(parts))
    halves = [(stop - start) // 2 for start, stop in ordered]
    reaches = [0, *(min(reach, *each) for each in pairwise(halves)), 0]
    return {
        start: slice(start - before, stop + after)
        for (start, stop), (before, after) in zip(ordered, pairwise(reaches), strict=True)
    }


class Blender:
    """Adds up blocks that come row by row, and hands out what no other will change.

    Parameters
    ----------
    width : int
        Of the image in pixels.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        # What the row of blocks above left to this one, what this one leaves to the next, and what
        # a block left to the next one in its row.
        self._above: NDArray[np.float32] | None = None
        self._below: NDArray[np.float32] | None = None
        self._left: NDArray[np.float32] | None = None

    def add(self, block: Block, values: NDArray[np.float32]) -> tuple[Window, NDArray[np.float32]]:
        """Add a block.

        Parameters
        ----------
        block : Block
            The next block.
        values : ndarray of shape (C, h, w), float32
            Its result where it counts.

        Returns
        -------
        window : tuple of slice
            Rows and columns of the image that are complete now; with those of all other blocks,
            they hold every pixel once.
        values : ndarray of shape (C, h, w), float32
            Their values.
        """
        summed = block.weights() * values
        if self._left is not None:
            summed[:, :, : self._left.shape[2]] += self._left
        rows, columns = (_complete(*each) for each in zip(block.owned, block.counts, strict=True))
        height, width = rows.stop - rows.start, columns.stop - columns.start
        self._left = summed[:, :, width:].copy() if width < summed.shape[2] else None
        summed = summed[:, :, :width]
        if columns.start == 0:
            self._above, self._below = self._below, None
        if self._above is not None:
            summed[:, : self._above.shape[1]] += self._above[:, :, columns]
        if height < summed.shape[1]:
            self._leave(summed[:, height:], columns)
        return (rows, columns), summed[:, :height]

    def _leave(self, strip: NDArray[np.float32], columns: slice) -> None:
        """Keep a strip for the next row of blocks."""
        if self._below is None:
            self._below = np.empty((*strip.shape[:2], self._width), np.float32)
        self._below[:, :, columns] = strip


def _complete(owned: slice, counts: slice) -> slice:
    """Part of an axis that neither this block's neighbour below, or to the right, counts in."""
    return slice(counts.start, 2 * owned.stop - counts.stop)
