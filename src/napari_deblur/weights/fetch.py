"""Find weights files: embedded in the package, in the cache, or on the user's server.

Nothing is imported from pooch and no connection is made until a file is fetched, and there is no
server but the one that ``NAPARI_DEBLUR_WEIGHTS_URL`` names.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, urlsplit

from napari_deblur.errors import WeightsError
from napari_deblur.weights.header import sha256_of

if TYPE_CHECKING:
    from napari_deblur.weights.download import ReportProgress
    from napari_deblur.weights.entries import WeightsEntry

__all__ = [
    "CACHE_VARIABLE",
    "URL_VARIABLE",
    "Status",
    "cache_folder",
    "status",
    "verify",
    "weights_path",
]

CACHE_VARIABLE = "NAPARI_DEBLUR_CACHE"
URL_VARIABLE = "NAPARI_DEBLUR_WEIGHTS_URL"
EMBEDDED = Path(__file__).with_name("data")

Status = Literal["embedded", "cached", "absent"]


def cache_folder() -> Path:
    """Folder where fetched weights lie, whether it exists or not.

    That of the variable ``NAPARI_DEBLUR_CACHE``, or what ``pooch.os_cache`` gives for this
    package.
    """
    named = os.environ.get(CACHE_VARIABLE, "").strip()
    if named:
        return Path(named).expanduser().absolute()
    from platformdirs import user_cache_dir  # all that pooch.os_cache uses

    return Path(user_cache_dir("napari-deblur"))


def status(entry: WeightsEntry) -> Status:
    """Where a weights file is, by its name and size; `verify` looks at the content.

    Parameters
    ----------
    entry : WeightsEntry
        The file.

    Returns
    -------
    {"embedded", "cached", "absent"}
        A file that the user named counts as cached.
    """
    if (EMBEDDED / entry.file).is_file() and entry.location is None:
        return "embedded"
    path = entry.location or cache_folder() / entry.file
    return "cached" if path.is_file() and path.stat().st_size == entry.size else "absent"


def verify(entry: WeightsEntry) -> Path:
    """Check every byte of a weights file that is on this computer.

    Parameters
    ----------
    entry : WeightsEntry
        The file.

    Returns
    -------
    Path
        Where it lies.

    Raises
    ------
    WeightsError
        If it is not there, or is not what the registry describes.
    """
    path = _present(entry)
    if path is None:
        raise WeightsError(_absent(entry))
    if sha256_of(path) != entry.sha256:
        raise WeightsError(_damaged(path, entry))
    return path


def weights_path(
    entry: WeightsEntry, *, download: bool = True, progress: ReportProgress | None = None
) -> Path:
    """Path of a weights file whose hash is right, fetched if need be.

    Looked for in this order: embedded in the package, in the cache (where it may have been put
    by hand), at ``NAPARI_DEBLUR_WEIGHTS_URL``.  Processes that want the same file wait for one
    of them to fetch it; a fetch that broke off goes on where it stopped.

    Parameters
    ----------
    entry : WeightsEntry
        The file.
    download : bool
        Whether it may be fetched.
    progress : callable, optional
        Called with the bytes done and the bytes in all while it is fetched.  What it raises
        stops the fetch, which can be taken up later.

    Returns
    -------
    Path
        Where it lies.

    Raises
    ------
    WeightsError
        If it is not there and cannot be fetched, or is damaged.
    """
    path = _present(entry)
    if path is not None and sha256_of(path) == entry.sha256:
        return path
    ours = entry.location is None and (path is None or path.parent == cache_folder())
    url = _server(entry) if download and ours else None
    if url is None:
        raise WeightsError(_absent(entry) if path is None else _damaged(path, entry))
    from napari_deblur.weights.download import fetch

    target = cache_folder() / entry.file
    fetch(url, target, entry.sha256, entry.size, progress)
    return target


def _present(entry: WeightsEntry) -> Path | None:
    if entry.location is not None:
        return entry.location
    for folder in (EMBEDDED, cache_folder()):
        path = folder / entry.file
        if path.is_file():
            return path
    return None


def _damaged(path: Path, entry: WeightsEntry) -> str:
    if path.parent == EMBEDDED:
        remedy = "install napari-deblur again"
    elif entry.location is not None:
        remedy = "it changed while it was used; try again"
    else:
        remedy = "delete it and run 'napari-deblur models fetch', or put the right file there"
    return (
        f"weights file '{path}' is damaged or another file: its sha256 is {sha256_of(path)} and "
        f"not {entry.sha256}; {remedy}"
    )


def _server(entry: WeightsEntry) -> str | None:
    """URL of a file, or None where no server is named."""
    base = os.environ.get(URL_VARIABLE, "").strip()
    if not base:
        return None
    try:
        parts = urlsplit(base)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        valid = False
    if not valid:
        raise WeightsError(
            f"{URL_VARIABLE} is {base!r}; it must be an address that begins with https:// or "
            "http://; change or remove it"
        )
    return f"{base.rstrip('/')}/{quote(entry.file)}"


def _absent(entry: WeightsEntry) -> str:
    return (
        f"weights file '{entry.file}' ({entry.size / 1e6:.1f} MB) is not on this computer, "
        f"expected is '{cache_folder() / entry.file}'; put it there by hand, or set "
        f"{URL_VARIABLE} to a server that has it and run 'napari-deblur models fetch'"
    )
