"""The generators behind the Python functions, the command line and the widgets.

`deblur_steps` and `kernel_steps` yield a `Progress` after every tile and return their result
(``result = yield from ...``, or `drain`).  Closing the generator cancels the run: it stops at the
tile it is at, and nothing that it allocated is left.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_deblur.engine.auto import Choice, choose
from napari_deblur.engine.devices import pick_device
from napari_deblur.engine.field_restoration import restore_field
from napari_deblur.engine.given import Found, central, check_given
from napari_deblur.engine.noise import noise_levels
from napari_deblur.engine.options import Options
from napari_deblur.engine.output import check_output, copy_image
from napari_deblur.engine.pair import Pair, load_pair
from napari_deblur.engine.progress import Progress, drain
from napari_deblur.engine.refinement import DEFAULT_ROUNDS
from napari_deblur.engine.region import find_region
from napari_deblur.engine.restoration import Restored, restore
from napari_deblur.engine.results import KernelGridResult, KernelResult, Result
from napari_deblur.engine.search import NothingToEstimateWarning, find_kernel

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_deblur.engine.arrays import ArraySource
    from napari_deblur.engine.layout import Picture
    from napari_deblur.engine.region import Region

__all__ = [
    "KernelGridResult",
    "KernelResult",
    "NothingToEstimateWarning",
    "Result",
    "deblur_steps",
    "drain",
    "kernel_grid_steps",
    "kernel_steps",
]


def kernel_steps(
    image: ArraySource | ArrayLike,
    *more: ArraySource | ArrayLike,
    model: str | Path = "default",
    channel_axis: int | None = None,
    device: str = "auto",
    tile: int | None = None,
    region: tuple[slice, slice] | NDArray[np.bool_] | None = None,
    kernel_size: int | None = None,
    refine: int = DEFAULT_ROUNDS,
    gamma: float = 1.0,
    saturation: float | None = None,
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
    options = Options(
        model=model,
        channel_axis=channel_axis,
        device=device,
        tile=tile,
        region=region,
        kernel_size=kernel_size,
        refine=refine,
        gamma=gamma,
        saturation=saturation,
    )
    pictures = [options.open(each) for each in (image, *more)]
    frames = [(each, find_region(region, each.layout.size)) for each in pictures]
    pair, choice = yield from _load(options, frames)
    found = yield from find_kernel(pair, frames, options, choice.kernel_sizes)
    settings = {
        **_provenance(pair),
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
    model: str | Path = "default",
    channel_axis: int | None = None,
    device: str = "auto",
    tile: int | None = None,
    region: tuple[slice, slice] | NDArray[np.bool_] | None = None,
    kernel_size: int | None = None,
    refine: int = DEFAULT_ROUNDS,
    gamma: float = 1.0,
    saturation: float | None = None,
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
    options = Options(
        model=model,
        channel_axis=channel_axis,
        device=device,
        tile=tile,
        region=region,
        kernel_size=kernel_size,
        refine=refine,
        gamma=gamma,
        saturation=saturation,
        field="grid",
        grid=grid,
    )
    from napari_deblur.engine.field import check_field_frames, find_field

    pictures = [options.open(each) for each in (image, *more)]
    check_field_frames(pictures, options)
    frames = [(each, find_region(region, each.layout.size)) for each in pictures]
    pair, choice = yield from _load(options, frames)
    found = yield from find_field(pair, frames, options, choice.kernel_sizes)
    settings = {
        **_provenance(pair),
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


def deblur_steps(  # noqa: PLR0913  one parameter for each option
    image: ArraySource | ArrayLike,
    kernel: ArrayLike | None = None,
    *,
    model: str | Path = "default",
    channel_axis: int | None = None,
    device: str = "auto",
    tile: int | None = None,
    region: tuple[slice, slice] | NDArray[np.bool_] | None = None,
    kernel_size: int | None = None,
    refine: int = DEFAULT_ROUNDS,
    gamma: float = 1.0,
    saturation: float | None = None,
    field: Literal["uniform", "grid"] = "uniform",
    grid: tuple[int, int] | None = None,
    noise: float | None = None,
    value_range: tuple[float, float] | None = None,
    out: Any = None,
) -> Generator[Progress, None, Result]:
    """Deblur an image, tile by tile.

    Parameters
    ----------
    image, kernel, model, channel_axis, device, tile, region, kernel_size, refine, gamma, \
saturation, field, grid, noise, value_range, out
        See `napari_deblur.deblur`.

    Yields
    ------
    Progress
        After each tile.

    Returns
    -------
    Result

    Raises
    ------
    DeblurError
        See `napari_deblur.deblur`.

    Warns
    -----
    NothingToEstimateWarning
        When no kernel is given and the image has no texture to estimate one from.
    """
    start = time.perf_counter()
    options = Options(
        model=model,
        channel_axis=channel_axis,
        device=device,
        tile=tile,
        region=region,
        kernel_size=kernel_size,
        refine=refine,
        gamma=gamma,
        saturation=saturation,
        field=field,
        grid=grid,
        noise=noise,
        value_range=value_range,
    )
    picture = options.open(image)
    area = find_region(region, picture.layout.size)
    given = None if kernel is None else check_given(kernel, picture, options)
    if options.grid is not None:
        from napari_deblur.engine.field import check_field_frames

        check_field_frames([picture], options)
    check_output(out, picture)
    pair, choice = yield from _load(
        options, [(picture, area)], None if given is None else central(given)
    )
    if given is None:
        found = yield from _find(pair, picture, area, options, choice)
    else:
        found = Found.of(check_given(given, picture, options, largest=pair.largest_kernel), picture)
    if not found.informative:
        levels = np.zeros(1, np.float32)
        restored = Restored(copy_image(picture, out), tile=None)
    else:
        blur = found.kernel if found.field is None else found.field
        levels = noise_levels(pair, picture, blur, noise)
        if found.field is None:
            restored = yield from restore(pair, picture, found.kernel, levels, options, out)
        else:
            restored = yield from restore_field(pair, picture, found.field, levels, options, out)
    settings = {
        **_provenance(pair),
        **choice.settings(),
        **options.settings(),
        "field": field,
        "grid": None if found.field is None else list(found.field.grid.shape),
        "tile": restored.tile,
        "noise": float(levels.mean()) * picture.layout.span,
        "value_range": [picture.layout.low, picture.layout.high],
        "kernel": "estimated" if given is None else "given",
    }
    seconds = time.perf_counter() - start
    return Result(
        restored.image,
        found.kernel,
        found.field,
        found.informative,
        pair.name,
        str(pair.device),
        seconds,
        settings,
    )


def _find(
    pair: Pair, picture: Picture, area: Region, options: Options, choice: Choice
) -> Generator[Progress, None, Found]:
    """The kernel of the whole image, and where the blur varies those of a field."""
    frames = [(picture, area)]
    if options.field == "uniform":
        estimate = yield from find_kernel(pair, frames, options, choice.kernel_sizes)
        return Found(estimate.kernel, None, estimate.informative)
    # What finds fields takes half a second to import.
    from napari_deblur.engine.field import find_field

    found = yield from find_field(pair, frames, options, choice.kernel_sizes)
    return Found(found.kernel, found.fine if found.varies else None, found.informative)


def _load(
    options: Options,
    frames: Sequence[tuple[Picture, Region]],
    kernel: NDArray[np.float32] | None = None,
) -> Generator[Progress, None, tuple[Pair, Choice]]:
    """The pair, and what ``model="auto"`` chose."""
    device = pick_device(options.device)
    yield Progress("load", 0, 1)
    choice = choose(options, frames, device, kernel)
    pair = load_pair(choice.model, device)
    yield Progress("load", 1, 1)
    return pair, choice


def _provenance(pair: Pair) -> dict[str, Any]:
    return {
        "model": pair.name,
        "weights": dict(pair.hashes),
        "device": str(pair.device),
        "precision": str(pair.precision).removeprefix("torch."),
    }
