"""One image of a stack as an array of its own, which is read and written only where it is indexed.

What NumPy calls a view, for arrays that have none: Zarr stores, files, dask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Plane", "plane_of"]


@dataclass(frozen=True, eq=False)
class Plane:
    """A part of an array.

    Attributes
    ----------
    array : array
        Anything with `shape`, `dtype` and slicing.
    index : tuple of int or slice
        One for each of its axes: the position on those that count images, and ``slice(None)`` on
        those that the image has.
    turned : tuple of int, or None
        Two axes of the image that are exchanged.
    """

    array: Any
    index: tuple[int | slice, ...]
    turned: tuple[int, int] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the image's axes."""
        pairs = zip(self.array.shape, self.index, strict=True)
        shape = [int(side) for side, part in pairs if isinstance(part, slice)]
        return tuple(self._exchanged(shape))

    @property
    def ndim(self) -> int:
        """Number of the image's axes."""
        return sum(isinstance(part, slice) for part in self.index)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        dtype: np.dtype[Any] = np.dtype(self.array.dtype)
        return dtype

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read a window; `key` is slices, one for each axis, or an ellipsis."""
        return np.asarray(self.part(key))

    def part(self, key: Any) -> Any:
        """Return a window as the array gives it: of dask arrays it is not computed."""
        return self._turn(self.array[self._whole(key)])

    def __setitem__(self, key: Any, values: Any) -> None:
        """Write a window."""
        self.array[self._whole(key)] = self._turn(np.asarray(values))

    def _whole(self, key: Any) -> tuple[int | slice, ...]:
        """Index into the array for one into the image."""
        parts = (slice(None),) * self.ndim if key is Ellipsis else key
        own = iter(self._exchanged(list(parts)))
        return tuple(next(own) if isinstance(part, slice) else part for part in self.index)

    def _exchanged(self, items: list[Any]) -> list[Any]:
        if self.turned is not None:
            first, second = self.turned
            items[first], items[second] = items[second], items[first]
        return items

    def _turn(self, values: Any) -> Any:
        return values if self.turned is None else np.swapaxes(values, *self.turned)


def plane_of(
    array: Any, index: tuple[int | slice, ...], turned: tuple[int, int] | None = None
) -> Any:
    """Return a part of an array: a view of a NumPy array, a `Plane` of any other."""
    if not isinstance(array, np.ndarray):
        return Plane(array, index, turned)
    view = array[index]
    return view if turned is None else np.swapaxes(view, *turned)
