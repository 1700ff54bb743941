"""What a run reports while it goes on, and what happens when the device's memory is too small."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

from napari_deblur.errors import OutOfMemoryError

if TYPE_CHECKING:
    import torch

__all__ = ["SMALLEST_TILE", "Progress", "count_up", "counted", "drain", "with_smaller_tiles"]

SMALLEST_TILE = 64
"""Side in pixels below which tiles are not halved any more."""

T = TypeVar("T")
Stage: TypeAlias = Literal["load", "kernel", "refine", "deblur"]


@dataclass(frozen=True)
class Progress:
    """A step of a run.

    Attributes
    ----------
    stage : {"load", "kernel", "refine", "deblur"}
        What is being done: loading the networks, estimating the kernel, refining it, deblurring.
    done, total : int
        Finished tiles of this stage, and how many there are.  When the device's memory did not
        suffice, the stage starts again at 0 with more, smaller tiles.
    """

    stage: Stage
    done: int
    total: int


def count_up(stage: Stage, total: int) -> Iterator[Progress]:
    """Reports of a stage of `total` steps, from the first, before any is done."""
    return (Progress(stage, done, total) for done in itertools.count())


def drain(steps: Generator[Progress, None, T]) -> T:
    """Run a generator to its end and return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def counted(
    steps: Generator[None, None, T], progress: Iterator[Progress]
) -> Generator[Progress, None, T]:
    """Run a generator to its end, with the next report after each of its steps."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
        yield next(progress)


def with_smaller_tiles(
    steps: Callable[[int], Generator[Progress, None, T]], tile: int, device: torch.device
) -> Generator[Progress, None, T]:
    """Run a stage; where memory does not suffice, again with tiles of half the side.

    Parameters
    ----------
    steps : callable
        Gets the side of the tiles in pixels and returns the stage's generator.
    tile : int
        Side to begin with.
    device : torch.device
        Where the stage computes; it is never changed.

    Raises
    ------
    OutOfMemoryError
        When even the smallest tile does not fit.
    """
    while True:
        try:
            return (yield from steps(tile))
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            if tile <= SMALLEST_TILE:
                raise OutOfMemoryError(
                    f"{device} has too little memory even for tiles of {tile} pixels: close other "
                    "programs that use it, or choose another device"
                ) from error
        # Outside the handler, whose traceback would keep the failed stage's tensors alive.
        tile = max(SMALLEST_TILE, tile // 2)
        _empty_cache(device)


def _is_out_of_memory(error: BaseException) -> bool:
    import torch

    if isinstance(error, OutOfMemoryError):  # already in words for the user
        return False
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error)
    return "can't allocate memory" in text or "out of memory" in text


def _empty_cache(device: torch.device) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
