"""Write a file completely or not at all.

Every file of this package is written through `atomic_path`: a crash, a full
disk or a killed process leaves the old file, or none, under the final name.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from napari_deblur.errors import DeblurError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["atomic_folder", "atomic_path", "check_output"]

_CANNOT_WRITE = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EFBIG: "the file is larger than the file system or the process may write",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.EIO: "the disk reports an error; choose another folder",
}
"""What the user can do about the failures that only writing can meet."""


@contextmanager
def atomic_path(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path that becomes `target` when the block ends well.

    The temporary file has the name of `target` and lies in a hidden folder
    beside it: libraries that choose a format by the suffix work, a pattern
    such as ``*.tif`` never finds it, and the final rename stays within one
    file system.  The data and the folder are flushed to the disk before the
    block is left.  A symbolic link is followed, so the file that it points to
    is replaced and the link stays.

    Parameters
    ----------
    target : path
        File to write.  An existing file is replaced and its permissions kept.

    Yields
    ------
    pathlib.Path
        Path to write to; nothing exists there yet.

    Raises
    ------
    OutputError
        If `target` is a folder or a special file, its folder is missing or
        not writable, or the disk is full.  Nothing is left behind, and an
        existing `target` is unchanged; this also holds for any other
        exception that the block raises.
    """
    final = check_output(target)
    with _temporary(target, final) as temporary:
        yield temporary
        _flush(temporary)
        if final.exists():
            shutil.copymode(final, temporary)
        temporary.replace(final)


@contextmanager
def atomic_folder(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path for a folder that becomes `target` when the block ends well.

    Like `atomic_path`, for formats that are a folder of files.  An existing folder is moved away
    right before the new one takes its name, and is deleted afterwards; it is up to the caller
    that it is one which may be replaced.

    Parameters
    ----------
    target : path
        Folder to write.

    Yields
    ------
    pathlib.Path
        Path of the folder to make and fill; nothing exists there yet.

    Raises
    ------
    OutputError
        See `atomic_path`.
    """
    final = _check_place(target)
    with _temporary(target, final) as temporary:
        yield temporary
        _flush_tree(temporary)
        _replace_folder(temporary, final)


@contextmanager
def _temporary(target: str | os.PathLike[str], final: Path) -> Iterator[Path]:
    """Give a path in a hidden folder beside `final` and explain what goes wrong."""
    folder = _make_temporary_folder(final)
    try:
        yield folder / final.name
        _flush_folder(final.parent)
    except DeblurError:
        raise
    except OSError as error:
        reason = _CANNOT_WRITE.get(error.errno or 0)
        if reason is None and error.filename2 is None:
            raise
        msg = f"cannot write '{target}': {reason or error.strerror}"
        raise OutputError(msg) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _replace_folder(new: Path, final: Path) -> None:
    """Let a folder take the name of another, which goes into the temporary folder."""
    old = new.with_name(f"{new.name}.old")
    try:
        if final.exists():
            final.rename(old)
        new.rename(final)
    except BaseException:
        if old.exists() and not final.exists():
            old.rename(final)
        raise


def check_output(target: str | os.PathLike[str]) -> Path:
    """Check that a file could be written at `target`, without writing it.

    Parameters
    ----------
    target : path
        File that will be written later.

    Returns
    -------
    pathlib.Path
        Absolute path with symbolic links followed.

    Raises
    ------
    OutputError
        If `target` is a folder or a special file, or its folder is missing or
        not writable.
    """
    final = _check_place(target)
    if os.fspath(target).endswith(("/", os.sep)) or final.is_dir():
        msg = f"cannot write '{target}': it is a folder; give the name of a file in it"
        raise OutputError(msg)
    return final


def _check_place(target: str | os.PathLike[str]) -> Path:
    """Check that the folder of `target` can be written to; return its absolute path."""
    try:
        final = Path(os.path.realpath(target))
        if final.exists() and not (final.is_file() or final.is_dir()):
            msg = f"cannot write '{target}': it is not a regular file; give another name"
            raise OutputError(msg)
        if not final.parent.is_dir():
            msg = f"cannot write '{target}': there is no folder '{final.parent}'; create it first"
            raise OutputError(msg)
    except ValueError as error:
        msg = f"cannot write {os.fspath(target)!r}: {error}; give another name"
        raise OutputError(msg) from error
    if not os.access(final.parent, os.W_OK | os.X_OK):
        msg = f"cannot write '{target}': no permission to write in '{final.parent}'"
        raise OutputError(f"{msg}; choose another folder")
    return final


def _make_temporary_folder(final: Path) -> Path:
    # mkdir rather than tempfile.mkdtemp: the mode 0700 of the latter becomes an
    # access list on Windows that the file would carry to its final place.
    folder = final.parent / f".napari-deblur-{secrets.token_hex(8)}"
    try:
        folder.mkdir()
    except OSError as error:
        reason = _CANNOT_WRITE.get(error.errno or 0, error.strerror)
        msg = f"cannot write '{final}': {reason}; choose another folder"
        raise OutputError(msg) from error
    return folder


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _flush_tree(folder: Path) -> None:
    for parent, _, files in os.walk(folder):
        for name in files:
            _flush(Path(parent, name))
        _flush_folder(Path(parent))


def _flush_folder(folder: Path) -> None:
    if os.name != "posix":  # other systems cannot open a folder
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:  # some network file systems cannot; the rename is done
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise
    finally:
        os.close(descriptor)
