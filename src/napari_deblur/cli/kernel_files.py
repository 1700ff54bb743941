"""Kernels of stacks as files: one kernel, or one for each slice, of the shape of the stack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_deblur.blur.kernel import check_kernel
from napari_deblur.errors import InputError, KernelError
from napari_deblur.files.images import read_image, write_image
from napari_deblur.files.kernels import read_kernel, write_kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_deblur.engine.stacks import Stack

__all__ = ["KernelFile", "paths_of_fields", "write_grid", "write_kernels"]


@dataclass(frozen=True)
class KernelFile:
    """A file that holds one kernel for all images, or one for each slice of a stack."""

    path: Path
    array: NDArray[Any]

    @classmethod
    def read(cls, path: Path, *, largest: int) -> KernelFile:
        """Read a file, and check every kernel in it.

        Raises
        ------
        FileError
            If it cannot be read.
        KernelError
            If it holds something else than kernels of at most `largest` pixels.
        """
        array = _read(path)
        for each in array.reshape(_flat(array)):
            try:
                check_kernel(each, largest=largest)
            except KernelError as error:
                raise KernelError(f"'{path}': {error}") from error
        return cls(path, array)

    def for_slices(self, stack: Stack) -> list[NDArray[Any]]:
        """Return the kernel of every slice, as it is stored.

        Raises
        ------
        InputError
            If there is neither one kernel nor one for each slice.
        """
        count = len(stack.slices)
        held = self.array
        if held.ndim == stack.array.ndim and stack.channel_number is not None:
            # Channels of one exposure share their kernel; the file repeats it for each.
            held = held.take(0, axis=stack.channel_number)
        if held.ndim == 4 and not stack.counted_shape:
            return [held]  # a field of kernels for the one image
        if held[..., 0, 0].size == 1:
            return [held.reshape(held.shape[-2:])] * count
        if held.shape[:-2] != stack.counted_shape:
            shape = " x ".join(map(str, held.shape[:-2]))
            raise InputError(
                f"'{self.path}' holds {shape} kernels, and the image has {count} slices; give a "
                "file with one kernel, or with one for each slice"
            )
        return list(held.reshape(_flat(held)))


def write_kernels(path: Path, kernels: Sequence[NDArray[np.float32]], stack: Stack) -> list[Path]:
    """Write one kernel, or a stack with one for each slice, smaller ones in the middle of zeros.

    Where a slice has a field of kernels (rows, columns, m, m), each slice gets a file of its own.

    Returns
    -------
    list of Path
        The files that were written.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    if len(kernels) == 1:
        _write_one(path, kernels[0])
        return [path]
    if any(each.ndim == 4 for each in kernels):
        paths = paths_of_fields(path, stack)
        for part, each in zip(paths, kernels, strict=True):
            _write_one(part, each)
        return paths
    side = max(each.shape[-1] for each in kernels)
    padded = [np.pad(each, (side - each.shape[-1]) // 2) for each in kernels]
    held = np.stack(padded).reshape(*stack.counted_shape, side, side)
    write_image(path, held, axes=f"{stack.counted_axes}YX")
    return [path]


def paths_of_fields(path: Path, stack: Stack) -> list[Path]:
    """Return the files of the fields of kernels of a stack: one for each slice, by its label."""
    if len(stack.slices) == 1:
        return [path]
    return [path.with_stem(f"{path.stem}_{each.label}") for each in stack.slices]


def _write_one(path: Path, kernel: NDArray[np.float32]) -> None:
    if kernel.ndim == 4:
        rows, columns, side, _ = kernel.shape
        write_grid(path, list(kernel.reshape(-1, side, side)), (rows, columns))
    else:
        write_kernel(path, kernel)


def write_grid(path: Path, kernels: Sequence[NDArray[np.float32]], grid: tuple[int, int]) -> None:
    """Write the kernels of a grid's cells, row by row: an array (rows, columns, m, m).

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    held = np.stack(kernels)
    write_image(path, held.reshape(*grid, *held.shape[1:]), axes="IQYX")


def _read(path: Path) -> NDArray[Any]:
    if path.suffix.lower() in (".tif", ".tiff"):
        image = read_image(path)
        # A stack of three or four is easily taken for colours; a colour picture has them last.
        if image.array.ndim > 1 and not image.axes.endswith("S"):
            array: NDArray[Any] = image.array
            return array
    return read_kernel(path)


def _flat(array: NDArray[Any]) -> tuple[int, ...]:
    return (-1, *array.shape[-2:])
