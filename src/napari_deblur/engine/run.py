"""The generators behind the Python functions, the command line and the widgets.

`deblur_steps`, and those that only estimate kernels (written in `napari_deblur.engine.kernel_run`),
yield a `Progress` after every tile and return their result (``result = yield from ...``, or
`drain`).  Closing the generator cancels the run: it stops at the tile it is at, and nothing that it
allocated is left.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Unpack

from napari_deblur.engine.field_restoration import restore_field
from napari_deblur.engine.given import Found, central, check_given
from napari_deblur.engine.kernel_run import kernel_grid_steps, kernel_steps
from napari_deblur.engine.noise import noise_levels
from napari_deblur.engine.opening import open_pair, provenance, restoring_pair
from napari_deblur.engine.options import ImageOptions, Options
from napari_deblur.engine.output import check_output, copy_image
from napari_deblur.engine.progress import Progress, drain
from napari_deblur.engine.region import find_region
from napari_deblur.engine.restoration import Restored, restore
from napari_deblur.engine.results import KernelGridResult, KernelResult, Result
from napari_deblur.engine.search import NothingToEstimateWarning, find_kernel

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from napari_deblur.engine.arrays import ArraySource
    from napari_deblur.engine.auto import Choice
    from napari_deblur.engine.layout import Picture
    from napari_deblur.engine.pair import Pair
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


def deblur_steps(
    image: ArraySource | ArrayLike,
    kernel: ArrayLike | None = None,
    *,
    out: Any = None,
    **told: Unpack[ImageOptions],
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
    options = Options(**told)
    picture = options.open(image)
    area = find_region(options.region, picture.layout.size)
    given = None if kernel is None else check_given(kernel, picture, options)
    if options.grid is not None:
        from napari_deblur.engine.field import check_field_frames

        check_field_frames([picture], options)
    check_output(out, picture)
    pair, choice = yield from open_pair(
        options, [(picture, area)], None if given is None else central(given)
    )
    if given is None:
        found = yield from _find(pair, picture, area, options, choice)
        pair = restoring_pair(pair, options, found.kernel)
    else:
        found = Found.of(check_given(given, picture, options, largest=pair.largest_kernel), picture)
    restored, noise = yield from _restore(pair, picture, found, options, out)
    settings = {
        **provenance(pair, corrected=found.corrected),
        **choice.settings(),
        **options.settings(),
        "field": options.field,
        "grid": None if found.field is None else list(found.field.grid.shape),
        "tile": restored.tile,
        "noise": noise * picture.layout.span,
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
        estimate = yield from find_kernel(pair, frames, options, choice.plan)
        return Found(estimate.kernel, None, estimate.informative, estimate.corrected)
    # What finds fields takes half a second to import.
    from napari_deblur.engine.field import find_field

    found = yield from find_field(pair, frames, options, choice.plan)
    field = found.fine if found.varies else None
    return Found(found.kernel, field, found.informative, found.corrected)


def _restore(
    pair: Pair, picture: Picture, found: Found, options: Options, out: Any
) -> Generator[Progress, None, tuple[Restored, float]]:
    """The image without the blur that was found, and the noise that it was taken to have."""
    if not found.informative:
        return Restored(copy_image(picture, out), tile=None), 0.0
    blur = found.kernel if found.field is None else found.field
    levels = noise_levels(pair, picture, blur, options.noise)
    if found.field is None:
        restored = yield from restore(pair, picture, found.kernel, levels, options, out)
    else:
        restored = yield from restore_field(pair, picture, found.field, levels, options, out)
    return restored, float(levels.mean())
