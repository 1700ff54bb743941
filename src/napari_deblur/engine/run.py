"""The one generator behind the Python functions, the command line and the widgets.

`deblur_steps` and `kernel_steps` yield a `Progress` after every tile and return their result
(``result = yield from ...``, or `drain`).  Closing the generator cancels the run: it stops at the
tile it is at, and nothing that it allocated is left.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from napari_deblur.blur.alternation import resize_kernel
from napari_deblur.blur.kernel import check_kernel, check_side, delta_kernel
from napari_deblur.engine.devices import pick_device
from napari_deblur.engine.estimation import Estimate, estimate
from napari_deblur.engine.layout import Picture, Window, open_picture
from napari_deblur.engine.pair import LARGEST_KERNEL, Pair, load_pair
from napari_deblur.engine.progress import SMALLEST_TILE, Progress, with_smaller_tiles
from napari_deblur.engine.refinement import DEFAULT_ROUNDS, better_of, refine_kernel
from napari_deblur.engine.region import Region, find_region
from napari_deblur.engine.synthesis import (
    Plan,
    choose_tile,
    deblur_block,
    measure_noise,
    plan_blocks,
)
from napari_deblur.errors import InputError, OutputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_deblur.engine.layout import ArraySource

__all__ = [
    "KernelResult",
    "NothingToEstimateWarning",
    "Result",
    "deblur_steps",
    "drain",
    "kernel_steps",
]

T = TypeVar("T")

_RIM = 2  # pixels
_LARGEST_SHARE_AT_RIM = 0.1


class NothingToEstimateWarning(UserWarning):
    """The image has no texture, so no kernel could be estimated from it."""


@dataclass(frozen=True)
class KernelResult:
    """An estimated kernel and how it came about.

    Attributes
    ----------
    kernel : ndarray of shape (m, m), float32
        Convolution kernel, centred, sum 1.
    informative : bool
        False if the image has no texture; the kernel is then the one that changes nothing.
    model, device : str
        What estimated it, and where.
    seconds : float
        How long that took, loading included.
    settings : mapping
        Every parameter that decides the result, as plain values fit for JSON.
    """

    kernel: NDArray[np.float32]
    informative: bool
    model: str
    device: str
    seconds: float
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Result:
    """A deblurred image and how it came about.

    Attributes
    ----------
    image : ndarray
        Of the input's shape and dtype; the array given as `out` if there was one.
    kernel : ndarray of shape (m, m), float32
        The kernel that it was deblurred with, estimated or given.
    informative : bool
        False if a kernel was to be estimated and the image has no texture; the image is then
        returned as it was.
    model, device, seconds, settings
        See `KernelResult`.
    """

    image: Any
    kernel: NDArray[np.float32]
    informative: bool
    model: str
    device: str
    seconds: float
    settings: Mapping[str, Any]


def drain(steps: Generator[Progress, None, T]) -> T:
    """Run a generator to its end and return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def kernel_steps(
    image: ArraySource | ArrayLike,
    *more: ArraySource | ArrayLike,
    model: str | Path = "default",
    channel_axis: int | None = None,
    device: str = "auto",
    tile: int | None = None,
    region: tuple[slice, slice] | NDArray[np.bool_] | None = None,
    kernel_size: int | None = None,
    refine: int = DEFAULT_ROUNDS,
) -> Generator[Progress, None, KernelResult]:
    """Estimate the kernel of an image, or the one kernel that several images share.

    Parameters
    ----------
    image, *more : arrays
        See `napari_deblur.deblur`.  Of several (frames of a stack, channels), the correlation
        statistics are averaged, which gives a better kernel where each alone is noisy.
    model, channel_axis, device, tile
        See `napari_deblur.deblur`.
    region : pair of slice, or array of shape (H, W), optional
        Rows and columns, or a mask, of the part of every image that counts.
    kernel_size, refine
        See `napari_deblur.deblur`.

    Yields
    ------
    Progress
        After each window.

    Returns
    -------
    KernelResult

    Raises
    ------
    DeblurError
        See `napari_deblur.deblur`.

    Warns
    -----
    NothingToEstimateWarning
        When no image has any texture.
    """
    start = time.perf_counter()
    pictures = [open_picture(each, channel_axis=channel_axis) for each in (image, *more)]
    frames = [(each, find_region(region, each.layout.size)) for each in pictures]
    _check_tile(tile)
    _check_refine(refine)
    _check_kernel_size(kernel_size)
    pair = yield from _load(model, device)
    found = yield from _estimate(pair, frames, tile, kernel_size, refine)
    settings = {
        **_provenance(pair),
        "channel_axis": channel_axis,
        "tile": tile,
        "region": _describe(region),
        "kernel_size": kernel_size,
        "refine": refine,
        "frames": len(frames),
    }
    seconds = time.perf_counter() - start
    return KernelResult(
        found.kernel, found.informative, pair.name, str(pair.device), seconds, settings
    )


def deblur_steps(
    image: ArraySource | ArrayLike,
    kernel: ArrayLike | None = None,
    *,
    model: str | Path = "default",
    channel_axis: int | None = None,
    device: str = "auto",
    tile: int | None = None,
    region: tuple[slice, slice] | NDArray[np.bool_] | None = None,
    kernel_size: int | None = None,
    refine: int = DEFAULT_ROUNDS,
    noise: float | None = None,
    value_range: tuple[float, float] | None = None,
    out: Any = None,
) -> Generator[Progress, None, Result]:
    """Deblur an image, tile by tile.

    Parameters
    ----------
    image, kernel, model, channel_axis, device, tile, region, kernel_size, refine, noise, \
value_range, out
        See `napari_deblur.deblur`.

    Yields
    ------
    Progress
        After each tile.

    Returns
    -------
    Result

    Raises
    ------
    DeblurError
        See `napari_deblur.deblur`.

    Warns
    -----
    NothingToEstimateWarning
        When no kernel is given and the image has no texture to estimate one from.
    """
    start = time.perf_counter()
    picture = open_picture(image, channel_axis=channel_axis, value_range=value_range)
    area = find_region(region, picture.layout.size)
    given = None if kernel is None else check_kernel(kernel)
    _check_tile(tile)
    _check_refine(refine)
    _check_kernel_size(kernel_size)
    _check_noise(noise)
    out = _check_out(out, picture)
    pair = yield from _load(model, device)
    if given is None:
        found = yield from _estimate(pair, [(picture, area)], tile, kernel_size, refine)
    else:
        found = Estimate(check_kernel(given, largest=pair.largest_kernel), informative=True)
    used: int | None = tile
    if found.informative:
        levels = _noise_levels(pair, picture, noise)
        out, used = yield from _synthesise(pair, picture, found.kernel, levels, tile, out)
    else:
        out, levels = _copy(picture, out), np.zeros(1, np.float32)
    settings = {
        **_provenance(pair),
        "channel_axis": channel_axis,
        "tile": used,
        "region": _describe(region),
        "kernel_size": kernel_size,
        "refine": refine,
        "noise": float(levels.mean()) * picture.layout.span,
        "value_range": [picture.layout.low, picture.layout.high],
        "kernel": "estimated" if given is None else "given",
    }
    seconds = time.perf_counter() - start
    return Result(
        out, found.kernel, found.informative, pair.name, str(pair.device), seconds, settings
    )


def _load(model: str | Path, device: str) -> Generator[Progress, None, Pair]:
    chosen = pick_device(device)
    yield Progress("load", 0, 1)
    pair = load_pair(model, chosen)
    yield Progress("load", 1, 1)
    return pair


def _estimate(
    pair: Pair,
    frames: Sequence[tuple[Picture, Region]],
    tile: int | None,
    size: int | None,
    rounds: int,
) -> Generator[Progress, None, Estimate]:
    """Estimate a kernel of a given size, or of one that the blur turns out to need."""
    found = yield from _estimate_at(pair, frames, tile, size or pair.kernel_size, rounds)
    if size is not None or rounds == 0 or not found.informative:
        return found
    while _is_cut_off(found.kernel) and found.kernel.shape[-1] < LARGEST_KERNEL:
        wider = min(2 * found.kernel.shape[-1] - 1, LARGEST_KERNEL)
        other = yield from _estimate_at(pair, frames, tile, wider, rounds)
        better = better_of(frames, found.kernel, other.kernel, pair.device)
        if better is found.kernel:
            break
        found = other
    return found


def _is_cut_off(kernel: NDArray[np.float32]) -> bool:
    """Whether so much of a kernel lies at the rim of its support that it may go on beyond."""
    inner = kernel[_RIM:-_RIM, _RIM:-_RIM]
    return float(inner.sum()) < 1 - _LARGEST_SHARE_AT_RIM


def _estimate_at(
    pair: Pair,
    frames: Sequence[tuple[Picture, Region]],
    tile: int | None,
    size: int,
    rounds: int,
) -> Generator[Progress, None, Estimate]:
    """The kernel (size, size): the network's, on shrunk images if it must be, then refined."""
    factor = min(1.0, pair.kernel_size / size)

    def steps(side: int) -> Generator[Progress, None, Estimate]:
        return estimate(pair, frames, side, factor)

    found = yield from with_smaller_tiles(steps, tile or choose_tile(pair), pair.device)
    if not found.informative:
        warnings.warn(
            "the image has no texture, so its blur cannot be estimated: the kernel changes "
            "nothing; choose a region with edges",
            NothingToEstimateWarning,
            stacklevel=2,
        )
        return Estimate(delta_kernel(size), informative=False)
    if rounds == 0:
        return Estimate(resize_kernel(found.kernel, 1 / factor, size), informative=True)
    kernel = yield from refine_kernel(
        frames, found.kernel, rounds, pair.device, factor=factor, size=size
    )
    return Estimate(kernel, informative=True)


def _synthesise(
    pair: Pair,
    picture: Picture,
    kernel: NDArray[np.float32],
    noise: NDArray[np.float32],
    tile: int | None,
    out: Any,
) -> Generator[Progress, None, tuple[Any, int]]:
    """The deblurred image, and the side of the tiles that fitted."""
    target = _allocate(picture) if out is None else out

    def steps(side: int) -> Generator[Progress, None, int]:
        layout = picture.layout
        plan = plan_blocks(pair, layout.size, layout.channels, kernel, side)
        yield from _deblur_blocks(pair, picture, plan, noise, target)
        return side

    used = yield from with_smaller_tiles(steps, tile or choose_tile(pair), pair.device)
    return target, used


def _deblur_blocks(
    pair: Pair, picture: Picture, plan: Plan, noise: NDArray[np.float32], out: Any
) -> Generator[Progress, None, None]:
    done = 0
    yield Progress("deblur", done, plan.steps)
    for block in plan.blocks:
        steps = deblur_block(pair, picture.read(block.source), plan, noise)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                sharp: NDArray[np.float32] = end.value
                break
            done += 1
            yield Progress("deblur", done, plan.steps)
        picture.write(out, block.owned, sharp[(slice(None), *block.inner)])


def _noise_levels(pair: Pair, picture: Picture, noise: float | None) -> NDArray[np.float32]:
    """Noise of each channel in the working range, measured or given in the array's own units."""
    if noise is None:
        return measure_noise(pair, picture)
    return np.full(picture.layout.channels, noise / picture.layout.span, np.float32)


def _allocate(picture: Picture) -> NDArray[Any]:
    return np.empty(picture.layout.shape, picture.layout.dtype)


def _copy(picture: Picture, out: Any) -> Any:
    """The image as it is, in `out` or a new array."""
    target = _allocate(picture) if out is None else out
    window: Window = (slice(0, picture.layout.size[0]), slice(0, picture.layout.size[1]))
    index = picture.layout.index(window)
    target[index] = np.asarray(picture.array[index])
    return target


def _provenance(pair: Pair) -> dict[str, Any]:
    return {
        "model": pair.name,
        "weights": dict(pair.hashes),
        "device": str(pair.device),
        "precision": str(pair.precision).removeprefix("torch."),
    }


def _describe(region: tuple[slice, slice] | NDArray[np.bool_] | None) -> Any:
    if region is None:
        return None
    if isinstance(region, tuple):
        return [[part.start, part.stop] for part in region]
    return "mask"


def _check_tile(tile: int | None) -> None:
    if tile is None:
        return
    if isinstance(tile, bool) or not isinstance(tile, (int, np.integer)) or tile < SMALLEST_TILE:
        raise InputError(
            f"tile {tile!r} is not a whole number of pixels from {SMALLEST_TILE} up: leave it out "
            "to have it chosen from the free memory"
        )


def _check_refine(rounds: int) -> None:
    if isinstance(rounds, bool) or not isinstance(rounds, (int, np.integer)) or rounds < 0:
        raise InputError(
            f"refine {rounds!r} is not a number of rounds: give 0 for the network's kernel as it "
            f"is, or a whole number such as {DEFAULT_ROUNDS}"
        )


def _check_kernel_size(size: int | None) -> None:
    if size is None:
        return
    if not 3 <= check_side(size, name="kernel_size") <= LARGEST_KERNEL:
        raise InputError(
            f"kernel_size is {size}: it must be an odd number from 3 to {LARGEST_KERNEL}; "
            "shrink the image if its blur is larger"
        )


def _check_noise(noise: float | None) -> None:
    if noise is not None and not (np.isfinite(noise) and noise >= 0):
        raise InputError(
            f"noise {noise!r} is not a standard deviation: give a number from 0 up, in the image's "
            "own units, or leave it out to have it measured"
        )


def _check_out(out: Any, picture: Picture) -> Any:
    if out is None:
        return None
    layout = picture.layout
    if tuple(out.shape) != layout.shape or np.dtype(out.dtype) != layout.dtype:
        raise OutputError(
            f"out has shape {tuple(out.shape)} and dtype {out.dtype}: it must have the image's, "
            f"{layout.shape} and {layout.dtype}"
        )
    if out is picture.array or (
        isinstance(out, np.ndarray)
        and isinstance(picture.array, np.ndarray)
        and np.may_share_memory(out, picture.array)
    ):
        raise OutputError(
            "out shares memory with the image, which is never written to: give another"
        )
    return out
