"""Finding the files of a benchmark."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from napari_deblur.errors import FileError
from napari_deblur.evaluation.benchmark import Case

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["blurry_files", "cases_of_kernels", "find_image", "partner"]

_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")


def blurry_files(
    folder: Path, name: re.Pattern[str], example: str
) -> list[tuple[Path, re.Match[str]]]:
    """List image files whose stem matches `name` as a whole, in natural order.

    Raises
    ------
    FileError
        If the folder does not exist or has no such file; `example` says what is expected.
    """
    if not folder.is_dir():
        raise FileError(f"'{folder}' is not a folder; give the folder of the benchmark's images")
    found = [
        (path, match)
        for path in folder.iterdir()
        if path.suffix.lower() in _SUFFIXES and (match := name.fullmatch(path.stem))
    ]
    if not found:
        raise FileError(
            f"'{folder}' holds no blurry image named like {example}; "
            "give the folder of the benchmark's images"
        )
    return sorted(found, key=lambda entry: _natural(entry[0].stem))


def cases_of_kernels(folder: Path, name: re.Pattern[str], example: str) -> list[Case]:
    """List the cases of a benchmark in which several images are blurred with the same kernels.

    Parameters
    ----------
    folder
        Holds ``{image}_{kernel}_blurry``, ``{image}_sharp`` and ``{kernel}``.
    name
        Matches the stem of a blurry image, with groups ``image``, ``kernel`` and ``group``.
    example
        A blurry image's name, for messages.

    Raises
    ------
    FileError
        If there is none, or the truth of one is missing.
    """
    return [
        Case(
            name=f"{match['image']}_{match['kernel']}",
            group=match["group"],
            blurry=path,
            sharp=partner(path, f"{match['image']}_sharp"),
            kernel=find_image(folder, match["kernel"]),
        )
        for path, match in blurry_files(folder, name, example)
    ]


def find_image(folder: Path, stem: str) -> Path | None:
    """Find the image file of this stem in a folder, whatever its format."""
    candidates = (folder / f"{stem}{suffix}" for suffix in _SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)


def partner(blurry: Path, stem: str) -> Path:
    """Find the file `stem` beside a blurry image.

    Raises
    ------
    FileError
        If there is none.
    """
    found = find_image(blurry.parent, stem)
    if found is None:
        raise FileError(
            f"'{blurry.parent / stem}' ({', '.join(_SUFFIXES)}) is not there, but "
            f"'{blurry.name}' needs it; add it or take the blurry image away"
        )
    return found


def _natural(text: str) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", text)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
