"""Options that several commands share, so that they are called and explained alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Device",
    "InputImage",
    "KernelSize",
    "Model",
    "Overwrite",
    "Refine",
    "SaveKernel",
    "Tile",
    "number",
    "whole_number",
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


Model = Annotated[
    str,
    typer.Option(
        help="Pair of networks: a name from 'models list', or a folder that holds "
        "analysis.safetensors and synthesis.safetensors."
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
        "default the model's own.",
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
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace outputs that exist; inputs are never replaced."),
]
SaveKernel = Annotated[
    bool,
    typer.Option("--save-kernel", help="Also write the kernel, as OUT_kernel.tif."),
]
InputImage = Annotated[
    Path, typer.Argument(metavar="IN", help="Image file: TIFF, OME-TIFF, PNG or JPEG.")
]
