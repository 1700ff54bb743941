"""An image through the synthesis network with a kernel of its own for every cell of a grid.

Each cell's kernel deblurs the part of the image where the cell has weight, and a little more; the
results are added up with weights that sum to one and fade from cell to cell.  So there are no
seams, whatever the kernels are.  Memory is bounded as for one kernel: what is added up is a block,
which is written when all cells that it touches are done.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_deblur.blur.field import FieldGrid, KernelField, Window
from napari_deblur.blur.kernel import kernel_support
from napari_deblur.engine.clipped import is_cut_off
from napari_deblur.engine.output import output_for
from napari_deblur.engine.plans import (
    Plan,
    block_halo,
    choose_block,
    choose_tile,
    count_steps,
    sees_luma,
)
from napari_deblur.engine.progress import Progress, count_up, counted, with_smaller_tiles
from napari_deblur.engine.restoration import Restored, restore
from napari_deblur.engine.synthesis import deblur_block
from napari_deblur.engine.tiles import overlap, plan_tiles, within

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_deblur.engine.layout import Picture
    from napari_deblur.engine.options import Options
    from napari_deblur.engine.pair import Pair

__all__ = ["restore_field"]

_RAMP = 1.0  # cells fade into each other over their whole width: kernels change steadily
# Errors at the rim of a piece have next to no weight, but rings reach into it: with one support
# around pieces a field of equal kernels is 0.16 dB behind one kernel, with two 0.01 dB.
_SUPPORTS_AROUND = 2
_SMALLEST_HALO = 16  # pixels


@dataclass(frozen=True)
class _Piece:
    """What one cell contributes to a block: where it counts, and what it is computed from."""

    cell: tuple[int, int]
    counts: Window
    source: Window

    @property
    def size(self) -> tuple[int, int]:
        rows, columns = self.source
        return rows.stop - rows.start, columns.stop - columns.start


def restore_field(
    pair: Pair,
    picture: Picture,
    field: KernelField,
    noise: NDArray[np.float32],
    options: Options,
    out: Any = None,
) -> Generator[Progress, None, Restored]:
    """Deblur an image with a field of kernels; one of equal kernels is one kernel.

    Parameters
    ----------
    pair : Pair
        The networks.
    picture : Picture
        The image.
    field : KernelField
        The kernels.
    noise : ndarray of shape (C,), float32
        See `napari_deblur.engine.noise.noise_levels`.
    options : Options
        `tile` and `saturation` are looked at.
    out : array, optional
        Where to write.
    """
    first = field.kernels[0, 0]
    if (field.kernels == first).all():
        return (yield from restore(pair, picture, first, noise, options, out))
    target = output_for(picture, out)
    rows, columns = field.grid.shape
    middle = field.kernels[rows // 2, columns // 2]
    fills = options.saturation is not None or is_cut_off(pair, picture, middle)

    def steps(side: int) -> Generator[Progress, None, int]:
        yield from _deblur(pair, picture, field, noise, target, tile=side, fills=fills)
        return side

    used = yield from with_smaller_tiles(steps, options.tile or choose_tile(pair), pair.device)
    return Restored(target, used)


def _deblur(
    pair: Pair,
    picture: Picture,
    field: KernelField,
    noise: NDArray[np.float32],
    out: Any,
    *,
    tile: int,
    fills: bool,
) -> Generator[Progress, None, None]:
    layout = picture.layout
    widest = max((each for row in field.kernels for each in row), key=kernel_support)
    cut_halo = block_halo(pair, widest)
    halo = min(cut_halo, max(_SMALLEST_HALO, _SUPPORTS_AROUND * kernel_support(widest)))
    blocks = [part.owned for part in plan_tiles(layout.size, choose_block(pair, cut_halo), 0)]
    pieces = [_plan_pieces(field.grid, block, halo, cut_halo) for block in blocks]
    total = sum(count_steps(pair, layout, piece.size, tile) for part in pieces for piece in part)
    progress = count_up("deblur", total)
    yield next(progress)
    for block, parts in zip(blocks, pieces, strict=True):
        height, width = (side.stop - side.start for side in block)
        blended = np.zeros((layout.channels, height, width), np.float32)
        for piece in parts:
            image = picture.read(piece.source)
            clipped = layout.clipped(image) if fills else None
            kernel = field.kernels[piece.cell]
            plan = Plan((), tile, kernel, steps=0, luma=sees_luma(pair, layout))
            steps = deblur_block(pair, image, plan, noise, clipped)
            sharp = yield from counted(steps, progress)
            weights = field.grid.weights(piece.cell, piece.counts, _RAMP)
            place, inner = (within(piece.counts, each) for each in (block, piece.source))
            blended[:, *place] += weights * sharp[:, *inner]
        picture.write(out, block, blended)


def _plan_pieces(grid: FieldGrid, block: Window, halo: int, cut_halo: int) -> list[_Piece]:
    """The cells that have weight in a block.

    Where a piece ends because its weight does, errors at its rim do not count, and a small halo
    will do; where the block cuts it off they do, and it is as wide as for one kernel.
    """
    pieces = []
    for cell in grid.cells:
        support = grid.support(cell, _RAMP)
        counts = overlap(support, block)
        if any(side.start == side.stop for side in counts):
            continue
        rows, columns = (
            slice(
                max(0, part.start - (halo if part.start == whole.start else cut_halo)),
                min(side, part.stop + (halo if part.stop == whole.stop else cut_halo)),
            )
            for part, whole, side in zip(counts, support, grid.size, strict=True)
        )
        pieces.append(_Piece(cell, counts, (rows, columns)))
    return pieces
