"""Kernels that vary over the field: one for every cell of a grid, made consistent.

Four explanations of an image are compared by how few strong edges they need.

- *One kernel*, that of the whole image.
- *Areas*: every part of the image has one of a few kernels, as for depths (see `areas`).
- *Cells of their own*, as for moving things or blur that changes slowly (see `cells`).
- *A rolling camera*: one motion, found from the whole image at once, gives the kernels of all
  positions (see `rolling`).

Of those that are believed (see `belief`) the cheapest is taken, a freer one only where it is
clearly cheaper, and otherwise one kernel.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from napari_deblur.blur.field import FieldGrid, KernelField
from napari_deblur.blur.kernel import kernel_support
from napari_deblur.engine.areas import area_kernels, choose_kernels
from napari_deblur.engine.belief import Costs, Field, choose_field
from napari_deblur.engine.cells import evidence_of, network_kernels, with_neighbours
from napari_deblur.engine.local import count_local_steps, find_local_kernels
from napari_deblur.engine.patches import Patch, look
from napari_deblur.engine.progress import Progress, count_up, counted
from napari_deblur.engine.rolling import count_rolling_steps, find_motion
from napari_deblur.engine.search import Search
from napari_deblur.engine.sizes import PAIRS_OWN, SizePlan
from napari_deblur.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_deblur.blur.motion import MotionDensity
    from napari_deblur.engine.estimation import Estimate
    from napari_deblur.engine.layout import Picture
    from napari_deblur.engine.options import Options
    from napari_deblur.engine.pair import Pair
    from napari_deblur.engine.region import Region

__all__ = ["FieldEstimate", "check_field_frames", "choose_grid", "find_field"]

T = TypeVar("T")

# The grid that is chosen.
_SUPPORTS_PER_CELL = 4
_SMALLEST_CELL = 112  # pixels; with less a kernel is a guess
_MOST_CELLS = 6  # rows, and columns
# What is looked at.
_LARGEST_PATCH = 512
_LARGEST_PART = 256
# Sides of the parts that a motion is found from on coarse and fine scales, in kernels' sides.
_COARSE_PART = 3.0
_FINE_PART = 2.5
_SMALLEST_PART = 64  # pixels
_MOST_PARTS = 8  # rows, and columns
_LEAST_EVIDENCE = 0.02  # of the mean cell's
# Restoration.
_SMALLEST_RESTORED_CELL = 48
_LARGEST_CHANGE = 2.0  # pixels that the ends of a kernel move by from cell to cell


@dataclass(frozen=True)
class FieldEstimate:
    """The kernels of a field.

    Attributes
    ----------
    kernel : ndarray of shape (m, m), float32
        The one kernel that explains the whole image best.
    field : KernelField
        That of every cell of the grid.
    fine : KernelField
        Those to deblur with: the same, or closer together where they are known between cells.
    evidence : ndarray of shape (rows, columns), float32
        Strength of the edges that each cell's kernel was seen at, relative to the mean.
    trusted : ndarray of shape (rows, columns), bool
        False where a cell's own evidence was not believed.
    varies : bool
        False if the cells do not differ by more than their evidence; they then all have `kernel`.
    informative : bool
        False if the image has no texture.
    corrected : bool
        Whether the correction network had the last word; never where the cells differ.
    """

    kernel: NDArray[np.float32]
    field: KernelField
    fine: KernelField
    evidence: NDArray[np.float32]
    trusted: NDArray[np.bool_]
    varies: bool
    informative: bool
    corrected: bool = False


def choose_grid(size: tuple[int, int], support: int) -> tuple[int, int]:
    """Rows and columns of cells for an image of `size` and kernels that reach over `support`."""
    cell = max(_SMALLEST_CELL, _SUPPORTS_PER_CELL * support)
    rows, columns = (min(max(1, round(side / cell)), _MOST_CELLS) for side in size)
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
    pair: Pair,
    frames: Sequence[tuple[Picture, Region]],
    options: Options,
    plan: SizePlan = PAIRS_OWN,
) -> Generator[Progress, None, FieldEstimate]:
    """Estimate the kernels of a field that all frames share.

    Parameters
    ----------
    pair, frames, options, plan
        See `napari_deblur.engine.search.find_kernel`; of `options`, `grid` is looked at as well.
        The frames must be of one size.
    """
    size = frames[0][0].layout.size
    search = Search(pair, frames, options)
    whole = yield from search.run(plan)
    shape = options.grid or choose_grid(size, kernel_support(whole.kernel))
    grid = FieldGrid(size, shape)
    patches = look(frames, grid, _LARGEST_PATCH, pair.device) if whole.informative else []
    evidence = evidence_of(grid, patches)
    # Those of cells are not corrected, so kernels are compared as they were before that.
    one = _uniform(search.correct(whole), grid, evidence)
    if len(grid.cells) == 1 or not evidence.any():
        return one
    fine = _part_grid(size, whole.kernel, _FINE_PART)
    parts = _parts(pair, frames, whole.kernel, fine)
    costs = Costs(parts)
    tried: list[tuple[Field, FieldEstimate]] = []
    if options.refine > 0:
        coarse = _parts(pair, frames, whole.kernel, _part_grid(size, whole.kernel, _COARSE_PART))
        radius = float(np.hypot(*size)) / 2
        searched = find_motion(whole.kernel, radius, coarse, parts, options.refine)
        motion = yield from _counted(searched, count_rolling_steps(whole.kernel.shape[-1]))
        tried.append((motion.kernels, _rolling(whole.kernel, motion, grid, evidence)))
        kernels = yield from area_kernels(pair, frames, options, whole.kernel)
        by_others, chosen = (
            KernelField(choose_kernels(costs, fine.shape, kernels, own=own), size) for own in (0, 1)
        )
        tried.append((by_others.at, _areas(whole.kernel, chosen, grid, evidence)))
    kernels = yield from network_kernels(pair, frames, grid, options, whole.kernel)
    if options.refine > 0:
        steps = find_local_kernels(kernels, grid, patches, options.refine)
        kernels = yield from _counted(steps, count_local_steps(kernels.shape[-1]))
    separate = _separate(whole.kernel, kernels, grid, evidence)
    tried.append((separate.field.at, separate))
    best = choose_field(costs, [kernels_at for kernels_at, _ in tried], whole.kernel)
    return one if best is None else tried[best][1]


def _counted(steps: Generator[None, None, T], total: int) -> Generator[Progress, None, T]:
    """Report the steps of a generator as those of the refinement."""
    progress = count_up("refine", total)
    yield next(progress)
    return (yield from counted(steps, progress))


def _positions(grid: FieldGrid) -> NDArray[np.float64]:
    """Middles of the cells (n, 2), in pixels from the middle of the image."""
    centres = np.array([grid.centre(cell) for cell in grid.cells])
    return centres - (np.array(grid.size) - 1) / 2


def _uniform(found: Estimate, grid: FieldGrid, evidence: NDArray[np.float32]) -> FieldEstimate:
    kernel = found.kernel
    kernels = np.broadcast_to(kernel, (*grid.shape, *kernel.shape)).copy()
    field = KernelField(kernels, grid.size)
    trusted = np.full(grid.shape, found.informative)
    return FieldEstimate(
        kernel,
        field,
        field,
        evidence,
        trusted,
        varies=False,
        informative=found.informative,
        corrected=found.corrected,
    )


def _separate(
    whole: NDArray[np.float32],
    kernels: NDArray[np.float32],
    grid: FieldGrid,
    evidence: NDArray[np.float32],
) -> FieldEstimate:
    made, trusted = with_neighbours(whole, kernels, grid, evidence)
    field = KernelField(made, grid.size)
    return FieldEstimate(whole, field, field, evidence, trusted, varies=True, informative=True)


def _rolling(
    whole: NDArray[np.float32],
    motion: MotionDensity,
    grid: FieldGrid,
    evidence: NDArray[np.float32],
) -> FieldEstimate:
    side = motion.size
    field = KernelField(
        motion.kernels(_positions(grid)).reshape(*grid.shape, side, side), grid.size
    )
    extent = motion.extent
    rows, columns = (
        int(np.clip(np.ceil(length * extent / _LARGEST_CHANGE), least, max(least, most)))
        for length, least, most in zip(
            grid.size,
            grid.shape,
            (length // _SMALLEST_RESTORED_CELL for length in grid.size),
            strict=True,
        )
    )
    close = FieldGrid(grid.size, (rows, columns))
    fine = KernelField(
        motion.kernels(_positions(close)).reshape(rows, columns, side, side), grid.size
    )
    trusted = evidence >= _LEAST_EVIDENCE
    return FieldEstimate(whole, field, fine, evidence, trusted, varies=True, informative=True)


def _areas(
    whole: NDArray[np.float32],
    chosen: KernelField,
    grid: FieldGrid,
    evidence: NDArray[np.float32],
) -> FieldEstimate:
    kernels = chosen.at(_positions(grid)).reshape(*grid.shape, *whole.shape)
    field = KernelField(kernels, grid.size)
    trusted = evidence >= _LEAST_EVIDENCE
    return FieldEstimate(whole, field, chosen, evidence, trusted, varies=True, informative=True)


def _part_grid(size: tuple[int, int], kernel: NDArray[np.float32], sides: float) -> FieldGrid:
    """Cells that are `sides` sides of the kernel wide if possible."""
    length = max(_SMALLEST_PART, sides * kernel.shape[-1])
    rows, columns = (min(max(1, round(each / length)), _MOST_PARTS) for each in size)
    return FieldGrid(size, (rows, columns))


def _parts(
    pair: Pair,
    frames: Sequence[tuple[Picture, Region]],
    kernel: NDArray[np.float32],
    grid: FieldGrid,
) -> list[Patch]:
    """Parts of the frames that share no pixel, one for each cell."""
    largest = max(_LARGEST_PART, 4 * kernel.shape[-1])
    return look(frames, grid, largest, pair.device, around=0)
