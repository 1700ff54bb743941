"""``napari-deblur kernel``: an image file in, its blur kernel out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_deblur.cli.imports import quick_imports
from napari_deblur.cli.messages import say
from napari_deblur.cli.options import (
    Axes,
    ChannelAxis,
    Device,
    Gamma,
    Grid,
    InputImage,
    KernelSize,
    Mask,
    Model,
    Overwrite,
    Refine,
    Region,
    Saturation,
    Tile,
)
from napari_deblur.cli.outputs import check_new, make_folder
from napari_deblur.cli.progress import progress_bar
from napari_deblur.defaults import DEFAULT_ROUNDS
from napari_deblur.errors import InputError, OutputError

__all__ = ["check_kernel_file", "kernel"]


def kernel(  # noqa: PLR0913  one parameter for each option
    image: InputImage,
    *,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="K.tif", help="TIFF file for the kernel."),
    ],
    model: Model = "default",
    device: Device = "auto",
    tile: Tile = None,
    kernel_size: KernelSize = None,
    refine: Refine = DEFAULT_ROUNDS,
    gamma: Gamma = 1.0,
    saturation: Saturation = None,
    region: Region = None,
    mask: Mask = None,
    each: Annotated[
        bool,
        typer.Option(
            "--each",
            help="Estimate a kernel for each slice of a stack instead of the one that all share.",
        ),
    ] = False,
    only: Annotated[
        str | None,
        typer.Option(
            "--slice", metavar="LABEL", help="Look at one slice of a stack alone: T3, or T3_Z0."
        ),
    ] = None,
    grid: Grid = None,
    correct: Annotated[
        Path | None,
        typer.Option(
            "--correct",
            metavar="KNOWN.tif",
            help="Correct this kernel, which is nearly right, instead of looking for one: the one "
            "of a slice by that slice.",
        ),
    ] = None,
    axes: Axes = None,
    channel_axis: ChannelAxis = None,
    overwrite: Overwrite = False,
) -> None:
    """Estimate the blur kernel of an image.

    The kernel is a convolution kernel, float32, with sum 1 and its centroid in the middle.  For
    a stack it is the one kernel that all slices share, or the file holds one for each.  For a
    grid it holds one for each cell: rows, columns, and the two axes of the kernels.
    """
    if each and grid is not None:
        raise InputError("--each and --grid exclude each other; give --slice with --grid")
    if correct is not None and (each or grid is not None):
        raise InputError("--correct goes with neither --each nor --grid; leave them out")
    check_kernel_file(output)
    check_new(output, [image, *([correct] if correct else [])], overwrite=overwrite)
    with quick_imports():
        from napari_deblur.blur.kernel import kernel_support
        from napari_deblur.cli.kernel_files import write_grid, write_kernels
        from napari_deblur.cli.work import (
            Settings,
            correct_each,
            estimate_each,
            estimate_grid,
            estimate_pooled,
            open_stack,
            read_region,
        )

    settings = Settings(
        model,
        device,
        tile,
        kernel_size,
        refine,
        region=read_region(region, mask),
        gamma=gamma,
        saturation=saturation,
    )
    settings.open()
    _, stack = open_stack(image, axes, channel_axis, only)
    with progress_bar() as report:
        if grid is not None:
            found = list(estimate_grid(stack, grid, settings, report, image.name))
        elif correct is not None:
            found = correct_each(stack, correct, settings)
        elif each:
            found = estimate_each(stack, settings, report, image.name)
        else:
            found = [estimate_pooled(stack, settings, report, image.name)]
    make_folder(output)
    if grid is not None:
        write_grid(output, found, grid)
    else:
        write_kernels(output, found, stack)
    used, side = (max(map(of, found)) for of in (kernel_support, len))
    say(f"{image} -> {output} ({used} x {used} px of {side} x {side} in use)")


def check_kernel_file(path: Path) -> None:
    """Check that a kernel's file is called a TIFF: other formats cannot hold its values.

    Raises
    ------
    OutputError
        If it is not.
    """
    if path.suffix.lower() not in (".tif", ".tiff"):
        raise OutputError(
            f"'{path}' cannot hold a kernel, whose values are float32; "
            "give a name that ends in .tif"
        )
