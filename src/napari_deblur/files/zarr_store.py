"""Zarr arrays and OME-Zarr images (Open Microscopy Environment's NGFF 0.4 and 0.5), by zarr.

Of an OME-Zarr image the finest level is read and written; everything that its attributes say of
the image stays.
"""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_deblur.errors import DeblurError, FileError, OutputError
from napari_deblur.files.arrays import ChunkedArray, Opened
from napari_deblur.files.image_file import ImageFile, ZarrMetadata, check_pixels
from napari_deblur.files.names import points_out

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from napari_deblur.files.image_file import Metadata

__all__ = ["check_store_output", "create_zarr", "is_zarr", "open_zarr", "stored_bytes"]

_MARKS = ("zarr.json", ".zarray", ".zgroup")
_INSTALL = "the package zarr is needed for that; pip install 'napari-deblur[zarr]'"
_SIDE = 1024  # of a new chunk, in pixels
_AXES = "TZCYXS"


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr array or group."""
    return any((path / mark).is_file() for mark in _MARKS)


def open_zarr(path: Path, limit: int) -> ImageFile:
    """Open a Zarr array or an OME-Zarr image, to be read piece by piece.

    Raises
    ------
    FileError
        If it is neither or cannot be opened, or one of its chunks, which are unpacked as a whole,
        has more than `limit` pixels.
    """
    if find_spec("zarr") is None:
        raise FileError(f"cannot read '{path}': {_INSTALL}")
    import zarr

    try:
        node = zarr.open(path, mode="r")
        notes: tuple[str, ...] = ()
        if isinstance(node, zarr.Group):
            image = _find_image(path, node.attrs)
            dataset = _dataset(path, image)
            if len(image["datasets"]) > 1:
                notes = (f"only the finest of {len(image['datasets'])} levels was read",)
            names = [axis["name"] for axis in image.get("axes", ())]
            array = ChunkedArray(path / dataset, _open_array)
            check_pixels(path, math.prod(array.chunks), limit)
            return ImageFile(array, _axes(path, array, names), ZarrMetadata(path, dataset), notes)
        named = getattr(node.metadata, "dimension_names", None)
        array = ChunkedArray(path, _open_array)
        check_pixels(path, math.prod(array.chunks), limit)
        axes = _axes(path, array, named or node.attrs.get("_ARRAY_DIMENSIONS"))
        return ImageFile(array, axes, ZarrMetadata(path))
    except DeblurError:
        raise
    except Exception as error:  # zarr and its codecs raise anything on damaged stores
        detail = " ".join(str(error).split()) or type(error).__name__
        raise FileError(
            f"cannot read '{path}': damaged or unusual Zarr store ({detail[:200]}); copy it again "
            "from its source"
        ) from error


def stored_bytes(path: Path) -> int:
    """Return how much of the disk the files of a store take, in bytes."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def check_store_output(path: Path) -> None:
    """Check that a Zarr store can be written, and that nothing else is in its place.

    Raises
    ------
    OutputError
        If it cannot, or there is a file or a folder that is no Zarr store.
    """
    if find_spec("zarr") is None:
        raise OutputError(f"cannot write '{path}': {_INSTALL}")
    if path.exists() and not (path.is_dir() and is_zarr(path)):
        raise OutputError(
            f"cannot write '{path}': there is something of this name that is no Zarr store; give "
            "another name"
        )


def create_zarr(
    path: Path,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    axes: str | None,
    metadata: Metadata | None,
) -> Any:
    """Make a Zarr array to write to; `metadata` describes an image of the same shape and type.

    Returns
    -------
    zarr.Array
        With the chunks and attributes of the image it is made after, in an OME-Zarr group if that
        was in one; otherwise with chunks of about a megapixel.
    """
    import zarr

    if isinstance(metadata, ZarrMetadata):
        return _create_like(path, metadata)
    letters = axes or "YX"
    chunks = [_SIDE if letter in "YX" else 1 for letter in letters.rjust(len(shape), "Q")]
    if letters.endswith("S"):
        chunks[-1] = shape[-1]
    return zarr.create_array(
        path,
        shape=shape,
        dtype=dtype.newbyteorder("="),
        chunks=tuple(min(pair) for pair in zip(chunks, shape, strict=True)),
        dimension_names=None if axes is None else list(axes.lower()),
    )


def _create_like(path: Path, metadata: ZarrMetadata) -> Any:
    import zarr

    if metadata.dataset is None:
        source = zarr.open_array(metadata.store, mode="r")
        attributes = dict(source.attrs)
        return zarr.from_array(path, data=source, write_data=False, attributes=attributes)
    group = zarr.open_group(metadata.store, mode="r")
    copy = zarr.create_group(path, zarr_format=group.metadata.zarr_format)
    copy.attrs.update(_finest_only(dict(group.attrs)))
    data: Any = group[metadata.dataset]
    attributes = dict(data.attrs)
    return zarr.from_array(
        path, name=metadata.dataset, data=data, write_data=False, attributes=attributes
    )


def _open_array(path: Path) -> Opened:
    import zarr

    array = zarr.open_array(path, mode="r")
    return Opened(array, array.store.close)


def _find_image(path: Path, attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """First multiscale image of an OME-Zarr group."""
    images = _ome(attributes).get("multiscales")
    if not images:
        raise FileError(
            f"'{path}' is a Zarr group and no OME-Zarr image; give the path of an array in it"
        )
    image: Mapping[str, Any] = images[0]
    return image


def _dataset(path: Path, image: Mapping[str, Any]) -> str:
    """Path of the finest level in the group."""
    dataset = str(image["datasets"][0]["path"])
    if points_out(dataset):
        raise FileError(
            f"'{path}' names {dataset!r} as its image, which lies outside of it; open the array "
            "itself"
        )
    return dataset


def _ome(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """What OME says of a group: under its own name since version 0.5, beside others before."""
    found: Mapping[str, Any] = attributes.get("ome", attributes)
    return found


def _finest_only(attributes: dict[str, Any]) -> dict[str, Any]:
    """Attributes of a group that holds only the finest level of its first image."""
    ome = dict(_ome(attributes))
    image = dict(ome["multiscales"][0])
    image["datasets"] = image["datasets"][:1]
    ome["multiscales"] = [image]
    return {**attributes, "ome": ome} if "ome" in attributes else ome


def _axes(path: Path, array: ChunkedArray, names: Any) -> str:
    """One letter per axis: by their names, or as everybody takes arrays without."""
    if array.ndim < 2:
        raise FileError(f"'{path}' holds {array.ndim} axes; an image has at least two")
    letters = "".join(str(name).upper() for name in names or ())
    if len(letters) == array.ndim and {"Y", "X"} <= set(letters) <= set(_AXES):
        return letters
    colour = array.ndim > 2 and array.shape[-1] in (3, 4) and array.dtype.kind == "u"
    return ("YXS" if colour else "YX").rjust(array.ndim, "Q")
