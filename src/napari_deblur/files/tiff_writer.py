"""TIFF files with their flavours, written by tifffile.

A description that was read is written word for word, where shape and axes are kept; the file is
then read anew to see whether they are.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from napari_deblur.files.arrays import RawArray, reserve
from napari_deblur.files.image_file import PictureMetadata, TiffMetadata
from napari_deblur.files.ome import adapted_ome_xml

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_deblur.files.image_file import FileMetadata

__all__ = ["create_tiff", "write_tiff"]

LARGEST_CLASSIC = 2**32 - 2**25
"""Bytes of values up to which offsets of 32 bits do; the rest is left to the metadata."""

_NONE, _LZW, _DEFLATE, _PACKBITS, _ZSTD = 1, 5, 8, 32773, 50000
_LOSSLESS = {_LZW: "lzw", _DEFLATE: "zlib", _PACKBITS: "packbits", _ZSTD: "zstd"}


@dataclass(frozen=True)
class _Form:
    """Shape and type of the values that are written."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class _Way:
    """A way to write a file: what the container and the series in it are told.

    `kept` says that descriptions are written word for word, which must be checked afterwards.
    """

    container: dict[str, Any]
    series: dict[str, Any]
    kept: bool = False

    def write(self, path: Path, array: NDArray[Any] | None, form: _Form) -> None:
        """Write the values, or, without them, leave room for them."""
        room: dict[str, Any] = {"shape": form.shape, "dtype": form.dtype} if array is None else {}
        with tifffile.TiffWriter(path, **self.container) as writer:
            writer.write(array, **room, **self.series)


def write_tiff(
    path: Path, array: NDArray[Any], axes: str | None, metadata: FileMetadata | None
) -> None:
    """Write a TIFF file; `metadata` describes an image of the same shape.

    A description that, written word for word, would not give back shape and axes is left out.
    """
    form = _Form(array.shape, array.dtype)
    for way in _ways(path, form, axes, metadata):
        way.write(path, array, form)
        if not way.kept or _holds(path, form, axes):
            return


@contextmanager
def create_tiff(
    path: Path,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    axes: str | None,
    metadata: FileMetadata | None,
) -> Iterator[RawArray]:
    """Write a TIFF file like `write_tiff`, but from values that come window by window.

    Uncompressed values are written where they belong.  Others are gathered in a file beside
    `path`, which is compressed when the block ends; as much room is needed on the disk.

    Yields
    ------
    RawArray
        What to write to.
    """
    form = _Form(shape, dtype)
    array = _reserve_in_place(path, form, axes, metadata)
    if array is not None:
        yield array
        return
    order = metadata.byteorder if isinstance(metadata, TiffMetadata) else "<"
    array = RawArray(path.with_name("values.raw"), dtype.newbyteorder(order), shape)
    reserve(array.path, array.nbytes)
    yield array
    values = np.memmap(array.path, array.stored, mode="r", shape=shape)
    write_tiff(path, values, axes, metadata)
    del values
    array.path.unlink()


def _reserve_in_place(
    path: Path, form: _Form, axes: str | None, metadata: FileMetadata | None
) -> RawArray | None:
    """Write all of a file but its values; None where these will not lie in one piece."""
    for way in _ways(path, form, axes, metadata):
        if "compression" in way.series or "tile" in way.series:
            return None
        way.write(path, None, form)
        if way.kept and not _holds(path, form, axes):
            continue
        with tifffile.TiffFile(path) as tiff:
            offset, order = tiff.series[0].dataoffset, tiff.byteorder
        if offset is not None:
            reserve(path, path.stat().st_size)
            return RawArray(path, form.dtype.newbyteorder(order), form.shape, offset)
    return None


def _ways(
    path: Path, form: _Form, axes: str | None, metadata: FileMetadata | None
) -> Iterator[_Way]:
    """Ways to write a file, the best one first."""
    container = _container(form, metadata)
    series = _storage(form, axes, metadata) | _resolution_options(metadata)
    if path.name.lower().endswith((".ome.tif", ".ome.tiff")) and not _is_ome(metadata):
        # From an image that was no OME-TIFF, with the pixel sizes that it had.
        items = _pixel_sizes(metadata)
        if axes is not None and set(axes) <= set("TZCYXS"):
            items["axes"] = axes
        yield _Way({**container, "ome": True}, {**series, "metadata": items})
        return
    if isinstance(metadata, TiffMetadata) and metadata.layout != "plain":
        description = _description(metadata, form, axes)
        if description is not None:
            extra = [*series["extratags"], *_imagej_tags(metadata)]
            kept = {"description": description, "metadata": None, "extratags": extra}
            yield _Way(container, {**series, **kept}, kept=True)
    items = {} if axes is None else {"axes": axes}
    if isinstance(metadata, TiffMetadata) and metadata.layout == "plain":
        items = {**metadata.shaped, **items}
        series["description"] = metadata.description.encode() or None
    yield _Way(container, {**series, "metadata": items})


def _is_ome(metadata: FileMetadata | None) -> bool:
    return isinstance(metadata, TiffMetadata) and metadata.layout == "ome"


def _container(form: _Form, metadata: FileMetadata | None) -> dict[str, Any]:
    tiff = metadata if isinstance(metadata, TiffMetadata) else TiffMetadata()
    return {
        "bigtiff": tiff.big or form.nbytes > LARGEST_CLASSIC,
        "byteorder": tiff.byteorder,
    }


def _storage(form: _Form, axes: str | None, metadata: FileMetadata | None) -> dict[str, Any]:
    """How the values are stored: samples, compression, tiles, orientation."""
    tiff = metadata if isinstance(metadata, TiffMetadata) else TiffMetadata()
    options: dict[str, Any] = {"software": "napari-deblur", "extratags": []}
    options |= _samples(form, axes, metadata)
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


def _samples(form: _Form, axes: str | None, metadata: FileMetadata | None) -> dict[str, Any]:
    """Grey, grey with alpha, RGB or RGBA, side by side or in planes."""
    if axes is None:  # as everybody takes it: (..., H, W, 3 or 4) of integers is colour
        colour = form.ndim > 2 and form.shape[-1] in (3, 4) and form.dtype.kind == "u"
        axes = "YXS" if colour else "YX"
    if "S" not in axes:
        white = isinstance(metadata, TiffMetadata) and metadata.photometric == 0
        return {"photometric": "miniswhite" if white else "minisblack"}
    samples = form.shape[axes.index("S") if len(axes) == form.ndim else -1]
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


def _resolution_options(metadata: FileMetadata | None) -> dict[str, Any]:
    if isinstance(metadata, TiffMetadata) and metadata.resolution:
        return {"resolution": metadata.resolution, "resolutionunit": metadata.resolution_unit}
    if isinstance(metadata, PictureMetadata) and metadata.dpi:
        return {"resolution": metadata.dpi, "resolutionunit": 2}
    return {}


def _description(metadata: TiffMetadata, form: _Form, axes: str | None) -> bytes | None:
    if metadata.layout == "imagej":
        return metadata.description.encode("utf-8")
    planes = _planes(form, axes)
    big_endian = metadata.byteorder == ">"
    xml = adapted_ome_xml(metadata.description, form.dtype, planes, big_endian=big_endian)
    return None if xml is None else xml.encode("utf-8")


def _planes(form: _Form, axes: str | None) -> int:
    in_page = 3 if axes is not None and "S" in axes else 2
    return math.prod(form.shape[: form.ndim - in_page])


def _imagej_tags(metadata: TiffMetadata) -> tuple[tuple[Any, ...], ...]:
    return tuple(tifffile.imagej_metadata_tag(metadata.imagej, metadata.byteorder))


def _holds(path: Path, form: _Form, axes: str | None) -> bool:
    """Whether a file, read anew, has one series of this shape, dtype and these axes."""
    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        return (
            len(tiff.series) == 1
            and series.shape == form.shape
            and series.dtype == form.dtype.newbyteorder("=")
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


def _pixel_sizes(metadata: FileMetadata | None) -> dict[str, Any]:
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
