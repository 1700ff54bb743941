"""Sharp images from folders and zips: found, decoded, counted, and named when left out.

Zips are read member by member in memory; nothing is ever extracted, and a
member or a link that points out of its archive or folder is not followed.
"""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from PIL import Image

from napari_deblur.errors import FileError
from napari_deblur.files.image_file import check_pixels, largest_pixels
from napari_deblur.files.names import points_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["SharpImage", "SourceReport", "read_sources", "resize"]

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
_TIFF = frozenset({".tif", ".tiff"})
_LARGEST_FILE = 512 * 2**20
_PORTION = 64
_GREY, _RGB = 2, 3


@dataclass(frozen=True)
class SharpImage:
    """One decoded image: (H, W, 3) uint8, where it is from, the sha256 of its file."""

    source: str
    name: str
    sha256: str
    pixels: NDArray[np.uint8]


@dataclass
class SourceReport:
    """What was read from where, and what was left out, by name and reason."""

    manifest: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def sentence(self) -> str:
        """One line for the log: how many were skipped, and the first names with their reasons."""
        if not self.skipped:
            return "no image was skipped"
        shown = "; ".join(f"{name}: {reason}" for name, reason in self.skipped[:5])
        more = f"; and {len(self.skipped) - 5} more" if len(self.skipped) > 5 else ""
        return f"{len(self.skipped)} skipped ({shown}{more})"


def read_sources(
    paths: Sequence[Path],
    largest_side: int,
    *,
    budget: float = math.inf,
    seed: int = 0,
    workers: int = 2,
) -> tuple[list[SharpImage], SourceReport]:
    """Decode every image under the given folders, zips and image files.

    Parameters
    ----------
    paths
        Folders (searched to any depth), zip archives, or single images.
    largest_side
        Longer images are reduced to this many pixels.
    budget
        Bytes of decoded pixels at which to stop; the images are then a random choice.
    seed
        Of that choice.
    workers
        Threads that decode.

    Returns
    -------
    list of SharpImage
        In an order that depends on the names, the seed and nothing else.
    SourceReport

    Raises
    ------
    FileError
        When a path does not exist or is a damaged archive.  Damaged images
        are skipped and reported instead.
    """
    images: list[SharpImage] = []
    report = SourceReport()
    with ExitStack() as open_archives, ThreadPoolExecutor(max(1, workers)) as pool:
        entries = [e for path in paths for e in _entries(path, report, open_archives)]
        order = np.random.default_rng(seed).permutation(len(entries)).tolist()
        used = 0
        # Portions, so that neither files nor pictures beyond the budget are ever in memory.
        for start in range(0, len(order), _PORTION):
            if used >= budget:
                left = [(entries[i].name, "the store is full") for i in order[start:]]
                report.skipped += left
                break
            portion = [entries[i] for i in order[start : start + _PORTION]]
            found = list(pool.map(partial(_decode, largest_side=largest_side), portion))
            report.skipped += [bad for bad in found if isinstance(bad, tuple)]
            good = [image for image in found if isinstance(image, SharpImage)]
            used += sum(image.pixels.size for image in good)
            images += good
    report.manifest += [_manifest(path, images) for path in paths]
    return images, report


def _manifest(path: Path, images: Sequence[SharpImage]) -> dict[str, Any]:
    """What of a source is used: its name, how many images, a hash over all of their files."""
    hashes = sorted(image.sha256 for image in images if image.source == str(path))
    digest = hashlib.sha256("".join(hashes).encode()).hexdigest()
    return {"name": path.name, "images": len(hashes), "sha256 of images": digest}


@dataclass(frozen=True)
class _Entry:
    """An image that has been found and not been read yet."""

    source: str
    name: str
    read: Callable[[], bytes]


def _entries(path: Path, report: SourceReport, open_archives: ExitStack) -> list[_Entry]:
    if path.is_dir():
        return list(_folder_entries(path, report))
    if not path.exists():
        raise FileError(f"data {str(path)!r} does not exist: give a folder, a zip or an image")
    if zipfile.is_zipfile(path):
        try:
            archive = open_archives.enter_context(zipfile.ZipFile(path))
        except zipfile.BadZipFile as error:
            raise FileError(
                f"data {str(path)!r} is a damaged zip ({error}): fetch it again"
            ) from error
        return list(_zip_entries(path, archive, report))
    if path.suffix.lower() in _SUFFIXES:
        return [_Entry(str(path), path.name, path.read_bytes)]
    raise FileError(f"data {str(path)!r} is neither a folder, a zip nor an image: give one")


def _folder_entries(folder: Path, report: SourceReport) -> Iterator[_Entry]:
    root = folder.resolve()
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in _SUFFIXES or not path.is_file():
            continue
        name = f"{folder.name}/{path.relative_to(folder).as_posix()}"
        if path.resolve().is_relative_to(root):
            yield _Entry(str(folder), name, path.read_bytes)
        else:
            report.skipped.append((name, "links out of its folder"))


def _zip_entries(path: Path, archive: zipfile.ZipFile, report: SourceReport) -> Iterator[_Entry]:
    for info in sorted(archive.infolist(), key=lambda info: info.filename):
        if PurePosixPath(info.filename).suffix.lower() not in _SUFFIXES or info.is_dir():
            continue
        name = f"{path.name}/{info.filename}"
        reason = _refusal(info)
        if reason:
            report.skipped.append((name, reason))
        else:
            yield _Entry(str(path), name, partial(archive.read, info))


def _refusal(info: zipfile.ZipInfo) -> str:
    if points_out(info.filename):
        return "its name points out of the archive"
    if info.file_size > _LARGEST_FILE:
        return f"larger than {_LARGEST_FILE >> 20} MiB"
    return "encrypted" if info.flag_bits & 1 else ""


def _decode(entry: _Entry, largest_side: int) -> SharpImage | tuple[str, str]:
    """Return the image, or its name and the reason why it cannot be used."""
    try:
        data = entry.read()
        pixels = _pixels(entry.name, data)
    except FileError as error:
        return entry.name, str(error)
    except Exception as error:  # noqa: BLE001 - decoders raise anything on damaged files
        return entry.name, f"unreadable ({type(error).__name__}: {str(error)[:80]})"
    if max(pixels.shape[:2]) > largest_side:
        pixels = resize(pixels, largest_side / max(pixels.shape[:2]))
    return SharpImage(entry.source, entry.name, hashlib.sha256(data).hexdigest(), pixels)


def _pixels(name: str, data: bytes) -> NDArray[np.uint8]:
    path, limit = Path(name), largest_pixels()
    if path.suffix.lower() in _TIFF:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            check_pixels(path, math.prod(file.series[0].shape), limit)
            array = file.asarray(series=0)
    else:
        with Image.open(io.BytesIO(data)) as image:
            check_pixels(path, image.width * image.height, limit)
            deep = image.mode.startswith(("I", "F"))
            array = np.asarray(image if deep else image.convert("RGB"))
    return _as_rgb8(np.squeeze(array))


def _as_rgb8(array: NDArray[Any]) -> NDArray[np.uint8]:
    if array.ndim == _GREY:
        array = np.repeat(array[:, :, None], _RGB, axis=2)
    if array.ndim != _RGB or array.shape[2] < _RGB:
        raise ValueError(f"shape {array.shape} is neither grey nor RGB")
    array = array[:, :, :_RGB]
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    values = array.astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError("holds values that are not finite")
    # Microscopes use a part of 16 bits: the image's own range becomes the full one.
    low, high = float(values.min()), float(values.max())
    return ((values - low) * (255 / max(high - low, 1e-12)) + 0.5).astype(np.uint8)


def resize(pixels: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """Reduce an image (H, W, 3) by `factor` <= 1 with an anti-aliasing (Lanczos) filter."""
    height, width = (max(1, round(side * factor)) for side in pixels.shape[:2])
    reduced = Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(reduced)
