"""Read and write image files: TIFF with its flavours, PNG, JPEG and Zarr.

What a file *is* is decided by its content on reading and by its name on writing.  Images that may
be larger than the memory are opened by `open_image` and written by `create_image`, window by
window.
"""

from __future__ import annotations

import math
import os
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_deblur.errors import DeblurError, FileError, InputError, OutputError
from napari_deblur.files.atomic import atomic_folder, atomic_path, check_output
from napari_deblur.files.formats import OUTPUT_SUFFIXES, Format, recognise, why_not
from napari_deblur.files.image_file import (
    ImageFile,
    PictureMetadata,
    TiffMetadata,
    ZarrMetadata,
    check_pixels,
    largest_pixels,
)
from napari_deblur.files.zarr_store import check_store_output, create_zarr, open_zarr, stored_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import DTypeLike, NDArray

__all__ = [
    "OUTPUT_SUFFIXES",
    "ImageFile",
    "PictureMetadata",
    "TiffMetadata",
    "ZarrMetadata",
    "check_image_output",
    "create_image",
    "open_image",
    "read_image",
    "write_image",
]


def read_image(path: str | os.PathLike[str], *, max_pixels: int | None = None) -> ImageFile:
    """Read an image file.

    Parameters
    ----------
    path : path
        TIFF (also OME-TIFF, ImageJ, BigTIFF), PNG or JPEG file, recognised by its content.
    max_pixels : int, optional
        How many pixels a compressed file may unpack to, as a guard against files made to fill
        the memory; by default 2^29 or what the variable ``NAPARI_DEBLUR_MAX_PIXELS`` says.
        Files that are as large on the disk as in memory are always read.

    Returns
    -------
    ImageFile
        The values in the file's own dtype, their axes, and the metadata.  Of a TIFF file with
        several series the first is read; palettes become RGB; photographs are turned upright.
        `ImageFile.notes` says what was left out.

    Raises
    ------
    FileError
        If the file is missing, empty, no image, damaged, or too large; the message says which.
    InputError
        If the limit is not a positive number.
    """
    image = open_image(path, max_pixels=max_pixels)
    if isinstance(image.array, np.ndarray):
        return image
    if isinstance(image.metadata, ZarrMetadata):
        _check_store(Path(path), image, largest_pixels(max_pixels))
    try:
        return replace(image, array=image.array[...])
    except MemoryError as error:
        raise FileError(_explain(Path(path), "tiff", error)) from error


def open_image(path: str | os.PathLike[str], *, max_pixels: int | None = None) -> ImageFile:
    """Open an image file; large ones are read piece by piece, where they are sliced.

    Parameters
    ----------
    path, max_pixels
        See `read_image`.

    Returns
    -------
    ImageFile
        Like `read_image`'s, but the array of a large TIFF file and of a Zarr store stays in the
        file: it has `shape`, `dtype`, `ndim` and slicing, and can be sent to other processes.
        Compressed and tiled TIFF files need the package zarr for that, and are otherwise read
        as a whole; so are PNG and JPEG.

    Raises
    ------
    FileError, InputError
        See `read_image`.  Damage within an array that stays in its file is found, and a
        `FileError` raised, when that part is read.
    """
    path = Path(path)
    limit = largest_pixels(max_pixels)
    kind = recognise(path)
    try:
        image = _open(path, kind, limit)
    except DeblurError:
        raise
    except Exception as error:  # decoders raise anything on damaged files
        raise FileError(_explain(path, kind, error)) from error
    if 0 in image.array.shape:
        raise FileError(f"'{path}' holds an image without pixels; check how it was made")
    return image


def _check_store(path: Path, image: ImageFile, limit: int) -> None:
    """Refuse a store that unpacks to more pixels than allowed: chunks may be missing altogether."""
    pixels = math.prod(image.array.shape)
    if pixels > limit and image.array.nbytes > stored_bytes(path):
        check_pixels(path, pixels, limit)


def _open(path: Path, kind: Format, limit: int) -> ImageFile:
    if kind == "zarr":
        return open_zarr(path, limit)
    if kind != "tiff":
        from napari_deblur.files.pictures import read_picture

        return read_picture(path, kind, limit)
    from napari_deblur.files.tiff_reader import open_tiff, read_tiff

    return open_tiff(path, limit) or read_tiff(path, limit)


def write_image(
    path: str | os.PathLike[str],
    array: NDArray[Any],
    like: ImageFile | None = None,
    *,
    axes: str | None = None,
) -> None:
    """Write an image file, completely or not at all.

    Parameters
    ----------
    path : path
        File to write; the suffix chooses the format (see `OUTPUT_SUFFIXES`), and ``.ome.tif``
        asks for OME-TIFF.  An existing file is replaced.
    array : numpy.ndarray
        Values.  PNG takes ``(H, W)`` or ``(H, W, 1 to 4)`` of uint8 or uint16, JPEG ``(H, W)``
        or ``(H, W, 3)`` of uint8, TIFF any shape of integers, floats or complex numbers.
    like : ImageFile, optional
        The image that `array` was made from.  If the shapes agree, axes, resolution, units,
        channel names, ImageJ's and OME's metadata, and a lossless compression are kept.
    axes : str, optional
        One letter per axis as in `ImageFile.axes`; by default those of `like`.

    Raises
    ------
    OutputError
        If the name or the values do not suit the format, or the file cannot be written.
    InputError
        If `axes` has not one letter per axis.
    """
    with create_image(path, array.shape, array.dtype, like, axes=axes) as out:
        out[...] = array


@contextmanager
def create_image(
    path: str | os.PathLike[str],
    shape: tuple[int, ...],
    dtype: DTypeLike,
    like: ImageFile | None = None,
    *,
    axes: str | None = None,
) -> Iterator[Any]:
    """Write an image file window by window, completely or not at all.

    Parameters
    ----------
    path, like, axes
        See `write_image`; a name that ends in ``.zarr`` asks for a Zarr store.  An existing store
        is replaced.
    shape : tuple of int
        Shape of the whole array.
    dtype : dtype
        Type of its values.

    Yields
    ------
    array
        What to write to: it takes slices, in any order.  Only PNG and JPEG files are held in
        memory until the block ends.  The file has its name when the block has ended well.

    Raises
    ------
    OutputError, InputError
        See `write_image`.  Nothing is left behind then, or when the block raises anything.
    """
    dtype = np.dtype(dtype)
    kind = check_image_output(path, shape, dtype)
    if like is not None and like.array.shape != shape:
        like = None
    axes = axes or (like.axes if like is not None else None)
    if axes is not None and len(axes) != len(shape):
        raise InputError(
            f"axes {axes!r} are {len(axes)} letters for an array of {len(shape)} axes; "
            "give one letter per axis"
        )
    metadata = None if like is None else like.metadata
    if like is not None and like.array.dtype != dtype and kind == "zarr":
        metadata = None
    if kind == "zarr":
        with atomic_folder(path) as temporary:
            yield create_zarr(temporary, shape, dtype, axes, metadata)
        return
    if isinstance(metadata, ZarrMetadata):  # of which a file takes the axes alone
        metadata = None
    if kind == "tiff":
        from napari_deblur.files.tiff_writer import create_tiff

        with (
            atomic_path(path) as temporary,
            create_tiff(temporary, shape, dtype, axes, metadata) as out,
        ):
            yield out
    else:
        from napari_deblur.files.pictures import write_picture

        with atomic_path(path) as temporary:
            array = np.empty(shape, dtype)
            yield array
            write_picture(temporary, array, kind, metadata)


def check_image_output(
    path: str | os.PathLike[str], shape: tuple[int, ...], dtype: DTypeLike
) -> Format:
    """Check that `write_image` could write such an array, before a long computation.

    Transparency in a JPEG file is found only when the values are known.

    Parameters
    ----------
    path : path
        File that will be written.
    shape : tuple of int
        Shape of the array.
    dtype : dtype
        Type of its values.

    Returns
    -------
    {"tiff", "png", "jpeg", "zarr"}
        The format that the name asks for.

    Raises
    ------
    OutputError
        If the name or the values do not suit the format, or the file cannot be written.
    """
    path = Path(path)
    kind = OUTPUT_SUFFIXES.get(path.suffix.lower())
    if kind is None:
        allowed = ", ".join(OUTPUT_SUFFIXES)
        raise OutputError(
            f"cannot write '{path}': its suffix '{path.suffix}' is no image format; "
            f"use one of {allowed}"
        )
    if kind == "zarr":
        check_store_output(path)
    else:
        check_output(path)
    problem = why_not(kind, shape, np.dtype(dtype))
    if problem:
        raise OutputError(f"cannot write '{path}': {problem}")
    return kind


def _explain(path: Path, kind: Format, error: Exception) -> str:
    detail = " ".join(str(error).split()) or type(error).__name__
    if "imagecodecs" in detail:
        return (
            f"cannot read '{path}': {detail[:200]}; install it with 'pip install imagecodecs', "
            "or save the image without compression"
        )
    if isinstance(error, MemoryError):
        return f"cannot read '{path}': it does not fit into memory; cut it into parts"
    return (
        f"cannot read '{path}': damaged or unusual {kind.upper()} file ({detail[:200]}); "
        "copy it again from its source, or save it anew with another program"
    )
