"""Arrays that stay in their file and are read and written window by window.

Neither is a memory map: pages of a map count as the process's memory, and where a map meets a full
disk or a file that was cut off, the system ends the process without a word.  Here the same events
are an `OSError`, and what is not read takes no memory.  Both kinds of array can be pickled, so that
processes that share a file system read and write one file together.
"""

from __future__ import annotations

import errno
import math
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_deblur.errors import DeblurError, FileError

__all__ = ["ChunkedArray", "Opened", "RawArray", "reserve"]

_Part = int | slice


@dataclass(frozen=True)
class RawArray:
    """Values that lie in a file one after the other, uncompressed, in C order.

    Takes integers, slices of every value, and an ellipsis as indices.

    Attributes
    ----------
    path : Path
        The file, which exists.
    stored : numpy.dtype
        Type of the values in the file, byte order included.
    shape : tuple of int
        Lengths of the axes.
    offset : int
        Bytes before the first value.
    """

    path: Path
    stored: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int = 0

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values as they are read: in the machine's byte order."""
        return self.stored.newbyteorder("=")

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that all values take."""
        return math.prod(self.shape) * self.stored.itemsize

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read a window.

        Raises
        ------
        FileError
            If the file is gone, damaged or shorter than it should be.
        """
        box, taken = _box(key, self.shape)
        block = np.empty([part.stop - part.start for part in box], self.stored)
        flat = _bytes(block)
        try:
            with self.path.open("rb", buffering=0) as file:
                for place, part in self._runs(box):
                    _read(file, place, flat[part])
        except OSError as error:
            if isinstance(error, DeblurError):
                raise
            raise FileError(f"cannot read '{self.path}': {error.strerror or error}") from error
        return block[taken].astype(self.dtype, copy=False)

    def __setitem__(self, key: Any, values: Any) -> None:
        """Write a window.

        Raises
        ------
        OSError
            If the disk is full, or the file cannot be written.
        """
        box, taken = _box(key, self.shape)
        block = np.empty([part.stop - part.start for part in box], self.stored)
        block[taken] = values
        flat = _bytes(block)
        with self.path.open("rb+", buffering=0) as file:
            for place, part in self._runs(box):
                _write(file, place, flat[part])

    def _runs(self, box: Sequence[slice]) -> Iterator[tuple[int, slice]]:
        """Places in the file of the stretches that a box consists of, and their places in it."""
        last = self.ndim - 1
        while last > 0 and box[last] == slice(0, self.shape[last]):
            last -= 1
        steps = [math.prod(self.shape[axis + 1 :]) for axis in range(self.ndim)]
        size = self.stored.itemsize
        length = (box[last].stop - box[last].start) * steps[last] * size
        if length == 0:
            return
        first = box[last].start * steps[last]
        outer = [range(part.start, part.stop) for part in box[:last]]
        for number, position in enumerate(product(*outer)):
            place = first + sum(a * b for a, b in zip(position, steps, strict=False))
            yield self.offset + place * size, slice(number * length, (number + 1) * length)


def reserve(path: Path, size: int) -> None:
    """Make a file of `size` bytes; where the system can, with room for them on the disk.

    Raises
    ------
    OSError
        If the disk is too full.
    """
    path.touch()
    if hasattr(os, "posix_fallocate") and size > 0:
        with path.open("rb+") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            except OSError as error:  # some file systems do not know how
                if error.errno not in {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}:
                    raise
    if path.stat().st_size < size:
        os.truncate(path, size)


@dataclass(frozen=True)
class Opened:
    """A chunked array while its file is open: what is sliced, and how the file is closed."""

    array: Any
    close: Callable[[], object]


class ChunkedArray:
    """Values in compressed or tiled chunks of a file, decoded where they are looked at.

    Parameters
    ----------
    path : Path
        The file, or the folder of a store.
    opener : callable
        Opens it, in every process anew; a function of a module.

    Raises
    ------
    Exception
        Whatever `opener` raises.
    """

    def __init__(self, path: Path, opener: Callable[[Path], Opened]) -> None:
        self.path = path
        self._opener = opener
        self._lock = threading.Lock()
        self._opened: Any = None
        array = self._open()
        self.shape: tuple[int, ...] = tuple(int(side) for side in array.shape)
        self.dtype: np.dtype[Any] = np.dtype(array.dtype).newbyteorder("=")
        self.chunks: tuple[int, ...] = tuple(int(side) for side in array.chunks)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that all values take when they are decoded."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read a window.

        Raises
        ------
        FileError
            If the file is gone or damaged there.
        """
        try:
            block = np.asarray(self._open()[key])
        except (DeblurError, IndexError):
            raise
        except Exception as error:  # decoders raise anything on damaged files
            detail = " ".join(str(error).split()) or type(error).__name__
            raise FileError(
                f"cannot read '{self.path}': it is damaged ({detail[:200]}); copy it again from "
                "its source"
            ) from error
        return block.astype(self.dtype, copy=False)

    def _open(self) -> Any:
        with self._lock:
            if self._opened is None:
                opened = self._opener(self.path)
                weakref.finalize(self, opened.close)
                self._opened = opened.array
            return self._opened

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None, "_opened": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())


def _box(key: Any, shape: tuple[int, ...]) -> tuple[list[slice], tuple[_Part, ...]]:
    """Smallest box that holds what an index picks, and the index within it."""
    parts = list(key) if isinstance(key, tuple) else [key]
    if Ellipsis in [part for part in parts if not isinstance(part, np.ndarray)]:
        place = parts.index(Ellipsis)
        parts[place : place + 1] = [slice(None)] * (len(shape) - len(parts) + 1)
    parts += [slice(None)] * (len(shape) - len(parts))
    if len(parts) != len(shape):
        raise IndexError(f"{len(parts)} indices for {len(shape)} axes")
    box: list[slice] = []
    taken: list[_Part] = []
    for part, length in zip(parts, shape, strict=True):
        if isinstance(part, slice):
            start, stop, step = part.indices(length)
            if step != 1:
                raise IndexError(f"slices of every value are taken, and not {part}")
            box.append(slice(start, max(start, stop)))
            taken.append(slice(None))
        else:
            position = int(part.__index__())
            if not -length <= position < length:
                raise IndexError(f"index {position} is out of bounds for {length} values")
            box.append(slice(position % length, position % length + 1))
            taken.append(0)
    return box, tuple(taken)


def _bytes(block: NDArray[Any]) -> memoryview:
    return memoryview(block.reshape(-1).view(np.uint8))  # type: ignore[arg-type]


def _read(file: Any, place: int, into: memoryview) -> None:
    file.seek(place)
    done = 0
    while done < len(into):
        count = file.readinto(into[done:])
        if not count:
            raise FileError(
                f"cannot read '{file.name}': the file was cut off; copy it again from its source"
            )
        done += count


def _write(file: Any, place: int, values: memoryview) -> None:
    file.seek(place)
    done = 0
    while done < len(values):
        done += file.write(values[done:])
