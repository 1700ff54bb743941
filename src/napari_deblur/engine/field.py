"""Kernels that vary over the field: one for every cell of a grid, made consistent.

Three explanations of an image are compared by how few strong edges they need (see
`napari_deblur.blur.alternation.energy`), from the simplest on.

1. *One kernel*, that of the whole image.
2. *Cells of their own*, as for depths or moving things: each cell's kernel is found side by side
   with its neighbours' (see `local`).  A kernel that is like none of its neighbours', or has next
   to no evidence, is replaced by their mean.  They must explain the image clearly better than one
   kernel does, and than they do themselves when the field is mirrored.
3. *A rolling camera*, where they do: one motion is fitted to the kernels of all cells and then
   found anew from the whole image (see `rolling`), which gives the kernels of all positions.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from napari_deblur.blur.alternation import energy, resize_kernel
from napari_deblur.blur.edges import differences
from napari_deblur.blur.field import FieldGrid, KernelField
from napari_deblur.blur.kernel import kernel_support
from napari_deblur.blur.likeness import kernel_likeness
from napari_deblur.blur.motion import MotionDensity, fit_density
from napari_deblur.engine.estimation import estimate
from napari_deblur.engine.local import count_local_steps, find_local_kernels
from napari_deblur.engine.patches import Patch, look
from napari_deblur.engine.plans import choose_tile
from napari_deblur.engine.progress import (
    Progress,
    count_up,
    counted,
    drain,
    with_smaller_tiles,
)
from napari_deblur.engine.region import restrict
from napari_deblur.engine.rolling import count_rolling_steps, find_motion
from napari_deblur.engine.search import find_kernel
from napari_deblur.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_deblur.engine.layout import Picture
    from napari_deblur.engine.options import Options
    from napari_deblur.engine.pair import Pair
    from napari_deblur.engine.region import Region

__all__ = ["FieldEstimate", "check_field_frames", "choose_grid", "find_field"]

T = TypeVar("T")
# Kernels at positions (n, 2), in pixels from the middle of the image.
_Field = Callable[["NDArray[np.float64]"], Iterable["NDArray[np.float32]"]]

# The grid that is chosen.
_SUPPORTS_PER_CELL = 4
_SMALLEST_CELL = 112  # pixels; with less a kernel is a guess
_MOST_CELLS = 6  # rows, and columns
# What is looked at.
_LARGEST_PATCH = 512
_LARGEST_FINE_PATCH = 256
_SMALLEST_FINE_CELL = 64
_MOST_FINE_CELLS = 8
_LARGEST_FITTED = 31  # side of the kernels that a motion is first fitted to
# What is believed; found on photographs with simulated fields.
# What cells may cost, of the cost with one kernel, and of that with the field mirrored.  Of seven
# photographs with uniform blur those nearest to it were at 0.987 and 0.989 of the one, and at 0.994
# and 0.963 of the other.  Where the blur varied and cells showed it, at 0.976 to 0.986 and 0.910 to
# 0.990.  A motion is not asked: once it was at 0.989 and 0.984 although the blur was uniform.
_CLEARLY = 0.985
_CLEARLY_MIRRORED = 0.993
_MIRRORS = ((1, -1), (-1, 1), (-1, -1))
_SURE = 2.0  # standard errors by which it must cost less than mirrored
_EDGE = 3e-3  # what an edge costs here; weak ones are left out, as noise and texture make them
_LEAST_EVIDENCE = 0.02  # of the mean cell's
_LEAST_LIKENESS = 0.5  # to the neighbours' mean, or to the motion's kernel
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
    """

    kernel: NDArray[np.float32]
    field: KernelField
    fine: KernelField
    evidence: NDArray[np.float32]
    trusted: NDArray[np.bool_]
    varies: bool
    informative: bool


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
    sizes: Sequence[int] = (),
) -> Generator[Progress, None, FieldEstimate]:
    """Estimate the kernels of a field that all frames share.

    Parameters
    ----------
    pair, frames, options, sizes
        See `napari_deblur.engine.search.find_kernel`; of `options`, `grid` is looked at as well.
        The frames must be of one size.
    """
    size = frames[0][0].layout.size
    whole = yield from find_kernel(pair, frames, options, sizes)
    shape = options.grid or choose_grid(size, kernel_support(whole.kernel))
    grid = FieldGrid(size, shape)
    patches = look(frames, grid, _LARGEST_PATCH, pair.device) if whole.informative else []
    evidence = _evidence(grid, patches)
    if len(grid.cells) == 1 or not evidence.any():
        return _uniform(whole.kernel, grid, evidence, informative=whole.informative)
    kernels = yield from _network_kernels(pair, frames, grid, options, whole.kernel)
    if options.refine > 0:
        steps = find_local_kernels(kernels, grid, patches, options.refine)
        kernels = yield from _counted(steps, count_local_steps(kernels.shape[-1]))
    separate = _separate(whole.kernel, kernels, grid, evidence)
    side = kernels.shape[-1]
    fine = look(frames, _fine_grid(size, side), max(_LARGEST_FINE_PATCH, 4 * side), pair.device)
    costs = _costs(fine, separate.field.at)
    if not _explains(fine, costs, separate.field.at, whole.kernel):
        return _uniform(whole.kernel, grid, evidence, informative=True)
    if options.refine == 0:
        return separate
    motion, likeness = _fit(kernels, grid, evidence)
    searched = find_motion(motion, side, patches, fine, options.refine)
    motion = yield from _counted(searched, count_rolling_steps(side))
    if _costs(fine, motion.kernels).sum() > costs.sum():
        return separate
    return _rolling(whole.kernel, motion, grid, evidence, likeness)


def _network_kernels(
    pair: Pair,
    frames: Sequence[tuple[Picture, Region]],
    grid: FieldGrid,
    options: Options,
    whole: NDArray[np.float32],
) -> Generator[Progress, None, NDArray[np.float32]]:
    """What the network sees in each cell (n, m, m), m being the side of the kernel of the whole."""
    size = whole.shape[-1]
    factor = min(1.0, pair.kernel_size / size)
    found = []
    yield Progress("kernel", 0, len(grid.cells))
    for number, cell in enumerate(grid.cells):
        parts = [(picture, restrict(region, grid.patch(cell))) for picture, region in frames]
        inside = [(picture, region) for picture, region in parts if region is not None]
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


def _counted(steps: Generator[None, None, T], total: int) -> Generator[Progress, None, T]:
    """Report the steps of a generator as those of the refinement."""
    progress = count_up("refine", total)
    yield next(progress)
    return (yield from counted(steps, progress))


def _evidence(grid: FieldGrid, patches: Sequence[Patch]) -> NDArray[np.float32]:
    """Energy of the gradients of each cell's patches, relative to the mean cell's."""
    evidence = np.zeros(grid.shape, np.float32)
    for patch in patches:
        evidence[patch.cell] += float(differences(patch.image).square().sum())
    mean = float(evidence.mean())
    return evidence / mean if mean > 0 else evidence


def _explains(
    patches: Sequence[Patch],
    costs: NDArray[np.float64],
    kernels_at: _Field,
    one: NDArray[np.float32],
) -> bool:
    """Whether a field explains the patches clearly better than one kernel, and where it is.

    A field has more to choose from, and may cost less than one kernel where the blur is uniform.
    But then it is mostly no worse when it is mirrored, so that patches get kernels of other places.
    """
    if costs.sum() > _CLEARLY * _costs(patches, lambda places: [one] * len(places)).sum():
        return False
    mirrored = np.mean([_costs(patches, kernels_at, signs) for signs in _MIRRORS], axis=0)
    gains = mirrored - costs
    error = float(gains.std(ddof=1)) / np.sqrt(len(gains)) if len(gains) > 1 else np.inf
    return bool(costs.sum() <= _CLEARLY_MIRRORED * mirrored.sum() and gains.mean() > _SURE * error)


def _costs(
    patches: Sequence[Patch], kernels_at: _Field, signs: tuple[int, int] = (1, 1)
) -> NDArray[np.float64]:
    """Cost of explaining each patch with the kernel of its position; the lower, the likelier.

    `signs` multiply the rows and columns of positions, counted from the middle of the image.
    """
    kernels = kernels_at(np.array([each.position for each in patches]) * signs)
    return np.array(
        [
            energy(
                [patch.image],
                kernel,
                clipped=None if patch.clipped is None else [patch.clipped],
                sparsity=_EDGE,
            )
            for patch, kernel in zip(patches, kernels, strict=True)
        ]
    )


def _positions(grid: FieldGrid) -> NDArray[np.float64]:
    """Middles of the cells (n, 2), in pixels from the middle of the image."""
    centres = np.array([grid.centre(cell) for cell in grid.cells])
    return centres - (np.array(grid.size) - 1) / 2


def _fit(
    kernels: NDArray[np.float32], grid: FieldGrid, evidence: NDArray[np.float32]
) -> tuple[MotionDensity, NDArray[np.float64]]:
    """The motion most like the cells' kernels, which are shrunk if large, and their likeness."""
    side = kernels.shape[-1]
    factor = min(1.0, _LARGEST_FITTED / side)
    if factor < 1:
        kernels = np.stack([resize_kernel(each, factor, _LARGEST_FITTED) for each in kernels])
    return fit_density(kernels, factor * _positions(grid), evidence.ravel().astype(np.float64))


def _uniform(
    kernel: NDArray[np.float32],
    grid: FieldGrid,
    evidence: NDArray[np.float32],
    *,
    informative: bool,
) -> FieldEstimate:
    kernels = np.broadcast_to(kernel, (*grid.shape, *kernel.shape)).copy()
    field = KernelField(kernels, grid.size)
    trusted = np.full(grid.shape, informative)
    return FieldEstimate(
        kernel, field, field, evidence, trusted, varies=False, informative=informative
    )


def _separate(
    whole: NDArray[np.float32],
    kernels: NDArray[np.float32],
    grid: FieldGrid,
    evidence: NDArray[np.float32],
) -> FieldEstimate:
    """Cells with kernels of their own; those that are not believed get their neighbours'."""
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
    field = KernelField(made, grid.size)
    return FieldEstimate(whole, field, field, evidence, trusted, varies=True, informative=True)


def _rolling(
    whole: NDArray[np.float32],
    motion: MotionDensity,
    grid: FieldGrid,
    evidence: NDArray[np.float32],
    likeness: NDArray[np.float64],
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
    trusted = (likeness >= _LEAST_LIKENESS).reshape(grid.shape) & (evidence >= _LEAST_EVIDENCE)
    return FieldEstimate(whole, field, fine, evidence, trusted, varies=True, informative=True)


def _fine_grid(size: tuple[int, int], side: int) -> FieldGrid:
    """Cells for `find_motion`, as small as their kernels allow."""
    cell = max(_SMALLEST_FINE_CELL, 2 * side)
    rows, columns = (min(max(1, length // cell), _MOST_FINE_CELLS) for length in size)
    return FieldGrid(size, (rows, columns))
