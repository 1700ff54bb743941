"""``napari-deblur kernel``: an image file in, its blur kernel out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_deblur.cli.messages import say
from napari_deblur.cli.options import (
    Device,
    InputImage,
    KernelSize,
    Model,
    Overwrite,
    Refine,
    Tile,
)
from napari_deblur.cli.outputs import check_new, make_folder
from napari_deblur.cli.progress import progress_bar
from napari_deblur.defaults import DEFAULT_ROUNDS
from napari_deblur.errors import OutputError

__all__ = ["check_kernel_file", "kernel"]


def kernel(
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
    overwrite: Overwrite = False,
) -> None:
    """Estimate the blur kernel of an image.

    The kernel is a convolution kernel, float32, with sum 1 and its centroid in the middle.  For
    a stack it is the one kernel that all slices share.
    """
    check_kernel_file(output)
    check_new(output, [image], overwrite=overwrite)
    from napari_deblur.blur.kernel import kernel_support
    from napari_deblur.cli.work import Settings, Stack, estimate_pooled
    from napari_deblur.files.images import read_image
    from napari_deblur.files.kernels import write_kernel

    settings = Settings(model, device, tile, kernel_size, refine)
    settings.open()
    with progress_bar() as report:
        found = estimate_pooled(Stack.of(read_image(image)), settings, report, image.name)
    make_folder(output)
    write_kernel(output, found)
    side = kernel_support(found)
    say(f"{image} -> {output} ({side} x {side} px of {found.shape[0]} x {found.shape[1]} in use)")


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
