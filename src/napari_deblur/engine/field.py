"""Kernels that vary over the field: one for every cell of a grid, made consistent."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_deblur.blur.field import FieldGrid, KernelField
from napari_deblur.blur.kernel import kernel_support, resize_kernel_support
from napari_deblur.engine.region import restrict
from napari_deblur.engine.search import find_kernel
from napari_deblur.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_deblur.engine.layout import Picture
    from napari_deblur.engine.options import Options
    from napari_deblur.engine.pair import Pair
    from napari_deblur.engine.progress import Progress
    from napari_deblur.engine.region import Region

__all__ = ["FieldEstimate", "check_field_frames", "choose_grid", "find_field"]

_SUPPORTS_PER_CELL = 4
_SMALLEST_CELL = 128  # pixels; with less a kernel is a guess
_MOST_CELLS = 8  # rows, and columns


@dataclass(frozen=True)
class FieldEstimate:
    """The kernels of a field.

    Attributes
    ----------
    kernel : ndarray of shape (m, m), float32
        The one kernel that explains the whole image best.
    field : KernelField
        That of every cell.
    gains : ndarray of shape (rows, columns), float32
        By which share a cell's own kernel explains its patch better than `kernel` does; 0 where
        there is nothing to see.
    trusted : ndarray of shape (rows, columns), bool
        False where a cell got its kernel from its neighbours.
    varies : bool
        False if the cells do not differ by more than their evidence; they then all have `kernel`.
    informative : bool
        False if the image has no texture.
    """

    kernel: NDArray[np.float32]
    field: KernelField
    gains: NDArray[np.float32]
    trusted: NDArray[np.bool_]
    varies: bool
    informative: bool


def choose_grid(size: tuple[int, int], support: int) -> tuple[int, int]:
    """Rows and columns of cells for an image of `size` and kernels that reach over `support`."""
    cell = max(_SMALLEST_CELL, _SUPPORTS_PER_CELL * support)
    rows, columns = (min(max(1, side // cell), _MOST_CELLS) for side in size)
    return rows, columns


def check_field_frames(pictures: Sequence[Picture], options: Options) -> None:
    """Check before any work that pictures can share a field, and that the grid fits them.

    Raises
    ------
    InputError
        When they cannot, or it does not.
    """
    sizes = sorted({each.layout.size for each in pictures})
    if len(sizes) > 1:
        text = " and ".join(f"{height} x {width}" for height, width in sizes[:2])
        raise InputError(
            f"images of {text} pixels cannot share one field of kernels: give images of one size"
        )
    if options.grid is not None:
        FieldGrid(sizes[0], options.grid)


def find_field(
    pair: Pair, frames: Sequence[tuple[Picture, Region]], options: Options
) -> Generator[Progress, None, FieldEstimate]:
    """Estimate the kernels of a field that all frames share."""
    size = frames[0][0].layout.size
    whole = yield from find_kernel(pair, frames, options)
    shape = options.grid or choose_grid(size, kernel_support(whole.kernel))
    grid = FieldGrid(size, shape)
    gains = np.zeros(shape, np.float32)
    trusted = np.zeros(shape, bool)
    found = {}
    for cell in grid.cells:
        parts = [(picture, restrict(region, grid.patch(cell))) for picture, region in frames]
        inside = [(picture, region) for picture, region in parts if region is not None]
        if whole.informative and inside:
            estimate = yield from find_kernel(pair, inside, options)
            trusted[cell] = estimate.informative
            if estimate.informative:
                found[cell] = estimate.kernel
    side = max((each.shape[-1] for each in found.values()), default=whole.kernel.shape[-1])
    kernels = [resize_kernel_support(found.get(cell, whole.kernel), side) for cell in grid.cells]
    stacked = np.stack(kernels).reshape(*shape, side, side)
    return FieldEstimate(
        whole.kernel,
        KernelField(stacked, size),
        gains,
        trusted,
        varies=bool(found),
        informative=whole.informative,
    )
