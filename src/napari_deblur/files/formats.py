"""The formats of image files: how each is recognised, and what it can hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_deblur.errors import FileError
from napari_deblur.files.zarr_store import is_zarr

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["OUTPUT_SUFFIXES", "Format", "PictureFormat", "recognise", "why_not"]

PictureFormat = Literal["png", "jpeg"]
Format = Literal["tiff", "png", "jpeg", "zarr"]

OUTPUT_SUFFIXES: dict[str, Format] = {
    ".tif": "tiff",
    ".tiff": "tiff",
    ".png": "png",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".zarr": "zarr",
}
"""Suffixes that `write_image` knows, and the formats that they stand for."""

_SIGNATURES: tuple[tuple[bytes, Format], ...] = (
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
)


def recognise(path: Path) -> Format:
    """Return the format of a file by its first bytes, or of a folder that is a Zarr store.

    Raises
    ------
    FileError
        If there is no such file, or it is empty, cannot be read, or is none of the formats.
    """
    if path.is_dir() and is_zarr(path):
        return "zarr"
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except FileNotFoundError as error:
        raise FileError(f"there is no file '{path}'; check the name") from error
    except IsADirectoryError as error:
        raise FileError(f"'{path}' is a folder and no Zarr store; give an image") from error
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        folder = isinstance(error, PermissionError) and path.is_dir()  # so says Windows
        what = "it is a folder" if folder else reason
        raise FileError(f"cannot read '{path}': {what}; check the file") from error
    if not start:
        raise FileError(f"'{path}' is empty; copy it again from its source")
    for signature, kind in _SIGNATURES:
        if start.startswith(signature):
            return kind
    raise FileError(
        f"'{path}' is not a TIFF, PNG or JPEG image; convert it to one of them, or leave it out"
    )


def why_not(kind: Format, shape: tuple[int, ...], dtype: np.dtype[Any]) -> str | None:
    """Return why a format cannot hold such an array and what to do instead; None if it can."""
    if not shape or 0 in shape:
        return f"an array of shape {shape} holds no image; give one with pixels"
    if kind == "zarr":
        return None if dtype.kind in "uifcb" else f"an image holds numbers and not {dtype}"
    if kind != "tiff":
        return _picture_problem(kind, shape, dtype)
    if dtype.kind in "uifc" and dtype.itemsize <= 16:
        return None
    return f"TIFF holds numbers and not {dtype}; convert the values to uint8 first"


def _picture_problem(
    kind: PictureFormat, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> str | None:
    channels = (1, 2, 3, 4) if kind == "png" else (1, 3, 4)
    name = kind.upper()
    if len(shape) != 2 and (len(shape) != 3 or shape[2] not in channels):
        return (
            f"{name} holds one grey or colour picture (H, W) or (H, W, C) and not shape {shape}; "
            "write a TIFF file"
        )
    if dtype == np.uint16 and kind == "jpeg":
        return "JPEG holds uint8 and not uint16; write a PNG or TIFF file"
    if dtype not in (np.uint8, np.uint16):
        held = "uint8" if kind == "jpeg" else "uint8 and uint16"
        return f"{name} holds {held} and not {dtype}; write a TIFF file"
    if kind == "jpeg" and max(shape[:2]) > 65535:
        return f"JPEG holds at most 65535 pixels per side and not {shape[:2]}; write a PNG file"
    return None
