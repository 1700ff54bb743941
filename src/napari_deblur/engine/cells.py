"""Cells with kernels of their own, as for scenes of several depths or with moving things.

Each cell's kernel is found side by side with its neighbours' (see `local`).  A kernel that is like
none of its neighbours', or has next to no evidence, is replaced by their mean.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_deblur.blur.alternation import resize_kernel
from napari_deblur.blur.edges import differences
from napari_deblur.blur.likeness import kernel_likeness
from napari_deblur.engine.estimation import estimate
from napari_deblur.engine.patches import Patch
from napari_deblur.engine.plans import choose_tile
from napari_deblur.engine.progress import Progress, drain, with_smaller_tiles
from napari_deblur.engine.region import restrict_frames

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_deblur.blur.field import FieldGrid
    from napari_deblur.engine.layout import Picture
    from napari_deblur.engine.options import Options
    from napari_deblur.engine.pair import Pair
    from napari_deblur.engine.region import Region

__all__ = ["evidence_of", "network_kernels", "with_neighbours"]

_LEAST_EVIDENCE = 0.02  # of the mean cell's
_LEAST_LIKENESS = 0.5  # to the neighbours' mean


def evidence_of(grid: FieldGrid, patches: Sequence[Patch]) -> NDArray[np.float32]:
    """Energy of the gradients of each cell's patches, relative to the mean cell's."""
    evidence = np.zeros(grid.shape, np.float32)
    for patch in patches:
        evidence[patch.cell] += float(differences(patch.image).square().sum())
    mean = float(evidence.mean())
    return evidence / mean if mean > 0 else evidence


def network_kernels(
    pair: Pair,
    frames: Sequence[tuple[Picture, Region]],
    grid: FieldGrid,
    options: Options,
    whole: NDArray[np.float32],
    *,
    around: float = 0.5,
) -> Generator[Progress, None, NDArray[np.float32]]:
    """What the network sees in each cell, and `around` it, in cells.

    Returns
    -------
    ndarray of shape (n, m, m), float32
        m is the side of `whole`, the kernel of the whole image, which counts where nothing is seen.
    """
    size = whole.shape[-1]
    factor = min(1.0, pair.kernel_size / size)
    found = []
    yield Progress("kernel", 0, len(grid.cells))
    for number, cell in enumerate(grid.cells):
        inside = restrict_frames(frames, grid.patch(cell, around))
        kernel = whole
        if inside:
            tile = options.tile or choose_tile(pair)
            estimating = partial(estimate, pair, inside, factor=factor)
            seen = drain(with_smaller_tiles(estimating, tile, pair.device))
            if seen.informative:
                kernel = resize_kernel(seen.kernel, 1 / factor, size)
        found.append(kernel)
        yield Progress("kernel", number + 1, len(grid.cells))
    return np.stack(found)


def with_neighbours(
    whole: NDArray[np.float32],
    kernels: NDArray[np.float32],
    grid: FieldGrid,
    evidence: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Replace the kernels that are not believed by what their neighbours say.

    Parameters
    ----------
    whole : ndarray of shape (m, m)
        The one kernel of the image, for cells that have no neighbour to believe either.
    kernels : ndarray of shape (n, m, m)
        Those of the cells, row by row.
    grid : FieldGrid
        The cells.
    evidence : ndarray of shape (rows, columns)
        See `evidence_of`.

    Returns
    -------
    kernels : ndarray of shape (rows, columns, m, m), float32
    trusted : ndarray of shape (rows, columns), bool
        Which are the cells' own.
    """
    side = kernels.shape[-1]
    table = kernels.reshape(*grid.shape, side, side)
    trusted = evidence >= _LEAST_EVIDENCE
    means = {}
    for cell in grid.cells:
        around = [each for each in grid.neighbours(cell) if trusted[each]]
        if not around:
            continue
        weights = [float(evidence[each]) for each in around]
        means[cell] = np.average([table[each] for each in around], axis=0, weights=weights)
    for cell, mean in means.items():
        if kernel_likeness(table[cell], np.asarray(mean, np.float32)) < _LEAST_LIKENESS:
            trusted[cell] = False
    made = table.copy()
    for cell in grid.cells:
        if not trusted[cell]:
            made[cell] = means.get(cell, whole)
    return made, trusted
