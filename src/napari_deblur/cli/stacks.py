"""Stacks as single images: which slices a file holds, by the axes that it names.

Y, X and samples (S) belong to one image; every other axis (T, Z, C, ...) counts images.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from napari_deblur.errors import InputError

__all__ = ["Slice", "find_slices"]

_IMAGE_AXES = "YXS"


@dataclass(frozen=True)
class Slice:
    """One image of a stack.

    Attributes
    ----------
    index
        What to index the stack with.
    label
        Where it is, for names of files and messages: ``T0_Z12``; empty for the only image.
    """

    index: tuple[int | slice, ...]
    label: str


def find_slices(shape: Sequence[int], axes: str | None) -> list[Slice]:
    """List the images of an array.

    Parameters
    ----------
    shape
        Shape of the array.
    axes
        One letter per axis, as tifffile names them; None for an array that is one image.

    Raises
    ------
    InputError
        If the letters do not fit the shape or Y or X is missing.
    """
    if axes is None:
        return [Slice((slice(None),) * len(shape), "")]
    if len(axes) != len(shape) or not {"Y", "X"} <= set(axes):
        raise InputError(
            f"Axes {axes!r} do not describe an image of shape {tuple(shape)}; "
            "Y and X and one letter per axis are needed"
        )
    counted = [number for number, axis in enumerate(axes) if axis not in _IMAGE_AXES]
    found = []
    for position in itertools.product(*(range(shape[number]) for number in counted)):
        place = dict(zip(counted, position, strict=True))
        index = tuple(place.get(number, slice(None)) for number in range(len(shape)))
        label = "_".join(f"{axes[number]}{value}" for number, value in place.items())
        found.append(Slice(index, label))
    return found
