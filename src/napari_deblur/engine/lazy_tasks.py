"""Tasks of dask, and how they get windows of an image.

A window travels as what reads it: the name of a file, or a part of an array.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_deblur.engine.devices import pick_device
from napari_deblur.engine.layout import Layout, Picture
from napari_deblur.engine.pair import Pair, load_pair
from napari_deblur.engine.planes import Plane

if TYPE_CHECKING:
    from dask.delayed import Delayed
    from numpy.typing import NDArray

    from napari_deblur.engine.options import Options
    from napari_deblur.engine.stacks import Slice, Stack

__all__ = ["Source", "compute", "node", "open_source", "pair_of", "picture_of", "read", "task"]


def node(value: object) -> Delayed:
    """A value that tasks share, once in the graph."""
    from dask.delayed import delayed

    shared: Delayed = delayed(value, traverse=False, pure=False)
    return shared


def task(function: Callable[..., object], *arguments: object) -> Delayed:
    """Return a call that a scheduler will make."""
    from dask.delayed import delayed

    call: Delayed = delayed(function)(*arguments)
    return call


def compute(tasks: Sequence[object]) -> tuple[Any, ...]:
    """Results of tasks, or of nested lists of them, with the scheduler that is in force."""
    from dask.base import compute

    found: tuple[Any, ...] = compute(*tasks)
    return found


@dataclass(frozen=True, eq=False)
class Source:
    """A slice, and how a task gets a window of it."""

    plane: Any
    sent: Delayed | None

    def cut(self, index: tuple[slice, ...]) -> Any:
        """Window of the slice, as an argument of a task that calls `read` on it."""
        if self.sent is not None:
            return [self.sent, index]
        plane = self.plane
        return [plane.part(index) if isinstance(plane, Plane) else plane[index], None]


def open_source(stack: Stack, of: Slice) -> Source:
    """Let tasks read a slice of a stack."""
    import dask.array as da

    plane = stack.plane(of)
    if isinstance(stack.array, da.Array):
        return Source(plane, None)
    # One node of the graph for all tasks; it holds the file's name, or the values themselves.
    return Source(plane, node(plane))


def read(window: Sequence[Any]) -> NDArray[Any]:
    """Values of what `Source.cut` gave, inside a task."""
    source, index = window
    return np.asarray(source if index is None else source[index])


def picture_of(piece: NDArray[Any], layout: Layout) -> Picture:
    """A window of an image as an image of its own, on the scale of the whole."""
    return Picture(piece, replace(layout, shape=piece.shape))


def pair_of(options: Options) -> Pair:
    """The pair that options ask for, on the device of whoever calls."""
    return load_pair(options.model, pick_device(options.device))
