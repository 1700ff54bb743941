"""Sharp images from folders and zips: found, decoded, counted, and named when left out.

Zips are read member by member in memory; nothing is ever extracted, and a
member or a link that points out of its archive or folder is not followed.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from PIL import Image

from napari_deblur.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["SharpImage", "SourceReport", "read_sources"]

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
_TIFF = frozenset({".tif", ".tiff"})
_LARGEST_FILE = 512 * 2**20
_GREY, _RGB = 2, 3


@dataclass(frozen=True)
class SharpImage:
    """One decoded image: (H, W, 3) uint8, its name, the sha256 of its file."""

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
        more = f"; and {len(self.skipped) - 5} more" if len(self.skipped) > 5 else ""  # noqa: PLR2004
        return f"{len(self.skipped)} skipped ({shown}{more})"


def read_sources(
    paths: Sequence[Path], largest_side: int, workers: int = 2
) -> tuple[list[SharpImage], SourceReport]:
    """Decode every image under the given folders, zips and image files, in a fixed order.

    Parameters
    ----------
    paths
        Folders (searched to any depth), zip archives, or single images.
    largest_side
        Longer images are reduced to this many pixels.
    workers
        Threads that decode.

    Raises
    ------
    FileError
        When a path does not exist or is a damaged archive.  Damaged images
        are skipped and reported instead.
    """
    images: list[SharpImage] = []
    report = SourceReport()
    for path in paths:
        members = _members(path, report)
        with ThreadPoolExecutor(max(1, workers)) as pool:
            found = list(pool.map(lambda item: _decode(*item, largest_side), members))
        good = [image for image in found if isinstance(image, SharpImage)]
        report.skipped += [bad for bad in found if isinstance(bad, tuple)]
        images += good
        digest = hashlib.sha256("".join(sorted(image.sha256 for image in good)).encode())
        report.manifest.append(
            {"name": path.name, "images": len(good), "sha256 of images": digest.hexdigest()}
        )
    return images, report


def _members(path: Path, report: SourceReport) -> Iterable[tuple[str, Any]]:
    if path.is_dir():
        return list(_folder_members(path, report))
    if not path.exists():
        raise FileError(f"data {str(path)!r} does not exist: give a folder, a zip or an image")
    if zipfile.is_zipfile(path):
        return _zip_members(path, report)
    if path.suffix.lower() in _SUFFIXES:
        return [(path.name, path)]
    raise FileError(f"data {str(path)!r} is neither a folder, a zip nor an image: give one")


def _folder_members(folder: Path, report: SourceReport) -> Iterator[tuple[str, Path]]:
    root = folder.resolve()
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in _SUFFIXES or not path.is_file():
            continue
        name = f"{folder.name}/{path.relative_to(folder).as_posix()}"
        if path.resolve().is_relative_to(root):
            yield name, path
        else:
            report.skipped.append((name, "links out of its folder"))


def _zip_members(path: Path, report: SourceReport) -> Iterator[tuple[str, bytes | str]]:
    try:
        with zipfile.ZipFile(path) as archive:
            for info in sorted(archive.infolist(), key=lambda info: info.filename):
                if PurePosixPath(info.filename).suffix.lower() not in _SUFFIXES or info.is_dir():
                    continue
                name = f"{path.name}/{info.filename}"
                reason = _refusal(info)
                if reason:
                    report.skipped.append((name, reason))
                else:
                    yield name, _read_member(archive, info)
    except zipfile.BadZipFile as error:
        raise FileError(f"data {str(path)!r} is a damaged zip ({error}): fetch it again") from error


def _refusal(info: zipfile.ZipInfo) -> str:
    parts = PurePosixPath(info.filename.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or ":" in parts.parts[0]:
        return "its name points out of the archive"
    if info.file_size > _LARGEST_FILE:
        return f"larger than {_LARGEST_FILE >> 20} MiB"
    return "encrypted" if info.flag_bits & 1 else ""


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes | str:
    try:
        return archive.read(info)
    except (zipfile.BadZipFile, OSError, NotImplementedError, EOFError) as error:
        return f"unreadable ({error})"
    except Exception as error:  # zlib.error and lzma.LZMAError share no base
        return f"unreadable ({error})"


def _decode(name: str, source: Path | bytes | str, largest_side: int) -> Any:
    """Return a SharpImage, or (name, reason) for one that cannot be used."""
    if isinstance(source, str):
        return name, source
    try:
        data = source if isinstance(source, bytes) else source.read_bytes()
        pixels = _pixels(data, PurePosixPath(name).suffix.lower() in _TIFF)
    except Exception as error:  # decoders raise anything on damaged files
        return name, f"unreadable ({type(error).__name__}: {str(error)[:80]})"
    if max(pixels.shape[:2]) > largest_side:
        pixels = resize(pixels, largest_side / max(pixels.shape[:2]))
    return SharpImage(name, hashlib.sha256(data).hexdigest(), pixels)


def _pixels(data: bytes, tiff: bool) -> NDArray[np.uint8]:  # noqa: FBT001
    if tiff:
        array = tifffile.imread(io.BytesIO(data))
    else:
        with Image.open(io.BytesIO(data)) as image:
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
