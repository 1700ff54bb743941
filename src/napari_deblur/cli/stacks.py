"""Stacks as single images: which slices a file holds, by the axes that it names.

Y, X and samples (S) belong to one image; every other axis (T, Z, C, ...) counts images, but for the
one that the user calls channels of one exposure.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from napari_deblur.errors import InputError

__all__ = ["Slice", "check_axes", "find_slices", "pick_slice"]

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


def check_axes(axes: str, shape: Sequence[int], channels: str | None = None) -> None:
    """Check axes that a user names, and the one that a user calls channels.

    Raises
    ------
    InputError
        If the letters do not fit the shape, one comes twice, or Y, X or the channels are missing.
    """
    if len(axes) != len(shape) or not {"Y", "X"} <= set(axes) or len(set(axes)) != len(axes):
        raise InputError(
            f"Axes {axes!r} do not describe an image of shape {tuple(shape)}; Y and X and one "
            "letter per axis are needed, none of them twice"
        )
    if channels is not None and (len(channels) != 1 or channels not in axes or channels in "YX"):
        raise InputError(
            f"--channel-axis {channels!r} is no axis of channels among {axes!r}; give one of its "
            "letters other than Y and X, or name the axes with --axes"
        )


def find_slices(shape: Sequence[int], axes: str | None, channels: str = "S") -> list[Slice]:
    """List the images of an array.

    Parameters
    ----------
    shape
        Shape of the array.
    axes
        One letter per axis, as tifffile names them; None for an array that is one image.
    channels
        Letter of the axis that belongs to each image beside Y, X and S.

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
    within = _IMAGE_AXES + channels
    counted = [number for number, axis in enumerate(axes) if axis not in within]
    found = []
    for position in itertools.product(*(range(shape[number]) for number in counted)):
        place = dict(zip(counted, position, strict=True))
        index = tuple(place.get(number, slice(None)) for number in range(len(shape)))
        label = "_".join(f"{axes[number]}{value}" for number, value in place.items())
        found.append(Slice(index, label))
    return found


def pick_slice(slices: Sequence[Slice], label: str | None) -> Sequence[Slice]:
    """Return the slice of this label alone; all of them where no label is given.

    Raises
    ------
    InputError
        If there is none of this label.
    """
    if label is None:
        return slices
    chosen = [each for each in slices if each.label == label]
    if not chosen:
        names = f"{slices[0].label} to {slices[-1].label}" if len(slices) > 1 else "no slices"
        raise InputError(f"there is no slice {label!r}; the file has {names}")
    return chosen
