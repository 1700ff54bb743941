"""Progress bars on stderr while it is a terminal, silence otherwise."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from napari_deblur.engine.progress import Progress

__all__ = ["Report", "follow", "progress_bar"]

T = TypeVar("T")
Report = Callable[[str, int, int], None]
"""Called with a description, how much is done, and how much there is."""

_STAGES = {"load": "loading", "kernel": "estimating the kernel", "deblur": "deblurring"}


@contextmanager
def progress_bar() -> Iterator[Report]:
    """Show a bar for the duration of a block; it disappears at the end."""
    if sys.stderr is None or not sys.stderr.isatty():  # there is none under pythonw, or after 2>&-
        yield lambda _description, _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def report(description: str, done: int, total: int) -> None:
            bar.update(task, description=description, completed=done, total=total)

        yield report


def follow(steps: Generator[Progress, None, T], report: Report, label: str) -> T:
    """Run an engine's generator to its end and report its steps.

    Whatever ends the run early, an interruption included, closes the generator, which frees
    what it holds.
    """
    try:
        while True:
            step = next(steps)
            report(f"{label}: {_STAGES.get(step.stage, step.stage)}", step.done, step.total)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        steps.close()
