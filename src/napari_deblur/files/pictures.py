"""PNG and JPEG files, decoded and encoded by Pillow, which comes with scikit-image.

Pillow itself rather than `skimage.io`: that turns 16-bit colour into 8 bits without a word and
passes neither colour profile nor resolution on.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_deblur.errors import FileError, OutputError
from napari_deblur.files.image_file import ImageFile, PictureMetadata, check_pixels

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image

    from napari_deblur.files.image_file import FileMetadata

__all__ = ["read_picture", "write_picture"]

_INCH = 2.54  # centimetres
_ORIENTATION = 0x0112
_JPEG_QUALITY = 95
# Photographs become as small as with zlib's own 6, in less than half the time.
_PNG_EFFORT = 4


def read_picture(path: Path, kind: Literal["png", "jpeg"], limit: int) -> ImageFile:
    """Read a PNG or JPEG file of at most `limit` pixels.

    Raises
    ------
    FileError
        If it has more pixels.
    Exception
        Anything that a decoder raises on damaged files.
    """
    from PIL import ImageOps, JpegImagePlugin, PngImagePlugin

    # The plugin's class and not `Image.open`, whose pixel limit is a global variable.
    opener = PngImagePlugin.PngImageFile if kind == "png" else JpegImagePlugin.JpegImageFile
    with path.open("rb") as file:
        image = opener(file)
        check_pixels(path, image.width * image.height, limit)
        notes = _notes(image)
        if kind == "png" and _deep_colour(path):
            array = _decode_deep_colour(path)
        else:
            image.load()
            array = np.asarray(_usable(ImageOps.exif_transpose(image)))
        metadata = _metadata(image, kind)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    return ImageFile(array, "YXS"[: array.ndim], metadata, notes)


def write_picture(
    path: Path,
    array: NDArray[Any],
    kind: Literal["png", "jpeg"],
    metadata: FileMetadata | None,
) -> None:
    """Write a PNG or JPEG file; the caller has checked shape and dtype.

    Raises
    ------
    OutputError
        If a JPEG file should hold transparency, or a PNG file 16-bit colour and imagecodecs is
        not installed.
    """
    from PIL import Image

    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    if kind == "png" and array.ndim == 3 and array.dtype == np.uint16:
        path.write_bytes(_encode_deep_colour(path, array))
        return
    extra = _save_options(metadata)
    if kind == "jpeg":
        picture = Image.fromarray(_without_alpha(path, array))
        picture.save(path, "JPEG", quality=_JPEG_QUALITY, subsampling=0, optimize=True, **extra)
    else:
        Image.fromarray(array).save(path, "PNG", compress_level=_PNG_EFFORT, **extra)


def _usable(image: Image.Image) -> Image.Image:
    """Palettes and rare colour models as grey or RGB, with alpha where there is transparency."""
    transparent = "transparency" in image.info
    if image.mode in ("P", "PA"):
        return image.convert("RGBA" if transparent or image.mode == "PA" else "RGB")
    if transparent and image.mode in ("L", "RGB"):
        return image.convert("LA" if image.mode == "L" else "RGBA")
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        return image.convert("RGB")
    if image.mode == "I":
        return image.convert("I;16")
    return image


def _notes(image: Image.Image) -> tuple[str, ...]:
    notes = []
    if image.mode == "CMYK":
        notes.append("CMYK was converted to RGB")
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        notes.append(f"only the first of {frames} frames was read")
    return tuple(notes)


def _metadata(image: Image.Image, kind: Literal["png", "jpeg"]) -> PictureMetadata:
    exif = image.getexif()
    exif.pop(_ORIENTATION, None)
    dpi = image.info.get("dpi")
    profile = image.info.get("icc_profile")
    return PictureMetadata(
        kind,
        dpi=(float(dpi[0]), float(dpi[1])) if dpi and min(dpi) > 0 else None,
        icc_profile=profile if profile and image.mode != "CMYK" else None,
        exif=exif.tobytes() if exif else None,
    )


def _save_options(metadata: FileMetadata | None) -> dict[str, Any]:
    if metadata is None:
        return {}
    options: dict[str, Any] = {"icc_profile": metadata.icc_profile}
    if isinstance(metadata, PictureMetadata):
        options |= {"dpi": metadata.dpi, "exif": metadata.exif}
    elif metadata.resolution and metadata.resolution_unit in (2, 3):
        scale = 1 if metadata.resolution_unit == 2 else _INCH
        x, y = (top / max(bottom, 1) * scale for top, bottom in metadata.resolution)
        options["dpi"] = (x, y) if min(x, y) > 0 else None
    return {key: value for key, value in options.items() if value is not None}


def _without_alpha(path: Path, array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim == 2 or array.shape[2] == 3:
        return array
    if array[:, :, 3].min() < np.iinfo(array.dtype).max:
        raise OutputError(
            f"cannot write '{path.name}': JPEG holds no transparency and the image has some; "
            "write a PNG or TIFF file, or drop the alpha channel"
        )
    return np.ascontiguousarray(array[:, :, :3])  # opaque everywhere: nothing is lost


def _deep_colour(path: Path) -> bool:
    """Whether a PNG file has more than one 16-bit channel: Pillow would keep the high bytes."""
    with path.open("rb") as file:
        header = file.read(26)
    return header[24] == 16 and header[25] != 0


def _decode_deep_colour(path: Path) -> NDArray[Any]:
    try:
        codecs = import_module("imagecodecs")
    except ImportError as error:
        raise FileError(
            f"cannot read '{path}': 16-bit colour PNG needs imagecodecs; install it with "
            "'pip install imagecodecs', or convert the image to TIFF"
        ) from error
    array: NDArray[Any] = codecs.png_decode(path.read_bytes())
    return array


def _encode_deep_colour(path: Path, array: NDArray[Any]) -> bytes:
    try:
        codecs = import_module("imagecodecs")
    except ImportError as error:
        raise OutputError(
            f"cannot write '{path.name}': 16-bit colour PNG needs imagecodecs; write a TIFF file, "
            "or install it with 'pip install imagecodecs'"
        ) from error
    return bytes(codecs.png_encode(array))
