"""Your own pairs of blurry and sharp images.

Either the folders ``blurry`` and ``sharp`` (and, where kernels are known, ``kernel``)
with files of equal names, or files ``NAME_blurry``, ``NAME_sharp`` and ``NAME_kernel`` side
by side.  Suffixes may differ.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from napari_deblur.evaluation.benchmark import Case, Protocol
from napari_deblur.evaluation.listing import blurry_files, find_image, partner

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PROTOCOL", "find_cases"]

PROTOCOL = Protocol(crop=15, largest_shift=10, luma=False)
"""A kernel is known only up to a shift, so images are aligned here, too."""

_ANY = re.compile(r"(?P<name>.+)")
_MARKED = re.compile(r"(?P<name>.+)_blurry")


def find_cases(folder: Path) -> list[Case]:
    """List the pairs of a folder.

    Raises
    ------
    FileError
        If there is none, or the truth of one is missing.
    """
    if (folder / "blurry").is_dir():
        return [
            Case(
                name=path.stem,
                group="all",
                blurry=path,
                sharp=partner(folder / "sharp" / path.name, path.stem),
                kernel=find_image(folder / "kernel", path.stem),
            )
            for path, _ in blurry_files(folder / "blurry", _ANY, "NAME.png")
        ]
    return [
        Case(
            name=match["name"],
            group="all",
            blurry=path,
            sharp=partner(path, f"{match['name']}_sharp"),
            kernel=find_image(folder, f"{match['name']}_kernel"),
        )
        for path, match in blurry_files(folder, _MARKED, "NAME_blurry.png")
    ]
