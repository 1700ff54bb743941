"""TIFF files with their flavours, read by tifffile.

ImageJ's and OME's descriptions are kept word for word, rather than taken apart and put together
again: what nobody reads here then survives as well.
"""

from __future__ import annotations

import logging
import math
import threading
from contextlib import ExitStack
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from napari_deblur.errors import FileError
from napari_deblur.files.arrays import ChunkedArray, Opened, RawArray
from napari_deblur.files.image_file import ImageFile, TiffMetadata, check_pixels

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Self

    from numpy.typing import NDArray

__all__ = ["open_tiff", "read_tiff"]

SMALLEST_LAZY = 2**26
"""Bytes of values below which a file is read at once."""

_PALETTE = 3
_OTHER_COLOURS = {5: "CMYK", 8: "CIELab", 9: "ICCLab", 10: "ITULab"}
"""Photometric interpretations whose values are no amounts of light."""
_UNITS, _ORIENTATIONS = range(1, 6), range(1, 9)
_OWN_KINDS = {"generic", "uniform", "shaped"}  # series without a vendor's conventions
_LARGEST_CHUNK = 2**26  # bytes; larger ones are no help against reading the whole image
_IMAGEJ_ITEMS = ("Info", "Labels", "Ranges", "LUTs", "Plot", "ROI", "Overlays", "Properties")


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
        series = _check_series(path, tiff, limit)
        _check_complete(path, complaints)
        array, axes = series.asarray(), series.axes
        _check_complete(path, complaints)
        metadata = _read_metadata(tiff, series, series.keyframe)
        notes = _read_notes(tiff, series)
        if _has_palette(series, metadata):
            array, axes = _apply_palette(array, series.keyframe.colormap), axes + "S"
            notes = (*notes, "the palette was replaced by RGB values")
    return ImageFile(np.asarray(array), axes, metadata, notes)


def open_tiff(path: Path, limit: int) -> ImageFile | None:
    """Open the first series of a TIFF file, to be read piece by piece.

    Returns
    -------
    ImageFile or None
        None for a file that is better read as a whole, because it is small, or can only be read
        so: one with a palette, with pages that are each one large compressed strip, or, without
        the package zarr, any compressed one.

    Raises
    ------
    FileError, Exception
        See `read_tiff`.
    """
    with _Complaints() as complaints, tifffile.TiffFile(path) as tiff:
        series = _check_series(path, tiff, limit)
        _check_complete(path, complaints)
        metadata = _read_metadata(tiff, series, series.keyframe)
        notes = _read_notes(tiff, series)
        if series.nbytes < SMALLEST_LAZY or _has_palette(series, metadata):
            return None
        array: Any = _find_raw(path, tiff, series)
        chunk = math.prod(series.keyframe.chunks) * series.dtype.itemsize
        if array is None and chunk <= _LARGEST_CHUNK and find_spec("zarr") is not None:
            array = ChunkedArray(path, _open_chunks)
        _check_complete(path, complaints)
        return None if array is None else ImageFile(array, series.axes, metadata, notes)


def _check_series(path: Path, tiff: tifffile.TiffFile, limit: int) -> tifffile.TiffPageSeries:
    """Return the first series, if it holds light and does not unpack to too many pixels."""
    series = tiff.series[0]
    colours = _OTHER_COLOURS.get(int(series.keyframe.photometric))
    if colours is not None:
        raise FileError(
            f"'{path}' holds {colours} colours, which are no amounts of light; convert it to RGB"
        )
    samples = series.shape[series.axes.index("S")] if "S" in series.axes else 1
    if series.nbytes > path.stat().st_size:
        check_pixels(path, math.prod(series.shape) // max(samples, 1), limit)
    return series


def _has_palette(series: tifffile.TiffPageSeries, metadata: TiffMetadata) -> bool:
    return int(series.keyframe.photometric) == _PALETTE and metadata.layout == "plain"


def _find_raw(
    path: Path, tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries
) -> RawArray | None:
    """Return the values of a series as they lie in the file, if they lie there in one piece."""
    offset = series.dataoffset
    if offset is None or series.is_multifile or series.transform is not None:
        return None
    array = RawArray(path, series.dtype.newbyteorder(tiff.byteorder), series.shape, offset)
    if offset + array.nbytes > path.stat().st_size:
        raise FileError(f"cannot read '{path}': the file was cut off; copy it again")
    return array


def _open_chunks(path: Path) -> Opened:
    import zarr

    with ExitStack() as stack:
        tiff = stack.enter_context(tifffile.TiffFile(path))
        array = zarr.open_array(tiff.series[0].aszarr(level=0), mode="r")
        return Opened(array, stack.pop_all().close)


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
