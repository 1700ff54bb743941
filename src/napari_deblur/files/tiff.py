"""TIFF files with their flavours, read and written by tifffile.

ImageJ's and OME's descriptions are kept word for word, where shape and axes are kept, rather than
taken apart and put together again: what nobody reads here then survives as well.
"""

from __future__ import annotations

import logging
import math
import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from napari_deblur.errors import FileError
from napari_deblur.files.image_file import ImageFile, PictureMetadata, TiffMetadata, check_pixels
from napari_deblur.files.ome import adapted_ome_xml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Self

    from numpy.typing import NDArray

__all__ = ["read_tiff", "write_tiff"]

LARGEST_CLASSIC = 2**32 - 2**25
"""Bytes of values up to which offsets of 32 bits do; the rest is left to the metadata."""

_NONE, _LZW, _DEFLATE, _PACKBITS, _ZSTD = 1, 5, 8, 32773, 50000
_PALETTE = 3
_UNITS, _ORIENTATIONS = range(1, 6), range(1, 9)
_LOSSLESS = {_LZW: "lzw", _DEFLATE: "zlib", _PACKBITS: "packbits", _ZSTD: "zstd"}
_OWN_KINDS = {"generic", "uniform", "shaped"}  # series without a vendor's conventions
_IMAGEJ_ITEMS = ("Info", "Labels", "Ranges", "LUTs", "Plot", "ROI", "Overlays", "Properties")


# ---------------------------------------------------------------------------- reading


def read_tiff(path: Path, limit: int) -> ImageFile:
    """Read the first series of a TIFF file that unpacks to at most `limit` pixels.

    Raises
    ------
    FileError
        If it has more pixels and is smaller on the disk, or its pages break off.
    Exception
        Anything that a decoder raises on damaged files.
    """
    with _Complaints() as complaints, tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        page = series.keyframe
        samples = series.shape[series.axes.index("S")] if "S" in series.axes else 1
        if series.nbytes > path.stat().st_size:
            check_pixels(path, math.prod(series.shape) // max(samples, 1), limit)
        _check_complete(path, complaints)
        array, axes = series.asarray(), series.axes
        _check_complete(path, complaints)
        metadata = _read_metadata(tiff, series, page)
        notes = _read_notes(tiff, series)
        if page.photometric == _PALETTE and metadata.layout == "plain":
            array, axes = _apply_palette(array, page.colormap), axes + "S"
            notes = (*notes, "the palette was replaced by RGB values")
    return ImageFile(np.asarray(array), axes, metadata, notes)


class _Complaints(logging.Handler):
    """What tifffile logs in this thread instead of raising it, such as lost pages."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.messages.append(record.getMessage())

    def __enter__(self) -> Self:
        logging.getLogger("tifffile").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("tifffile").removeHandler(self)


def _check_complete(path: Path, complaints: _Complaints) -> None:
    """Refuse a file whose pages break off or whose description (tag 270) lies beyond its end.

    Of such a file tifffile returns what is left, and only logs that there was more.
    """
    lost = ("page offset", "TiffPages", "reshape", "invalid or corrupted", "TiffTag 270 ")
    for message in complaints.messages:
        if any(word in message for word in lost):
            raise FileError(
                f"cannot read '{path}': the file is damaged or was cut off ({message[-120:]}); "
                "copy it again from its source"
            )


def _read_metadata(
    tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries, page: tifffile.TiffPage
) -> TiffMetadata:
    first = tiff.pages.first
    resolution = _resolution(first)
    shaped: Mapping[str, Any] = {}
    imagej: Mapping[str, Any] = {}
    description = ""
    if tiff.is_imagej:
        imagej = tiff.imagej_metadata or {}
        description = first.imagej_description or ""
    elif tiff.is_ome:
        description = tiff.ome_metadata or ""
    elif series.kind in _OWN_KINDS:
        shaped = (tiff.shaped_metadata or ({},))[0] if tiff.is_shaped else {}
        description = "" if first.description == first.shaped_description else first.description
    return TiffMetadata(
        layout="imagej" if tiff.is_imagej else "ome" if tiff.is_ome else "plain",
        description=description,
        shaped={k: v for k, v in shaped.items() if k not in ("shape", "axes", "truncated")},
        imagej={key: imagej[key] for key in _IMAGEJ_ITEMS if key in imagej},
        resolution=resolution,
        resolution_unit=1 if resolution is None else _known(first, 296, 2, _UNITS),
        compression=int(page.compression),
        predictor=int(page.predictor) != 1,
        tile=_tile(page),
        big=tiff.is_bigtiff,
        byteorder=tiff.byteorder,
        photometric=int(page.photometric),
        extrasamples=tuple(int(value) for value in page.extrasamples),
        orientation=_known(first, 274, 1, _ORIENTATIONS),
        icc_profile=first.iccprofile,
    )


def _known(page: Any, code: int, default: int, allowed: range) -> int:
    """Value of a tag, or 1, which means nothing, where it is none of the standard's."""
    value = page.tags.valueof(code, default)
    return int(value) if isinstance(value, int) and value in allowed else 1


def _tile(page: tifffile.TiffPage) -> tuple[int, int] | None:
    flat = page.is_tiled and page.tiledepth == 1
    return (page.tilelength, page.tilewidth) if flat else None


def _resolution(page: Any) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """XResolution and YResolution as stored: fractions, so that nothing is rounded."""
    values = [page.tags.valueof(code) for code in (282, 283)]
    for value in values:
        if not isinstance(value, tuple) or len(value) != 2 or min(value) < 1:
            return None
    x, y = values
    return (int(x[0]), int(x[1])), (int(y[0]), int(y[1]))


def _read_notes(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> tuple[str, ...]:
    notes = []
    if len(tiff.series) > 1:
        notes.append(f"only the first of {len(tiff.series)} image series was read")
    if len(series.levels) > 1:
        notes.append(f"only the full size of {len(series.levels)} pyramid levels was read")
    if series.kind not in _OWN_KINDS | {"imagej", "ome"}:
        notes.append(f"of the metadata in {series.kind.upper()} format only the resolution is kept")
    return tuple(notes)


def _apply_palette(array: NDArray[Any], palette: NDArray[Any] | None) -> NDArray[Any]:
    if palette is None:
        raise FileError("a palette image without a palette")
    colours = np.asarray(palette).T
    # Palettes hold 16 bits; those of 8-bit images mean 8, as value * 257 or value * 256.
    if array.dtype.itemsize == 1:
        colours = (colours >> 8).astype(np.uint8)
    values: NDArray[Any] = colours[array]
    return values


# ---------------------------------------------------------------------------- writing


def write_tiff(
    path: Path,
    array: NDArray[Any],
    axes: str | None,
    metadata: TiffMetadata | PictureMetadata | None,
) -> None:
    """Write a TIFF file; `metadata` describes an image of the same shape.

    A description that, written word for word, would not give back shape and axes is left out.
    """
    if path.name.lower().endswith((".ome.tif", ".ome.tiff")) and not _is_ome(metadata):
        _write_new_ome(path, array, axes, metadata)
        return
    options = _storage(array, axes, metadata) | _resolution_options(metadata)
    if isinstance(metadata, TiffMetadata) and metadata.layout != "plain":
        description = _description(metadata, array, axes)
        if description is not None:
            extra = [*options.pop("extratags"), *_imagej_tags(metadata)]
            with tifffile.TiffWriter(path, **_container(array, metadata)) as writer:
                writer.write(
                    array, description=description, metadata=None, extratags=extra, **options
                )
            if _holds(path, array, axes):
                return
    items: dict[str, Any] = {} if axes is None else {"axes": axes}
    if isinstance(metadata, TiffMetadata) and metadata.layout == "plain":
        items = {**metadata.shaped, **items}
        options["description"] = metadata.description.encode() or None
    with tifffile.TiffWriter(path, **_container(array, metadata)) as writer:
        writer.write(array, metadata=items, **options)


def _is_ome(metadata: TiffMetadata | PictureMetadata | None) -> bool:
    return isinstance(metadata, TiffMetadata) and metadata.layout == "ome"


def _container(
    array: NDArray[Any], metadata: TiffMetadata | PictureMetadata | None
) -> dict[str, Any]:
    tiff = metadata if isinstance(metadata, TiffMetadata) else TiffMetadata()
    return {
        "bigtiff": tiff.big or array.nbytes > LARGEST_CLASSIC,
        "byteorder": tiff.byteorder,
    }


def _storage(
    array: NDArray[Any], axes: str | None, metadata: TiffMetadata | PictureMetadata | None
) -> dict[str, Any]:
    """How the values are stored: samples, compression, tiles, orientation."""
    tiff = metadata if isinstance(metadata, TiffMetadata) else TiffMetadata()
    options: dict[str, Any] = {"software": "napari-deblur", "extratags": []}
    options |= _samples(array, axes, metadata)
    if tiff.compression != _NONE:
        options["compression"] = _lossless(tiff.compression)
        options["predictor"] = tiff.predictor and tiff.compression != _PACKBITS
    if tiff.tile is not None and all(side % 16 == 0 for side in tiff.tile):
        options["tile"] = tiff.tile
    if tiff.orientation != 1:
        options["extratags"].append((274, 3, 1, tiff.orientation, True))
    if metadata is not None and metadata.icc_profile:
        options["iccprofile"] = metadata.icc_profile
    return options


def _samples(
    array: NDArray[Any], axes: str | None, metadata: TiffMetadata | PictureMetadata | None
) -> dict[str, Any]:
    """Grey, grey with alpha, RGB or RGBA, side by side or in planes."""
    if axes is None:  # as everybody takes it: (..., H, W, 3 or 4) of integers is colour
        colour = array.ndim > 2 and array.shape[-1] in (3, 4) and array.dtype.kind == "u"
        axes = "YXS" if colour else "YX"
    if "S" not in axes:
        white = isinstance(metadata, TiffMetadata) and metadata.photometric == 0
        return {"photometric": "miniswhite" if white else "minisblack"}
    samples = array.shape[axes.index("S") if len(axes) == array.ndim else -1]
    options: dict[str, Any] = {
        "photometric": "rgb" if samples > 2 else "minisblack",
        "planarconfig": "contig" if axes.endswith("S") else "separate",
    }
    extra = samples - (3 if samples > 2 else 1)
    if isinstance(metadata, TiffMetadata) and len(metadata.extrasamples) == extra:
        options["extrasamples"] = metadata.extrasamples or None
    elif extra:
        options["extrasamples"] = ["unassalpha", *["unspecified"] * (extra - 1)]
    return options


def _lossless(compression: int) -> str:
    """Name of the same compression where it keeps the values and is at hand, else of deflate."""
    name = _LOSSLESS.get(compression, "zlib")
    needs_codecs = name != "zlib" and find_spec("imagecodecs") is None
    return "zlib" if needs_codecs else name


def _resolution_options(metadata: TiffMetadata | PictureMetadata | None) -> dict[str, Any]:
    if isinstance(metadata, TiffMetadata) and metadata.resolution:
        return {"resolution": metadata.resolution, "resolutionunit": metadata.resolution_unit}
    if isinstance(metadata, PictureMetadata) and metadata.dpi:
        return {"resolution": metadata.dpi, "resolutionunit": 2}
    return {}


def _description(metadata: TiffMetadata, array: NDArray[Any], axes: str | None) -> bytes | None:
    if metadata.layout == "imagej":
        return metadata.description.encode("utf-8")
    planes = _planes(array, axes)
    big_endian = metadata.byteorder == ">"
    xml = adapted_ome_xml(metadata.description, array.dtype, planes, big_endian=big_endian)
    return None if xml is None else xml.encode("utf-8")


def _planes(array: NDArray[Any], axes: str | None) -> int:
    in_page = 3 if axes is not None and "S" in axes else 2
    return math.prod(array.shape[: array.ndim - in_page])


def _imagej_tags(metadata: TiffMetadata) -> tuple[tuple[Any, ...], ...]:
    return tuple(tifffile.imagej_metadata_tag(metadata.imagej, metadata.byteorder))


def _holds(path: Path, array: NDArray[Any], axes: str | None) -> bool:
    """Whether a file, read anew, has one series of this shape, dtype and these axes."""
    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        return (
            len(tiff.series) == 1
            and series.shape == array.shape
            and series.dtype == array.dtype.newbyteorder("=")
            and axes in (None, series.axes)
        )


# ---------------------------------------------------------------------------- new OME-TIFF

_MICROMETRES = {
    "nm": 1e-3,
    "um": 1.0,
    "µm": 1.0,
    "\\u00b5m": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "mm": 1e3,
    "cm": 1e4,
    "inch": 25400.0,
}


def _write_new_ome(
    path: Path,
    array: NDArray[Any],
    axes: str | None,
    metadata: TiffMetadata | PictureMetadata | None,
) -> None:
    """Write an OME-TIFF file from an image that was none, with the pixel sizes that it had."""
    items: dict[str, Any] = _pixel_sizes(metadata)
    if axes is not None and set(axes) <= set("TZCYXS"):
        items["axes"] = axes
    options = _storage(array, axes, metadata) | _resolution_options(metadata)
    container = _container(array, metadata)
    with tifffile.TiffWriter(path, ome=True, **container) as writer:
        writer.write(array, metadata=items, **options)


def _pixel_sizes(metadata: TiffMetadata | PictureMetadata | None) -> dict[str, Any]:
    """Physical sizes in micrometres, as far as the source names a unit of length."""
    options = _resolution_options(metadata)
    if not options:
        return {}
    text = metadata.description if isinstance(metadata, TiffMetadata) else ""
    table = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    unit = {2: "inch", 3: "cm"}.get(options["resolutionunit"], table.get("unit", ""))
    length = _MICROMETRES.get(unit.strip())
    if length is None:
        return {}
    sizes: dict[str, Any] = {}
    for axis, value in zip("XY", options["resolution"], strict=True):
        per_unit = value[0] / value[1] if isinstance(value, tuple) else value
        sizes |= {f"PhysicalSize{axis}": length / per_unit, f"PhysicalSize{axis}Unit": "µm"}
    try:
        spacing = float(table["spacing"]) * length
    except (KeyError, ValueError):
        return sizes
    return sizes | {"PhysicalSizeZ": spacing, "PhysicalSizeZUnit": "µm"}
