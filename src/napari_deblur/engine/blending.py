"""Blocks that fade into each other, so that no border between them shows.

A deconvolution has no finite reach, so two blocks never agree exactly where they meet, however far
they look beyond.  Each counts a little way into its neighbours, with a weight that falls smoothly
to zero; the weights of all blocks sum to one at every pixel.  What blocks share is kept until all
have added to it: a strip between two rows of blocks, and one between two neighbours in a row.

No torch here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_deblur.engine.tiles import Tile, Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Blender", "Block", "fade_blocks"]

_SHARE = 3  # of the halo, one part; what lies farther out is disturbed by the block's own end


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
        rows, columns = (
            slice(part.start - source.start, part.stop - source.start)
            for source, part in zip(self.source, self.counts, strict=True)
        )
        return rows, columns

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
        All of one image, on a grid, row by row.
    halo : int
        Pixels that their windows reach beyond what they own.

    Returns
    -------
    tuple of Block
        They reach a third of the halo into each other, and at most half of what any owns.
    """
    size = [part.stop for part in tiles[-1].owned]
    sides = [
        part.stop - part.start
        for tile in tiles
        for part, length in zip(tile.owned, size, strict=True)
        if part.stop - part.start < length
    ]
    reach = min(halo // _SHARE, min(sides, default=0) // 2)

    def grown(part: slice, length: int) -> slice:
        return slice(max(0, part.start - reach), min(length, part.stop + reach))

    return tuple(
        Block(
            tile.source,
            tile.owned,
            (grown(tile.owned[0], size[0]), grown(tile.owned[1], size[1])),
        )
        for tile in tiles
    )


class Blender:
    """Adds up blocks that come row by row, and hands out what no other will change.

    Parameters
    ----------
    width : int
        Of the image in pixels.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._above: NDArray[np.float32] | None = None  # what a row of blocks left to the next
        self._left: NDArray[np.float32] | None = None  # what a block left to the next in its row

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
        if rows.start and self._above is not None:
            summed[:, : self._above.shape[1]] += self._above[:, :, columns]
        if height < summed.shape[1]:
            self._leave(summed[:, height:], columns)
        return (rows, columns), summed[:, :height]

    def _leave(self, strip: NDArray[np.float32], columns: slice) -> None:
        """Keep a strip for the next row of blocks, in the place of one that has been used."""
        if self._above is None:
            self._above = np.empty((*strip.shape[:2], self._width), np.float32)
        self._above[:, :, columns] = strip


def _complete(owned: slice, counts: slice) -> slice:
    """Part of an axis that neither this block's neighbour below, or to the right, counts in."""
    return slice(counts.start, 2 * owned.stop - counts.stop)
