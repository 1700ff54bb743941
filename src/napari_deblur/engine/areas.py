"""A few kernels, each found in a large area, of which every part takes the one that explains it.

Where the blur has steps, as between depths, kernels of areas that lie on one side of a step are
good, because much is seen in them, and parts of other areas may share them.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_deblur.blur.field import FieldGrid
from napari_deblur.engine.belief import everywhere
from napari_deblur.engine.cells import network_kernels
from napari_deblur.engine.refinement import refine_kernel
from napari_deblur.engine.region import restrict_frames
from napari_deblur.engine.views import look_at

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_deblur.engine.belief import Costs
    from napari_deblur.engine.layout import Picture
    from napari_deblur.engine.options import Options
    from napari_deblur.engine.pair import Pair
    from napari_deblur.engine.progress import Progress
    from napari_deblur.engine.region import Region

__all__ = ["area_kernels", "choose_kernels"]

_AREAS = (2, 2)
_SMALLEST_AREA = 96  # pixels; a kernel found in less is no better than a cell's own
# How much the parts around one count for its choice, itself being 1.
_BESIDE, _ACROSS = 0.6, 0.35


def area_kernels(
    pair: Pair,
    frames: Sequence[tuple[Picture, Region]],
    options: Options,
    whole: NDArray[np.float32],
) -> Generator[Progress, None, NDArray[np.float32]]:
    """Find a kernel in each quarter of the image, as in a whole one.

    Returns
    -------
    ndarray of shape (n, m, m), float32
        First `whole`, then those of the quarters that are large enough; each centred.
    """
    size = frames[0][0].layout.size
    if min(side // count for side, count in zip(size, _AREAS, strict=True)) < _SMALLEST_AREA:
        return whole[None]
    grid = FieldGrid(size, _AREAS)
    starts = yield from network_kernels(pair, frames, grid, options, whole, around=0)
    found = [whole]
    for cell, start in zip(grid.cells, starts, strict=True):
        inside = restrict_frames(frames, grid.patch(cell, 0))
        if inside:
            views = look_at(inside, pair.device)
            found.append((yield from refine_kernel(views, start, options.refine)))
    return np.stack(found)


def choose_kernels(
    costs: Costs, shape: tuple[int, int], kernels: NDArray[np.float32], *, own: float = 1
) -> NDArray[np.float32]:
    """Give every part the kernel that costs least in it and the parts around it.

    Parameters
    ----------
    costs : Costs
        Of parts of the image, one or more for each cell of a grid, or none.
    shape : tuple of int
        Rows and columns of that grid.
    kernels : ndarray of shape (n, m, m)
        What there is to choose from.
    own : float
        How much a part itself counts.  With 0 others choose for it, and whether that explains it
        is a fair question.

    Returns
    -------
    ndarray of shape (rows, columns, m, m), float32
    """
    table = np.zeros((len(kernels), *shape))
    for costs_of_one, kernel in zip(table, kernels, strict=True):
        each = costs.of(everywhere(kernel))
        np.add.at(costs_of_one, tuple(np.transpose([part.cell for part in costs.patches])), each)
    around = np.array(
        [[_ACROSS, _BESIDE, _ACROSS], [_BESIDE, own, _BESIDE], [_ACROSS, _BESIDE, _ACROSS]]
    )
    pooled = np.stack([ndimage.convolve(each, around, mode="constant") for each in table])
    return np.asarray(kernels[pooled.argmin(axis=0)], np.float32)
