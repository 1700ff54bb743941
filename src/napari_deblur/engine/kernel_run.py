"""The generators that estimate kernels without deblurring; see `napari_deblur.engine.run`."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Unpack

from napari_deblur.engine.opening import open_pair, provenance
from napari_deblur.engine.options import KernelOptions, Options
from napari_deblur.engine.progress import Progress
from napari_deblur.engine.region import find_region
from napari_deblur.engine.results import KernelGridResult, KernelResult
from napari_deblur.engine.search import find_kernel

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from napari_deblur.engine.arrays import ArraySource

__all__ = ["kernel_grid_steps", "kernel_steps"]


def kernel_steps(
    image: ArraySource | ArrayLike,
    *more: ArraySource | ArrayLike,
    **told: Unpack[KernelOptions],
) -> Generator[Progress, None, KernelResult]:
    """Estimate the kernel of an image, or the one kernel that several images share.

    Parameters
    ----------
    image, *more : arrays
        See `napari_deblur.deblur`.  Of several (frames of a stack, channels), the correlation
        statistics are averaged, which gives a better kernel where each alone is noisy.
    model, channel_axis, device, tile
        See `napari_deblur.deblur`.
    region : pair of slice, or array of shape (H, W), optional
        Rows and columns, or a mask, of the part of every image that counts.
    kernel_size, refine, gamma, saturation
        See `napari_deblur.deblur`.

    Yields
    ------
    Progress
        After each window.

    Returns
    -------
    KernelResult

    Raises
    ------
    DeblurError
        See `napari_deblur.deblur`.

    Warns
    -----
    NothingToEstimateWarning
        When no image has any texture.
    """
    start = time.perf_counter()
    options = Options(**told)
    pictures = [options.open(each) for each in (image, *more)]
    frames = [(each, find_region(options.region, each.layout.size)) for each in pictures]
    pair, choice = yield from open_pair(options, frames)
    found = yield from find_kernel(pair, frames, options, choice.plan)
    settings = {
        **provenance(pair, corrected=found.corrected),
        **choice.settings(),
        **options.settings(),
        "frames": len(frames),
    }
    seconds = time.perf_counter() - start
    return KernelResult(
        found.kernel, found.informative, pair.name, str(pair.device), seconds, settings
    )


def kernel_grid_steps(
    image: ArraySource | ArrayLike,
    *more: ArraySource | ArrayLike,
    grid: tuple[int, int] | None = None,
    **told: Unpack[KernelOptions],
) -> Generator[Progress, None, KernelGridResult]:
    """Estimate kernels on a grid over an image, or over several that share the same field.

    Parameters
    ----------
    image, *more : arrays
        See `kernel_steps`; all of one height and width.
    grid : tuple of int, optional
        Rows and columns of cells; chosen from the size of the image and of its blur by default.
    model, channel_axis, device, tile, region, kernel_size, refine, gamma, saturation
        See `kernel_steps`.

    Yields
    ------
    Progress
        After each window and each step.

    Returns
    -------
    KernelGridResult

    Raises
    ------
    InputError
        When the images differ in size, or the grid does not fit them.
    DeblurError
        See `napari_deblur.deblur`.

    Warns
    -----
    NothingToEstimateWarning
        When no image has any texture.
    """
    start = time.perf_counter()
    options = Options(field="grid", grid=grid, **told)
    from napari_deblur.engine.field import check_field_frames, find_field

    pictures = [options.open(each) for each in (image, *more)]
    check_field_frames(pictures, options)
    frames = [(each, find_region(options.region, each.layout.size)) for each in pictures]
    pair, choice = yield from open_pair(options, frames)
    found = yield from find_field(pair, frames, options, choice.plan)
    settings = {
        **provenance(pair, corrected=found.corrected),
        **choice.settings(),
        **options.settings(),
        "grid": list(found.field.grid.shape),
        "frames": len(frames),
    }
    return KernelGridResult(
        found.field,
        found.kernel,
        found.varies,
        found.evidence,
        found.trusted,
        found.informative,
        pair.name,
        str(pair.device),
        time.perf_counter() - start,
        settings,
    )
