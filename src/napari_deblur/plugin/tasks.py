"""What a widget's work looks like from outside: a generator of events that ends with layers.

A task knows nothing of Qt: a worker thread drives it in the viewer, `finish` drives it in a script.
Closing the generator cancels the work, at the next tile.

Neither Qt nor torch here.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from napari.types import LayerDataTuple

__all__ = [
    "Event",
    "Opened",
    "Step",
    "Task",
    "Written",
    "finish",
    "follow",
    "where",
]


@dataclass(frozen=True)
class Step:
    """Some of the work is done.

    Attributes
    ----------
    done : float
        Part of the whole work, 0 to 1.
    message : str
        What is being done now, for people.
    """

    done: float
    message: str


@dataclass(frozen=True, eq=False)
class Opened:
    """A result that is filled plane by plane from now on, to be shown already.

    The same array comes back among the task's results.
    """

    layer: LayerDataTuple


@dataclass(frozen=True, eq=False)
class Written:
    """One more plane of an opened result is there.

    Attributes
    ----------
    data : array
        The opened result's array.
    """

    data: Any


Event: TypeAlias = Step | Opened | Written
Task: TypeAlias = Generator[Event, None, list[LayerDataTuple]]

T = TypeVar("T")


def finish(task: Generator[Event, None, T]) -> T:
    """Drive a task to its end and return its result."""
    while True:
        try:
            next(task)
        except StopIteration as end:
            result: T = end.value
            return result


# Part of the work on one plane at which a stage of the engine begins, and how it is called.
_STAGES = {
    "load": (0.0, "Loading the model"),
    "kernel": (0.02, "Estimating the kernel"),
    "refine": (0.15, "Refining the kernel"),
    "deblur": (0.6, "Deblurring"),
}
_PARTS = {"kernel": "tile", "refine": "step", "deblur": "tile"}


def follow(
    steps: Generator[Any, None, T],
    *,
    stages: tuple[str, ...],
    start: float = 0.0,
    share: float = 1.0,
    where: str = "",
    rounds: int = 1,
) -> Generator[Event, None, T]:
    """Turn a run of the engine into a task's steps, of which each is further than the last.

    Parameters
    ----------
    steps : generator of Progress
        Of the engine.  Closed with this generator.
    stages : tuple of str
        The stages that this run goes through, in order.
    start, share : float
        Where this run begins in the whole work, and how much of it it is.
    where : str
        Which plane this is, for the message.
    rounds : int
        How often the run goes through its first stages: twice where a kernel for the whole image
        is followed by those of a grid.
    """
    begins = [_STAGES[stage][0] for stage in stages]
    # Without an earlier stage, the first one begins at the beginning.
    begins = [(value - begins[0]) / (1 - begins[0]) for value in begins] + [1.0]
    furthest, last, passed = 0.0, 0, 0
    try:
        while True:
            try:
                progress = next(steps)
            except StopIteration as end:
                result: T = end.value
                return result
            number = stages.index(progress.stage) if progress.stage in stages else 0
            passed = min(passed + (number < last), rounds - 1)
            last = number
            part = progress.done / max(progress.total, 1)
            done = begins[number] + part * (begins[number + 1] - begins[number])
            # A larger kernel, or smaller tiles, make a stage begin anew: the bar waits for it.
            furthest = max(furthest, (passed + done) / rounds)
            text = _STAGES[progress.stage][1] + where
            if passed:
                text = text.replace("kernel", "kernels")
            if progress.total > 1:
                part_of = _PARTS[progress.stage]
                text += f", {part_of} {min(progress.done + 1, progress.total)} of {progress.total}"
            yield Step(start + share * furthest, text)
    finally:
        steps.close()


def where(number: int, count: int, thing: str = "plane") -> str:
    """Return " in plane 3 of 12" for the third of twelve; nothing for a single one."""
    return f" in {thing} {number + 1} of {count}" if count > 1 else ""
