"""Options that several commands share, so that they are called and explained alike."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = [
    "Axes",
    "ChannelAxis",
    "Device",
    "Field",
    "FieldGrid",
    "Gamma",
    "Grid",
    "InputImage",
    "KernelSize",
    "Mask",
    "Model",
    "Noise",
    "Overwrite",
    "Refine",
    "Region",
    "Saturation",
    "SaveKernel",
    "Scheduler",
    "Tile",
    "number",
    "rows_by_columns",
    "whole_number",
    "window",
]


def whole_number(text: str) -> int:
    """Read a whole number from an option; a refusal names what was given."""
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a whole number") from None


def number(text: str) -> float:
    """Read a number from an option; a refusal names what was given."""
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a number") from None


def window(text: str) -> tuple[slice, slice]:
    """Read rows and columns, ``10:200,30:400``, from an option."""
    found = re.fullmatch(r"(\d+):(\d+),(\d+):(\d+)", text.replace(" ", ""))
    if found is None:
        raise typer.BadParameter(f"{text!r} is not rows and columns like 10:200,30:400")
    top, bottom, left, right = map(int, found.groups())
    return slice(top, bottom), slice(left, right)


def rows_by_columns(text: str) -> tuple[int, int]:
    """Read the rows and columns of a grid, ``3x4``, from an option."""
    found = re.fullmatch(r"(\d+)\s*[xX×]\s*(\d+)", text.strip())  # noqa: RUF001
    if found is None:
        raise typer.BadParameter(f"{text!r} is not rows by columns like 3x4")
    return int(found[1]), int(found[2])


Model = Annotated[
    str,
    typer.Option(
        help="Pair of networks: a name from 'models list', 'auto' to let a classifier of the "
        "blur's size alone choose (the default tries its own size too), "
        "or a folder that holds analysis.safetensors and synthesis.safetensors."
    ),
]
Device = Annotated[
    str, typer.Option(help="Where to compute: auto, cpu, cuda, cuda:N or mps.", metavar="DEVICE")
]
Tile = Annotated[
    int | None,
    typer.Option(
        parser=whole_number,
        metavar="PIXELS",
        help="Side of a tile; smaller needs less memory.  By default what fits.",
    ),
]
KernelSize = Annotated[
    int | None,
    typer.Option(
        parser=whole_number,
        metavar="PIXELS",
        help="Side of the kernel that is estimated, odd, 3 to 171, larger than the blur.  By "
        "default the model's own, and more where the blur turns out to need it.",
    ),
]
Refine = Annotated[
    int,
    typer.Option(
        parser=whole_number,
        metavar="ROUNDS",
        help="Rounds in which the estimated kernel is improved on the image; 0 is fastest.",
    ),
]
Region = Annotated[
    Any,
    typer.Option(
        parser=window,
        metavar="ROWS,COLUMNS",
        help="Part of the image to estimate the kernel from, like 10:200,30:400 in pixels.",
    ),
]
Mask = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Image of the same height and width whose pixels other than 0 mark the part to "
        "estimate the kernel from.",
    ),
]
Grid = Annotated[
    Any,
    typer.Option(
        parser=rows_by_columns,
        metavar="ROWSxCOLUMNS",
        help="Estimate a kernel for each cell of a grid over the image, like 3x4.",
    ),
]
Field = Annotated[
    str,
    typer.Option(
        metavar="uniform|grid",
        help="Whether one kernel blurred the whole image, or kernels that vary over it.",
    ),
]
FieldGrid = Annotated[
    Any,
    typer.Option(
        "--grid",
        parser=rows_by_columns,
        metavar="ROWSxCOLUMNS",
        help="Cells of '--field grid', like 3x4.  By default chosen from the image and its blur.",
    ),
]
Axes = Annotated[
    str | None,
    typer.Option(
        metavar="LETTERS",
        help="What the file's axes are where it does not say so, or wrongly: Y, X, T, Z, C, "
        "and S for RGB(A) samples.  TZYX, for instance.",
    ),
]
ChannelAxis = Annotated[
    str | None,
    typer.Option(
        metavar="LETTER",
        help="Axis whose entries were taken in one exposure and share a kernel, C mostly.  By "
        "default each is an image of its own.",
    ),
]
Noise = Annotated[
    float | None,
    typer.Option(
        parser=number,
        metavar="SIGMA",
        help="Standard deviation of the noise in the image's own units; larger is smoother.  "
        "Measured by default.",
    ),
]
Gamma = Annotated[
    float,
    typer.Option(
        parser=number,
        metavar="EXPONENT",
        help="Deblur values to this power, in linear light, and encode them again: 2.2 for "
        "photographs from a camera.",
    ),
]
Saturation = Annotated[
    float | None,
    typer.Option(
        parser=number,
        metavar="LEVEL",
        help="Value in the image's own units from which pixels count as clipped; inf if none is.  "
        "Found by default.",
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace outputs that exist; inputs are never replaced."),
]
SaveKernel = Annotated[
    bool,
    typer.Option(
        "--save-kernel",
        help="Also write the kernel, as OUT_kernel.tif; of a stack, those of all slices.",
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        metavar="ADDRESS",
        help="Compute on a cluster of dask.distributed: address of its scheduler, or scheduler "
        "file.  Of several images each is a task; a single one is cut into blocks.",
    ),
]
InputImage = Annotated[
    Path, typer.Argument(metavar="IN", help="Image file: TIFF, OME-TIFF, PNG, JPEG, Zarr.")
]
