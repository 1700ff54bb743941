"""The part of an image that a kernel is estimated from, as windows with weights; no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from scipy import ndimage

from napari_deblur.engine.arrays import SMALLEST_SIDE
from napari_deblur.engine.tiles import plan_tiles
from napari_deblur.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_deblur.engine.tiles import Window

__all__ = ["Region", "busiest_part", "find_region", "luma", "restrict", "restrict_frames"]

Frame = TypeVar("Frame")

RED_GREEN_BLUE = (0.299, 0.587, 0.114)  # Rec. 601


@dataclass(frozen=True)
class Region:
    """Where to look.

    Attributes
    ----------
    rows, columns : slice
        Bounds, at least 16 x 16 pixels, inside the image.
    mask : ndarray of bool, shape of the image, or None
        Pixels that count; None for all within the bounds.
    """

    rows: slice
    columns: slice
    mask: NDArray[np.bool_] | None = None

    def windows(self, tile: int) -> Iterator[Window]:
        """Windows of about `tile` pixels that cover the region, those without a pixel left out."""
        height = self.rows.stop - self.rows.start
        width = self.columns.stop - self.columns.start
        for part in plan_tiles((height, width), tile, 0):
            down, across = part.owned
            window = (
                slice(down.start + self.rows.start, down.stop + self.rows.start),
                slice(across.start + self.columns.start, across.stop + self.columns.start),
            )
            if self.mask is None or self.mask[window].any():
                yield window

    def fade(self, values: NDArray[np.float32], window: Window, width: int) -> NDArray[np.float32]:
        """Fade the values (h, w) of a window to their mean outside the mask.

        A hard edge at the mask's outline would correlate like one of the image.  So the weight
        rises from 0 at the outline to 1 at `width` pixels inside it.
        """
        if self.mask is None or self.mask[window].all():
            return values
        inside = self.mask[window]
        depth = ndimage.distance_transform_edt(np.pad(inside, 1, mode="edge"))[1:-1, 1:-1]
        weight = np.clip(depth / width, 0, 1).astype(np.float32)
        mean = float((weight * values).sum() / weight.sum())
        return np.asarray(mean + weight * (values - mean), np.float32)


def find_region(
    region: tuple[slice, slice] | NDArray[np.bool_] | None, size: tuple[int, int]
) -> Region:
    """Check a user's region against the image's height and width.

    Parameters
    ----------
    region : pair of slice, or array of shape (H, W), or None
        Rows and columns, or a mask whose values other than zero count; None for everything.
    size : tuple of int
        Height and width of the image.

    Raises
    ------
    InputError
        When it is neither, does not fit the image, or holds less than 16 x 16 pixels.
    """
    if region is None:
        return Region(slice(0, size[0]), slice(0, size[1]))
    if isinstance(region, tuple):
        return _from_slices(region, size)
    mask = np.asarray(region)
    if mask.shape != size or mask.dtype.kind not in "bui":
        raise InputError(
            f"a mask of shape {mask.shape} and dtype {mask.dtype} does not fit an image of "
            f"{size[0]} x {size[1]} pixels: give booleans or labels of the image's size"
        )
    mask = mask != 0
    found = ndimage.find_objects(mask.astype(np.int8))
    rows, columns = found[0] if found else (slice(0, 0), slice(0, 0))
    _check_bounds(rows, columns)
    return Region(rows, columns, mask)


def restrict(region: Region, window: Window) -> Region | None:
    """Return the part of a region in a window; None if fewer than 16 x 16 pixels can hold it."""
    rows, columns = (
        slice(max(one.start, other.start), min(one.stop, other.stop))
        for one, other in zip((region.rows, region.columns), window, strict=True)
    )
    if min(rows.stop - rows.start, columns.stop - columns.start) < SMALLEST_SIDE:
        return None
    if region.mask is None:
        return Region(rows, columns)
    if not region.mask[rows, columns].any():
        return None
    return Region(rows, columns, region.mask)


def restrict_frames(
    frames: Sequence[tuple[Frame, Region]], window: Window
) -> list[tuple[Frame, Region]]:
    """Return the frames whose regions have a part in a window (see `restrict`), and that part."""
    parts = [(frame, restrict(region, window)) for frame, region in frames]
    return [(frame, part) for frame, part in parts if part is not None]


def busiest_part(strength: NDArray[np.float32], largest: int) -> Window:
    """Part of at most `largest` pixels a side where the sum of a strength (h, w) is largest."""
    height, width = (min(largest, length) for length in strength.shape)
    sums = ndimage.uniform_filter(strength, (height, width), mode="constant")
    rows = slice(height // 2, strength.shape[0] - (height - 1) // 2)
    columns = slice(width // 2, strength.shape[1] - (width - 1) // 2)
    valid = sums[rows, columns]
    top, left = (int(each) for each in np.unravel_index(int(valid.argmax()), valid.shape))
    return slice(top, top + height), slice(left, left + width)


def luma(working: NDArray[np.float32]) -> NDArray[np.float32]:
    """Luma (h, w) of a working image (C, h, w): Rec. 601 of RGB, the channels' mean otherwise."""
    weights = RED_GREEN_BLUE if len(working) == 3 else (1 / len(working),) * len(working)
    return np.tensordot(np.asarray(weights, np.float32), working, axes=1)


def _from_slices(region: tuple[slice, slice], size: tuple[int, int]) -> Region:
    if len(region) != 2 or not all(isinstance(part, slice) for part in region):
        raise InputError(f"region {region!r} is not a pair of slices: give (rows, columns)")
    starts_and_stops = [part.indices(side) for part, side in zip(region, size, strict=True)]
    if any(step != 1 for _, _, step in starts_and_stops):
        raise InputError(f"region {region!r} has steps: give slices of every pixel")
    rows, columns = (slice(start, max(start, stop)) for start, stop, _ in starts_and_stops)
    _check_bounds(rows, columns)
    return Region(rows, columns)


def _check_bounds(rows: slice, columns: slice) -> None:
    height, width = rows.stop - rows.start, columns.stop - columns.start
    if min(height, width) < SMALLEST_SIDE:
        raise InputError(
            f"the region holds {height} x {width} pixels of the image: a kernel needs at least "
            f"{SMALLEST_SIDE} x {SMALLEST_SIDE}, better some hundreds; choose a larger one"
        )
