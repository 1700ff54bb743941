"""Stacks as single images: which slices a file holds, by the axes that it names.

Y, X and samples (S) belong to one image; every other axis (T, Z, C, ...) counts images, but for the
one that the user calls channels of one exposure.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_deblur.engine.planes import plane_of
from napari_deblur.engine.survey import shared_range
from napari_deblur.errors import InputError

if TYPE_CHECKING:
    from napari_deblur.files.images import ImageFile

__all__ = ["Slice", "Stack", "check_axes", "find_slices", "pick_slice"]

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


@dataclass(frozen=True)
class Stack:
    """The array of a file, which may stay there, and the images in it."""

    array: Any
    axes: str | None
    slices: Sequence[Slice]
    channels: str = "S"

    @classmethod
    def of(cls, image: ImageFile, channels: str | None = None, only: str | None = None) -> Stack:
        """Find the images of a file by its axes.

        Parameters
        ----------
        image
            The file.
        channels
            Letter of the axis that holds channels of one exposure, beside the samples (S).
        only
            Label of the one slice that counts.

        Raises
        ------
        InputError
            If one of them is not there.
        """
        if channels is not None:
            check_axes(image.axes, image.array.shape, channels)
        within = channels or "S"
        slices = find_slices(image.array.shape, image.axes, within)
        return cls(image.array, image.axes, pick_slice(slices, only), within)

    @property
    def channel_axis(self) -> int | None:
        """Axis of the channels in each slice; None for samples (S) at the end: RGB or RGBA."""
        if self.axes is None:
            return None
        image_axes = "".join(axis for axis in self.axes if axis in "YXS" + self.channels)
        position = image_axes.find(self.channels)
        return None if position < 0 or (position == 2 and self.channels == "S") else position

    @property
    def channel_number(self) -> int | None:
        """Axis of the channels in the whole array, those of RGB and RGBA not counted."""
        if self.axes is None or self.channel_axis is None:
            return None
        return self.axes.index(self.channels)

    @property
    def counted_axes(self) -> str:
        """Letters of the axes that count images."""
        return "".join(axis for axis in self.axes or "" if axis not in "YXS" + self.channels)

    @property
    def counted_shape(self) -> tuple[int, ...]:
        """Lengths of the axes that count images."""
        return tuple(self.array.shape[(self.axes or "").index(axis)] for axis in self.counted_axes)

    def plane(self, of: Slice, array: Any = None) -> Any:
        """One slice of this array, or of one of the same shape; rows come before columns."""
        return plane_of(self.array if array is None else array, of.index, self.turned)

    @property
    def rows_and_columns(self) -> tuple[int, int]:
        """Axes of rows and of columns in the array."""
        axes = self.axes or "YX"
        return axes.index("Y"), axes.index("X")

    @property
    def turned(self) -> tuple[int, int] | None:
        """Axes that a slice has exchanged, because columns come before rows in the array."""
        image_axes = [axis for axis in self.axes or "YX" if axis in "YXS" + self.channels]
        rows, columns = image_axes.index("Y"), image_axes.index("X")
        return None if rows < columns else (columns, rows)

    def value_ranges(self) -> list[tuple[float, float] | None]:
        """Black and white for every slice: those of its channel in the whole stack.

        One scale for all slices keeps their relative brightness, which a time series is
        about; different channels have nothing to do with each other.
        """
        if self.axes is None or len(self.slices) == 1:
            return [None] * len(self.slices)
        shared = {
            kind: shared_range(map(self.plane, members), channel_axis=self.channel_axis)
            for kind, members in self.kinds().items()
        }
        return [shared[self.kind(each)] for each in self.slices]

    def kind(self, of: Slice) -> int:
        """Which channel a slice shows, where channels count as images of their own."""
        channel = -1 if self.channels == "C" else (self.axes or "").find("C")
        position = of.index[channel] if channel >= 0 else 0
        return position if isinstance(position, int) else 0

    def kinds(self) -> dict[int, list[Slice]]:
        """Slices that show the same channel, and so share one scale."""
        found: dict[int, list[Slice]] = {}
        for each in self.slices:
            found.setdefault(self.kind(each), []).append(each)
        return found
