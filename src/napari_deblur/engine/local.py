"""Kernels of cells found side by side, each from its own patch and, with less weight, those around.

As in `refinement`, an image of few edges and a kernel are found by turns.  The kernel of a cell
solves its own normal equations plus those of its neighbours, multiplied by weights that fall with
the distance.  Equations grow with the gradients that they are made of: so where a patch shows its
kernel well it decides alone, and where it is flat its neighbours do.  And since neighbours share
equations they share one frame: no cell can shift its kernel, and its image the other way, alone.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import ndimage

from napari_deblur.blur.alternation import Schedule, resize_kernel
from napari_deblur.blur.kernel import delta_kernel
from napari_deblur.blur.kernel_step import NormalEquations, kept_values, solve_kernel
from napari_deblur.blur.pyramid import plan_scales
from napari_deblur.engine.patches import Patch, equations, shrink

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_deblur.blur.field import FieldGrid

__all__ = ["count_local_steps", "find_local_kernels"]

_ENTERS = 0.25  # scale that the network's kernels come in at: coarse enough to be corrected
_REACH = 0.4  # cells; the weight of a cell's equations for another falls as a Gaussian of this


def count_local_steps(size: int) -> int:
    """Return in how many steps `find_local_kernels` finds kernels of side `size`."""
    return sum(each.factor > _ENTERS * 0.99 for each in plan_scales(size))


def find_local_kernels(
    start: NDArray[np.float32], grid: FieldGrid, patches: Sequence[Patch], rounds: int
) -> Generator[None, None, NDArray[np.float32]]:
    """Find the kernels of all cells; yields after each scale.

    Parameters
    ----------
    start : ndarray of shape (n, m, m), float32
        A kernel for each cell of the grid, row by row, each centred at its centroid.
    grid : FieldGrid
        The cells.
    patches : sequence of Patch
        Patches of those cells that show anything, one or more for each.
    rounds : int
        Rounds on each scale.

    Returns
    -------
    ndarray of shape (n, m, m), float32
        Sum 1, in one frame.
    """
    schedule = Schedule(rounds=rounds)
    size = start.shape[-1]
    numbers = {cell: number for number, cell in enumerate(grid.cells)}
    owners = np.array([numbers[each.cell] for each in patches])
    weights = _weights(grid)[:, owners]
    kernels, factor = start, 1.0
    for number, scale in enumerate(plan_scales(size)):
        if scale.factor <= _ENTERS * 0.99:
            continue
        ratio, factor = scale.factor / factor, scale.factor
        kernels = np.stack([resize_kernel(each, ratio, scale.kernel_size) for each in kernels])
        shrunk = [shrink(each, factor) for each in patches]
        for turn in range(rounds):
            sparsity, share = schedule.sparsity_at(number, turn), schedule.share_at(turn)
            found = [
                equations(patch, kernels[owner], sparsity, share)
                for patch, owner in zip(shrunk, owners, strict=True)
            ]
            solved = solve_kernel(_shared(found, weights), schedule.ridge).cpu().numpy()
            kernels = _cleaned(solved)
        yield
    return kernels


def _weights(grid: FieldGrid) -> NDArray[np.float32]:
    """How much each cell's equations count for each other cell, (n, n)."""
    cells = np.array(grid.cells, np.float64)
    distance = ((cells[:, None] - cells[None]) ** 2).sum(axis=-1)
    return np.asarray(np.exp(-distance / (2 * _REACH**2)), np.float32)


def _shared(found: Sequence[NormalEquations], weights: NDArray[np.float32]) -> NormalEquations:
    auto = torch.cat([each.auto for each in found])
    cross = torch.cat([each.cross for each in found])
    table = torch.from_numpy(weights).to(auto)
    return NormalEquations(
        torch.tensordot(table, auto, dims=1), torch.tensordot(table, cross, dims=1)
    )


def _cleaned(kernels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Kernels without noise, all moved by the same whole pixels to where they are centred."""
    kept = [kept_values(each) for each in kernels]
    sums = np.array([each.sum() for each in kept])
    stacked = np.stack(
        [
            each / total if total > 0 else delta_kernel(each.shape[-1])
            for each, total in zip(kept, sums, strict=True)
        ]
    )
    middle = ndimage.center_of_mass(stacked.mean(axis=0))
    shift = [
        0,
        *(side // 2 - round(at) for side, at in zip(stacked.shape[1:], middle, strict=True)),
    ]
    moved = np.asarray(ndimage.shift(stacked, shift, order=0, mode="constant"), np.float32)
    totals = moved.sum(axis=(1, 2), keepdims=True)
    return np.where(totals > 0, moved / np.maximum(totals, 1e-12), stacked.astype(np.float32))
