"""Options that several commands share, so that they are called and explained alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Device", "Model", "Overwrite", "SaveKernel", "Tile"]

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
        help="Side of a tile in pixels; smaller needs less memory.  By default what fits."
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
