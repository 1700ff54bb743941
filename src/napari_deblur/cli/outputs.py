"""Which file goes where, and whether it may: checked before anything is computed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_deblur.errors import InputError, OutputError

if TYPE_CHECKING:
    from napari_deblur.files.images import ImageFile

__all__ = [
    "Job",
    "check_format",
    "check_new",
    "folder_of",
    "kernel_path",
    "make_folder",
    "plan_jobs",
]


@dataclass(frozen=True)
class Job:
    """One input file and the file that comes of it."""

    source: Path
    target: Path


def plan_jobs(
    sources: Sequence[Path],
    out: Path,
    *,
    keep: Sequence[Path],
    overwrite: bool,
    save_kernel: bool = False,
) -> list[Job]:
    """Decide where every result goes.

    `out` is a folder if it is one already, if it has no suffix, or if there are several
    inputs; results keep their names in it.  Otherwise it is a file.  The files of `keep` (all
    inputs, a kernel's file included) are never to be replaced.

    Raises
    ------
    InputError
        If two inputs would get one output.
    OutputError
        If an output would replace an input, exists without `overwrite`, or cannot be
        written.
    """
    jobs = [
        Job(source, target) for source, target in zip(sources, _targets(sources, out), strict=True)
    ]
    _check_distinct(jobs, save_kernel=save_kernel)
    for job in jobs:
        check_new(job.target, keep, overwrite=overwrite)
        if save_kernel:
            check_new(kernel_path(job.target), keep, overwrite=overwrite)
    return jobs


def kernel_path(target: Path) -> Path:
    """Name the kernel's file beside a result."""
    return target.with_name(f"{_stem(target)}_kernel.tif")


def check_new(target: Path, sources: Sequence[Path], *, overwrite: bool) -> None:
    """Check that a file can be written and replaces neither an input nor, unasked, anything.

    Raises
    ------
    OutputError
        If it cannot or would.
    """
    for source in sources:
        if _same(source, target):
            raise OutputError(
                f"'{target}' would overwrite its input '{source}'; give another name or folder"
            )
    if target.is_dir() and not _is_store(target):
        raise OutputError(f"'{target}' is a folder; give the name of a file in it")
    if target.exists() and not overwrite:
        raise OutputError(f"'{target}' exists; give another name, or --overwrite to replace it")
    folder = _nearest(target)
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(
            f"'{target}' cannot be written: '{folder}' is not a folder that you may "
            "write to; give another one"
        )


def check_format(target: Path, image: ImageFile) -> None:
    """Check that a file can hold an image like this one, before it is computed.

    Raises
    ------
    OutputError
        If its format cannot, or it cannot be written.
    """
    from napari_deblur.files.images import check_image_output

    # The folder of the result is made only when there is a result.
    check_image_output(_nearest(target) / target.name, image.array.shape, image.array.dtype)


def make_folder(target: Path) -> None:
    """Create the folder of an output.

    Raises
    ------
    OutputError
        If it cannot be created.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"'{target.parent}' cannot be created ({error.strerror}); give another folder"
        ) from error


@contextmanager
def folder_of(target: Path) -> Iterator[None]:
    """Create the folder of an output for a block; if that fails, remove what was created.

    Raises
    ------
    OutputError
        If it cannot be created.
    """
    missing = [parent for parent in target.absolute().parents if not parent.exists()]
    make_folder(target)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # something else was written to it meanwhile
            for folder in missing:
                folder.rmdir()
        raise


def _nearest(target: Path) -> Path:
    """Return the innermost folder of a path that exists (or the file that is in its way)."""
    return next(parent for parent in target.absolute().parents if parent.exists())


def _targets(sources: Sequence[Path], out: Path) -> list[Path]:
    if not out.suffix or (out.is_dir() and not _is_store(out)):
        return [out / source.name for source in sources]
    if len(sources) > 1:
        raise OutputError(
            f"'{out}' is one file for {len(sources)} inputs; give a folder (a name without suffix)"
        )
    return [out]


def _is_store(path: Path) -> bool:
    """Whether a name is one of a Zarr store, which is a folder to be treated as a file."""
    return path.suffix.lower() == ".zarr"


def _check_distinct(jobs: Sequence[Job], *, save_kernel: bool) -> None:
    """Check that no two files get one name: results among each other, and their kernels."""
    seen: dict[Path, Path] = {}
    for job in jobs:
        for target in (job.target, kernel_path(job.target))[: 1 + save_kernel]:
            other = seen.setdefault(target.absolute(), job.source)
            if other is not job.source:
                raise InputError(
                    f"'{other}' and '{job.source}' would both become '{target}'; "
                    "rename one, or give them in two commands with two folders"
                )


def _same(source: Path, target: Path) -> bool:
    """Whether a target is a source, or the store that a source lies in."""
    if _is_store(target) and target.resolve() in source.resolve().parents:
        return True
    try:
        return source.samefile(target)
    except OSError:  # one does not exist
        return source.absolute() == target.absolute()


def _stem(path: Path) -> str:
    return path.name[: -len(".ome.tif")] if path.name.endswith(".ome.tif") else path.stem
