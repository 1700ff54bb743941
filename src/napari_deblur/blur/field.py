"""Blur that varies over the field: a grid of cells with a kernel each, as geometry without torch.

The kernel of a cell is looked for in a *patch*, the cell and half a cell around it, so that
neighbouring patches share half their pixels.  An image is put together from what each cell's
kernel makes of it with *weights* that sum to one at every pixel (the windows of M. Hirsch, S. Sra,
B. Schölkopf and S. Harmeling, "Efficient filter flow for space-variant multiframe blind
deconvolution", CVPR 2010).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from napari_deblur.errors import InputError, KernelError

__all__ = ["FieldGrid", "KernelField", "Window"]

SMALLEST_CELL = 16  # pixels

Window = tuple[slice, slice]


@dataclass(frozen=True)
class FieldGrid:
    """An image cut into rows and columns of cells of one size.

    Attributes
    ----------
    size : tuple of int
        Height and width of the image in pixels.
    shape : tuple of int
        Rows and columns of cells.

    Raises
    ------
    InputError
        When a cell would be smaller than 16 x 16 pixels.
    """

    size: tuple[int, int]
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        """Check that the cells are large enough."""
        if any(
            count < 1 or side // count < SMALLEST_CELL
            for side, count in zip(self.size, self.shape, strict=True)
        ):
            raise InputError(
                f"a grid of {self.shape[0]} x {self.shape[1]} does not fit {self.size[0]} x "
                f"{self.size[1]} pixels: each cell needs at least {SMALLEST_CELL} x "
                f"{SMALLEST_CELL}, better some hundred; give fewer rows or columns"
            )

    @property
    def cells(self) -> list[tuple[int, int]]:
        """Row and column of every cell, row by row."""
        return list(product(range(self.shape[0]), range(self.shape[1])))

    def patch(self, cell: tuple[int, int], around: float = 0.5) -> Window:
        """Rows and columns of a cell and of what lies `around` it, in cells.

        By default those that its kernel is looked for in.
        """
        return self._reach(cell, 2 * around)

    def centre(self, cell: tuple[int, int]) -> tuple[float, float]:
        """Row and column of the middle of a cell, in pixels, those of the first pixel being 0."""
        row, column = (
            (index + 0.5) * side / count - 0.5
            for index, side, count in zip(cell, self.size, self.shape, strict=True)
        )
        return row, column

    def support(self, cell: tuple[int, int], ramp: float) -> Window:
        """Rows and columns of the image where a cell's weight is not zero."""
        return self._reach(cell, ramp)

    def weights(self, cell: tuple[int, int], window: Window, ramp: float) -> NDArray[np.float32]:
        """Weight of a cell at every pixel of a window; those of all cells sum to one.

        Parameters
        ----------
        cell : tuple of int
            Row and column of the cell.
        window : pair of slice
            Rows and columns of the image.
        ramp : float
            Width of the zone between two cells in which one fades into the other, relative to a
            cell, above 0 up to 1.

        Returns
        -------
        ndarray, float32, shape of the window
        """
        down, across = (
            _weights(index, side / count, count, part, ramp)
            for index, side, count, part in zip(cell, self.size, self.shape, window, strict=True)
        )
        return np.asarray(np.outer(down, across), np.float32)

    def neighbours(self, cell: tuple[int, int]) -> list[tuple[int, int]]:
        """Cells that share an edge with one."""
        steps = ((-1, 0), (1, 0), (0, -1), (0, 1))
        around = [(cell[0] + down, cell[1] + across) for down, across in steps]
        return [
            (row, column)
            for row, column in around
            if 0 <= row < self.shape[0] and 0 <= column < self.shape[1]
        ]

    def _reach(self, cell: tuple[int, int], ramp: float) -> Window:
        """A cell and what lies within half a ramp of it."""
        rows, columns = (
            slice(
                max(0, int(np.ceil((index - ramp / 2) * side / count - 0.5))),
                min(side, int(np.floor((index + 1 + ramp / 2) * side / count - 0.5)) + 1),
            )
            for index, side, count in zip(cell, self.size, self.shape, strict=True)
        )
        return rows, columns


@dataclass(frozen=True)
class KernelField:
    """A kernel for every cell of a grid over an image.

    Attributes
    ----------
    kernels : ndarray of shape (rows, columns, m, m), float32
        Convolution kernels, sum 1.  They share one frame: what a kernel's centroid is off its
        middle by is a shift between its cell and the others.
    size : tuple of int
        Height and width of the image in pixels.

    Raises
    ------
    KernelError
        When `kernels` has another number of axes.
    InputError
        When the grid does not fit the image.
    """

    kernels: NDArray[np.float32]
    size: tuple[int, int]

    def __post_init__(self) -> None:
        """Check the shape."""
        if self.kernels.ndim != 4 or self.kernels.shape[2] != self.kernels.shape[3]:
            raise KernelError(
                f"a field of kernels has shape {self.kernels.shape}: it must be (rows, columns, m, "
                "m); give one square kernel for every cell of the grid"
            )
        FieldGrid(self.size, (self.kernels.shape[0], self.kernels.shape[1]))

    @property
    def grid(self) -> FieldGrid:
        """The cells."""
        return FieldGrid(self.size, (self.kernels.shape[0], self.kernels.shape[1]))

    def at(self, positions: NDArray[np.float64]) -> NDArray[np.float32]:
        """Kernels (n, m, m) of the cells that positions (n, 2) lie in, pixels from the middle."""
        places = (positions + np.array(self.size) / 2) * self.grid.shape / self.size
        rows, columns = np.clip(places.astype(int), 0, np.array(self.grid.shape) - 1).T
        return np.asarray(self.kernels[rows, columns])


def _weights(index: int, cell: float, count: int, part: slice, ramp: float) -> NDArray[np.float64]:
    """Weights along one axis: raised cosines around the borders between cells."""
    position = np.arange(part.start, part.stop) + 0.5

    def risen(border: int) -> NDArray[np.float64]:
        if border == 0:
            return np.ones(len(position))
        if border == count:
            return np.zeros(len(position))
        share = np.clip((position / cell - border) / ramp + 0.5, 0, 1)
        rise: NDArray[np.float64] = np.sin(np.pi / 2 * share) ** 2
        return rise

    return risen(index) - risen(index + 1)
