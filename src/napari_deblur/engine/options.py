"""What a run is told: every parameter of `deblur_steps` and `kernel_steps`, checked in one place.

A generator makes one `Options` of its keywords before anything is read or loaded, and hands it to
every stage; a stage takes from it what it needs.  So a new parameter is added here, to the keywords
and to `Options`, with its check in `__post_init__` and its line in `settings`, and used where it
acts:

- what the numbers of an image mean (`channel_axis`, `value_range`, a gamma curve) in `open`;
- what is left out or weighed differently when kernels are looked for (`region`, clipped pixels) in
  `napari_deblur.engine.search`, which calls `estimation` and `refinement`;
- what the deconvolution is told (`noise`, clipped pixels) in `napari_deblur.engine.restoration`,
  which calls `synthesis`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import numpy as np

from napari_deblur.blur.kernel import check_side
from napari_deblur.engine.layout import Picture, open_picture
from napari_deblur.engine.pair import LARGEST_KERNEL
from napari_deblur.engine.progress import SMALLEST_TILE
from napari_deblur.engine.refinement import DEFAULT_ROUNDS
from napari_deblur.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from napari_deblur.engine.arrays import ArraySource

__all__ = ["ImageOptions", "KernelOptions", "Options"]

_SMALLEST_GAMMA = 0.2
_LARGEST_GAMMA = 5.0


class KernelOptions(TypedDict, total=False):
    """Keywords of what estimates kernels; see `napari_deblur.deblur` for what they mean."""

    model: str | Path
    channel_axis: int | None
    device: str
    tile: int | None
    region: tuple[slice, slice] | NDArray[np.bool_] | None
    kernel_size: int | None
    refine: int
    gamma: float
    saturation: float | None


class ImageOptions(KernelOptions, total=False):
    """Keywords of what deblurs as well."""

    noise: float | None
    value_range: tuple[float, float] | None
    field: Literal["uniform", "grid"]
    grid: tuple[int, int] | None


@dataclass(frozen=True, kw_only=True)
class Options:
    """Parameters of a run; see `napari_deblur.deblur` for what they mean.

    Raises
    ------
    InputError, KernelError
        When a value is out of its range.
    """

    model: str | Path = "default"
    channel_axis: int | None = None
    device: str = "auto"
    tile: int | None = None
    region: tuple[slice, slice] | NDArray[np.bool_] | None = None
    kernel_size: int | None = None
    refine: int = DEFAULT_ROUNDS
    noise: float | None = None
    value_range: tuple[float, float] | None = None
    field: Literal["uniform", "grid"] = "uniform"
    grid: tuple[int, int] | None = None
    gamma: float = 1.0
    saturation: float | None = None

    def __post_init__(self) -> None:
        """Check what can be checked without an image."""
        _check_tile(self.tile)
        _check_refine(self.refine)
        _check_kernel_size(self.kernel_size)
        _check_noise(self.noise)
        _check_field(self.field)
        _check_grid(self.grid, self.field)
        _check_gamma(self.gamma)
        _check_saturation(self.saturation)

    def open(self, image: ArraySource | ArrayLike) -> Picture:
        """Take an array as an image.

        Raises
        ------
        InputError
            When it is none.
        """
        return open_picture(
            image,
            channel_axis=self.channel_axis,
            value_range=self.value_range,
            gamma=self.gamma,
            saturation=self.saturation,
        )

    def settings(self) -> dict[str, Any]:
        """Return what decides a kernel, as plain values fit for JSON."""
        return {
            "channel_axis": self.channel_axis,
            "tile": self.tile,
            "region": _describe(self.region),
            "kernel_size": self.kernel_size,
            "refine": self.refine,
            "gamma": self.gamma,
            "saturation": _describe_level(self.saturation),
        }


def _describe(region: tuple[slice, slice] | NDArray[np.bool_] | None) -> Any:
    if region is None:
        return None
    if isinstance(region, tuple):
        return [[part.start, part.stop] for part in region]
    return "mask"


def _describe_level(saturation: float | None) -> float | str | None:
    """JSON has no infinity."""
    return "off" if saturation is not None and np.isinf(saturation) else saturation


def _is_whole(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    kinds = (int, float, np.integer, np.floating)
    return isinstance(value, kinds) and not isinstance(value, bool)


def _check_tile(tile: int | None) -> None:
    if tile is not None and not (_is_whole(tile) and tile >= SMALLEST_TILE):
        raise InputError(
            f"tile {tile!r} is not a whole number of pixels from {SMALLEST_TILE} up: leave it out "
            "to have it chosen from the free memory"
        )


def _check_refine(rounds: int) -> None:
    if not (_is_whole(rounds) and rounds >= 0):
        raise InputError(
            f"refine {rounds!r} is not a number of rounds: give 0 for the network's kernel as it "
            f"is, or a whole number such as {DEFAULT_ROUNDS}"
        )


def _check_kernel_size(size: int | None) -> None:
    if size is not None and not 3 <= check_side(size, name="kernel_size") <= LARGEST_KERNEL:
        raise InputError(
            f"kernel_size is {size}: it must be an odd number from 3 to {LARGEST_KERNEL}; "
            "shrink the image if its blur is larger"
        )


def _check_noise(noise: float | None) -> None:
    if noise is not None and not (_is_number(noise) and 0 <= noise < np.inf):
        raise InputError(
            f"noise {noise!r} is not a standard deviation: give a number from 0 up, in the image's "
            "own units, or leave it out to have it measured"
        )


def _check_field(field: str) -> None:
    if field not in ("uniform", "grid"):
        raise InputError(
            f"field {field!r} is unknown: give 'uniform' for one kernel, or 'grid' for kernels "
            "that vary over the field"
        )


def _check_grid(grid: tuple[int, int] | None, field: str) -> None:
    if grid is None:
        return
    if field != "grid":
        raise InputError(
            f"grid {grid!r} goes with field='grid' only: give that too, or leave the grid out"
        )
    if (
        not isinstance(grid, tuple)
        or len(grid) != 2
        or not all(_is_whole(each) and each >= 1 for each in grid)
    ):
        raise InputError(
            f"grid {grid!r} is not two whole numbers, rows and columns: give for instance (3, 4)"
        )


def _check_gamma(gamma: float) -> None:
    if not (_is_number(gamma) and _SMALLEST_GAMMA <= gamma <= _LARGEST_GAMMA):
        raise InputError(
            f"gamma {gamma!r} is not an exponent from {_SMALLEST_GAMMA} to {_LARGEST_GAMMA}: give "
            "2.2 for photographs from a camera, or leave it out for values proportional to light"
        )


def _check_saturation(saturation: float | None) -> None:
    if saturation is not None and not (_is_number(saturation) and saturation > -np.inf):
        raise InputError(
            f"saturation {saturation!r} is not a level: give the value from which pixels are "
            "clipped, inf if none is, or leave it out to have it found"
        )
