"""The life of a widget's run: a task in a worker thread, its progress, its end.

One run at a time in the whole process: two would fight for the device's memory and for the layers
that they write.  `activity` says which one, so that other widgets can wait and say why.

Everything here but the task itself happens on the main thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

from napari.qt.threading import GeneratorWorker, create_worker
from napari.types import LayerDataTuple
from napari.utils import cancelable_progress
from psygnal import Signal

from napari_deblur.plugin.tasks import Event, Step, Task

__all__ = ["Activity", "Listener", "Runner", "State", "activity", "stay_while", "time_left"]

_UNITS = 1000  # steps of a progress bar


class State(Enum):
    """Where a run is."""

    IDLE = "idle"
    RUNNING = "running"
    CANCELLING = "cancelling"


class Activity:
    """Which run is going on in this process, if any."""

    changed = Signal()

    def __init__(self) -> None:
        self._runner: Runner | None = None

    @property
    def title(self) -> str:
        """Title of the run that goes on; empty for none."""
        return "" if self._runner is None else self._runner.title

    def is_taken_by_other(self, runner: Runner) -> bool:
        """Whether another runner than this one has a run going on."""
        return self._runner is not None and self._runner is not runner

    def take(self, runner: Runner) -> None:
        """Begin a run."""
        self._runner = runner
        self.changed.emit()

    def release(self, runner: Runner) -> None:
        """End a run."""
        if self._runner is runner:
            self._runner = None
            self.changed.emit()


activity = Activity()
"""The one of this process."""


@dataclass(frozen=True)
class Listener:
    """What a widget does when its run goes on.

    Attributes
    ----------
    on_event : callable
        Gets every event of the task.
    on_done : callable
        Gets the layers at the end.
    on_failed : callable
        Gets the error that ended the run.
    on_cancelled : callable
        The run ended because somebody wanted it to.
    on_state : callable
        The state changed.
    """

    on_event: Callable[[Event], None]
    on_done: Callable[[list[LayerDataTuple]], None]
    on_failed: Callable[[Exception], None]
    on_cancelled: Callable[[], None]
    on_state: Callable[[], None]


@dataclass(frozen=True)
class _Failure:
    """What went wrong, in a wrapping: superqt raises exceptions that a worker returns."""

    error: Exception


_Outcome: TypeAlias = list[LayerDataTuple] | _Failure | None
"""The layers, what went wrong, or None for a cancelled run."""


class _DockProgress(cancelable_progress):  # type: ignore[misc]
    """A bar in napari's activity dock whose Cancel button reaches the run."""

    def __init__(self, title: str, on_cancel: Callable[[], None]) -> None:
        self._on_cancel = on_cancel
        super().__init__(total=_UNITS, desc=title, bar_format="|{remaining} left")

    def cancel(self) -> None:
        super().cancel()
        self._on_cancel()


class Runner:
    """Runs a widget's tasks, one after the other.

    Parameters
    ----------
    listener : Listener
        The widget's answers.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener: Listener | None = listener
        self._worker: GeneratorWorker | None = None
        self._task: Task | None = None
        self._bar: _DockProgress | None = None
        self._began, self._part_done = 0.0, 0.0
        self._moving = False
        self._outcome: _Outcome = None
        self._stop = threading.Event()
        self.title = ""
        self.state = State.IDLE
        self.seconds_left: float | None = None

    def start(self, task: Task, title: str) -> None:
        """Start a task in a worker thread.

        Raises
        ------
        RuntimeError
            When a run is going on, here or elsewhere in this process.
        """
        if activity.title:
            raise RuntimeError(f"{activity.title} is running: wait for it or cancel it")
        self.title, self._task, self._outcome = title, task, None
        self._began, self._part_done, self.seconds_left = time.monotonic(), 0.0, None
        self.state = State.RUNNING
        self._bar = _DockProgress(title, self.cancel)

        stop = self._stop = threading.Event()

        def drive() -> Generator[Event, None, _Outcome]:
            return (yield from _watched(task, stop))

        worker = create_worker(drive)
        worker.yielded.connect(self._on_event)
        worker.returned.connect(self._on_returned)
        worker.finished.connect(self._on_finished)
        self._worker = worker
        activity.take(self)
        worker.start()
        self._tell_state()

    def cancel(self) -> None:
        """Ask the run to end; it does so after the tile that it is at."""
        if self.state is State.RUNNING and self._worker is not None:
            self.state = State.CANCELLING
            self._stop.set()
            self._tell_state()

    def abandon(self) -> None:
        """Cancel the run and tell nobody any more: the widget is gone."""
        self._listener = None
        if self._worker is not None:
            self._worker.quit()

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Step):
            self._on_step(event)
            if event.done < self._part_done:
                return  # a later one came meanwhile
        if self._listener is not None and self.state is State.RUNNING:
            self._listener.on_event(event)

    def _on_step(self, step: Step) -> None:
        passed = time.monotonic() - self._began
        if step.done > 0:
            self.seconds_left = passed / step.done * (1 - step.done)
        self._part_done = step.done
        if self._moving:
            return
        # napari's bar lets waiting events run, among them further steps; where the main thread was
        # busy these are many.  They would move the bar inside of each other: the first one does.
        self._moving = True
        try:
            shown = None
            while self._bar is not None and shown != self._part_done:
                shown = self._part_done
                self._bar.update(max(0, round(shown * _UNITS) - self._bar.n))
        finally:
            self._moving = False

    def _on_returned(self, outcome: _Outcome) -> None:
        self._outcome = outcome

    def _on_finished(self) -> None:
        """Clean up, and tell the widget how it ended."""
        outcome = self._outcome
        if self.state is State.CANCELLING and isinstance(outcome, list):
            outcome = None  # it was done before it heard; who cancels wants no layers
        if self._task is not None:
            self._task.close()  # where napari made the worker quit between two steps
        if self._bar is not None:
            self._bar.close()
        self._worker = self._task = self._bar = self._outcome = None
        self.state, self.seconds_left = State.IDLE, None
        activity.release(self)
        if self._listener is None:
            return
        self._tell_state()
        if isinstance(outcome, list):
            self._listener.on_done(outcome)
        elif isinstance(outcome, _Failure):
            self._listener.on_failed(outcome.error)
        else:
            self._listener.on_cancelled()

    def _tell_state(self) -> None:
        if self._listener is not None:
            self._listener.on_state()


def _watched(task: Task, stop: threading.Event) -> Generator[Event, None, _Outcome]:
    """Drive a task in the worker's thread, and close it there when it is to stop.

    Whatever goes wrong comes back as a value: superqt takes a `RuntimeError` for a sign that the
    worker was deleted, and ends without a word to anybody.
    """
    try:
        while not stop.is_set():
            try:
                event = next(task)
            except StopIteration as end:
                layers: list[LayerDataTuple] = end.value
                return layers
            yield event
        task.close()
    except Exception as error:  # noqa: BLE001
        return _Failure(error)
    return None


def time_left(seconds: float | None) -> str:
    """Return a remaining time in words, rounded as people would; empty while unknown."""
    if seconds is None:
        return ""
    if seconds < 5:
        return "a few seconds left"
    if seconds < 90:
        return f"about {5 * round(seconds / 5)} s left"
    if seconds < 5400:
        return f"about {round(seconds / 60)} min left"
    return f"about {seconds / 3600:.1f} h left"


def stay_while(native: Any, runner: Runner, refresh: Callable[..., None]) -> None:
    """Tell a widget of other runs as long as it is there; with it ends the run that it started.

    The native widget goes before the Python one; from then on nothing of it may be touched.
    """
    activity.changed.connect(refresh)

    def let_go() -> None:
        activity.changed.disconnect(refresh, missing_ok=True)
        runner.abandon()

    native.destroyed.connect(let_go)
