"""What is read from an image file: the values, what their axes mean, and what goes with them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from napari_deblur.errors import FileError, InputError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "MAX_PIXELS_VARIABLE",
    "FileMetadata",
    "ImageFile",
    "Metadata",
    "PictureMetadata",
    "TiffMetadata",
    "ZarrMetadata",
    "check_pixels",
    "largest_pixels",
]

MAX_PIXELS_VARIABLE = "NAPARI_DEBLUR_MAX_PIXELS"
DEFAULT_MAX_PIXELS = 2**29

Rational = tuple[int, int]


@dataclass(frozen=True)
class TiffMetadata:
    """What a TIFF file holds beside its values, as far as it is written back.

    Attributes
    ----------
    layout : {"plain", "imagej", "ome"}
        Which program's conventions the description follows.
    description : str
        The image description: free text, ImageJ's table, or OME-XML.
    shaped : dict
        Keys of tifffile's own JSON description other than the shape.
    imagej : dict
        ImageJ's further items as tifffile names them: ranges, look-up tables, labels,
        overlays, ...
    resolution : tuple of rational, or None
        Pixels per unit along x and y.
    resolution_unit : int
        1 none, 2 inch, 3 centimetre; ImageJ and OME name theirs in the description.
    compression : int
        The TIFF tag's value; 1 is none.
    predictor : bool
        Whether differences of neighbouring values are compressed.
    tile : tuple of int, or None
        Height and width of the tiles.
    big : bool
        Whether offsets have 64 bits.
    byteorder : {"<", ">"}
        Order of the bytes in the file.
    photometric : int
        The TIFF tag's value: 0 white is zero, 1 black is zero, 2 RGB.
    extrasamples : tuple of int
        Meaning of the samples after RGB or grey.
    orientation : int
        The TIFF tag's value; the values are as stored, not turned.
    icc_profile : bytes or None
        Colour profile.
    """

    layout: Literal["plain", "imagej", "ome"] = "plain"
    description: str = ""
    shaped: dict[str, Any] = field(default_factory=dict)
    imagej: dict[str, Any] = field(default_factory=dict)
    resolution: tuple[Rational, Rational] | None = None
    resolution_unit: int = 1
    compression: int = 1
    predictor: bool = False
    tile: tuple[int, int] | None = None
    big: bool = False
    byteorder: Literal["<", ">"] = "<"
    photometric: int = 1
    extrasamples: tuple[int, ...] = ()
    orientation: int = 1
    icc_profile: bytes | None = None


@dataclass(frozen=True)
class PictureMetadata:
    """What a PNG or JPEG file holds beside its values, as far as it is written back.

    Attributes
    ----------
    format : {"png", "jpeg"}
        Format of the file.
    dpi : tuple of float, or None
        Pixels per inch along x and y.
    icc_profile : bytes or None
        Colour profile.
    exif : bytes or None
        The camera's record, without the orientation: the values are already turned upright.
    """

    format: Literal["png", "jpeg"]
    dpi: tuple[float, float] | None = None
    icc_profile: bytes | None = None
    exif: bytes | None = None


@dataclass(frozen=True)
class ZarrMetadata:
    """Where a Zarr array lies, whose chunks, compression and attributes are written back.

    Attributes
    ----------
    store : Path
        Folder of the array, or of the OME-Zarr image that it belongs to.
    dataset : str or None
        Path of the array in the OME-Zarr image; None where `store` is the array itself.
    """

    store: Path
    dataset: str | None = None


FileMetadata = TiffMetadata | PictureMetadata
"""What an image that is one file holds beside its values."""
Metadata = FileMetadata | ZarrMetadata
"""What an image holds beside its values."""


@dataclass(frozen=True)
class ImageFile:
    """An image as read from a file.

    Attributes
    ----------
    array : numpy.ndarray, or an array that stays in its file
        The values, in the file's dtype and the order of its axes.  From
        `napari_deblur.files.images.open_image` it may be read only where it is sliced.
    axes : str
        One letter per axis: ``Y``, ``X``, ``Z``, ``T`` (time), ``C`` (channel), ``S`` (sample:
        RGB or RGBA), ``Q`` or ``I`` (not known).
    metadata : TiffMetadata, PictureMetadata or ZarrMetadata
        What else `napari_deblur.files.images.write_image` writes back.
    notes : tuple of str
        What was left out or changed while reading, one sentence each; show them to the user.
    """

    array: Any
    axes: str
    metadata: Metadata
    notes: tuple[str, ...] = ()

    @property
    def channel_axis(self) -> int | None:
        """Axis of samples or channels in `array`, or None where there is none."""
        for letter in "SC":
            if letter in self.axes:
                return self.axes.index(letter)
        return None


def largest_pixels(max_pixels: int | None = None) -> int:
    """Return how many pixels a compressed image may have.

    Parameters
    ----------
    max_pixels : int, optional
        The limit; by default that of the variable ``NAPARI_DEBLUR_MAX_PIXELS``, or 2^29.

    Raises
    ------
    InputError
        If the limit is not a positive whole number.
    """
    if max_pixels is None:
        text = os.environ.get(MAX_PIXELS_VARIABLE, "").strip()
        if not text:
            return DEFAULT_MAX_PIXELS
        if not (text.isascii() and text.isdecimal() and int(text) > 0):
            raise InputError(
                f"{MAX_PIXELS_VARIABLE} is {text!r}; it must be a positive whole number of "
                "pixels; change or remove it"
            )
        return int(text)
    if max_pixels < 1:
        raise InputError(f"max_pixels is {max_pixels!r}; it must be at least 1; raise it")
    return max_pixels


def check_pixels(path: Path, pixels: int, limit: int) -> None:
    """Refuse an image that would unpack to more pixels than allowed.

    Raises
    ------
    FileError
        If `pixels` exceeds `limit`.
    """
    if pixels > limit:
        raise FileError(
            f"'{path}' would unpack to {pixels} pixels and at most {limit} are allowed; if you "
            f"trust the file, set {MAX_PIXELS_VARIABLE}={pixels} and try again"
        )
