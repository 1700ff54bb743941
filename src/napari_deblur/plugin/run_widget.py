"""A widget that runs something: Run, Cancel, progress, messages, what keeps it from running."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import napari
from magicgui.widgets import Container, Label, ProgressBar, PushButton, Widget
from napari.types import LayerDataTuple
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QSizePolicy

from napari_deblur.errors import DeblurError
from napari_deblur.plugin.fields import mark
from napari_deblur.plugin.rows import LABEL_ROOM, make_scrollable, row
from napari_deblur.plugin.run import Listener, Runner, State, activity, stay_while, time_left
from napari_deblur.plugin.tasks import Event, Step, Task

__all__ = ["RunWidget"]

_MAY_BREAK = "\N{ZERO WIDTH SPACE}"
"""Where a line may break within names and paths, which have no spaces."""


class RunWidget(Container[Widget]):
    """Runs a task in a worker and says how it goes.

    Parameters
    ----------
    viewer : Viewer or ViewerModel, optional
        The viewer; the current one by default.

    A subclass makes its fields after this constructor, puts them and `_run_rows` in order, and then
    calls `_watch`.
    """

    title: ClassVar[str]
    run_text: ClassVar[str] = "Run"
    cancel_text: ClassVar[str] = "Cancel"
    cancelling_text: ClassVar[str] = "Cancelling…"

    def __init__(self, viewer: Any) -> None:
        super().__init__(labels=True)
        self._viewer = viewer if viewer is not None else napari.current_viewer()
        self._run = PushButton(text=self.run_text, name="run")
        self._cancel = PushButton(text=self.cancel_text, name="cancel", enabled=False)
        self._bar = ProgressBar(value=0, min=0, max=1000, visible=False, label="")
        self._status = Label(value="")
        self._status.native.setWordWrap(True)
        self._status.native.setTextFormat(Qt.TextFormat.PlainText)  # names may look like HTML
        fill = QSizePolicy.Policy  # magicgui's labels are as narrow as they can be
        self._status.native.setSizePolicy(fill.Expanding, fill.Preferred)
        self._has_result = False
        self._said = "", False
        self._tooltips: dict[Widget, str] = {}
        self._runner = Runner(
            Listener(
                on_event=self._on_event,
                on_done=self._on_done,
                on_failed=self._on_failed,
                on_cancelled=self._on_cancelled,
                on_state=self._on_state,
            )
        )

    # What a subclass says.

    def _task(self) -> Task:
        """Return the work that Run starts."""
        raise NotImplementedError

    def _subject(self) -> str:
        """Return what the run is about, for its title in the activity dock."""
        return ""

    def _problems(self) -> Iterator[tuple[Widget, str]]:
        """Fields whose values cannot be used, and why and what to do."""
        raise NotImplementedError

    def _show(self, made: list[LayerDataTuple]) -> None:
        """Show what a run has made, and say so."""
        raise NotImplementedError

    def _discard(self) -> None:
        """Remove what a run that was broken off has shown."""

    # What scripts use.

    def run(self) -> None:
        """Start a run with the fields' values, as the Run button does."""
        try:
            task = self._task()
        except DeblurError as error:
            self._say(str(error), wrong=True)
            return
        self._start(task, ": ".join(filter(None, (self.title, self._subject()))))

    def cancel(self) -> None:
        """End the run at the next tile, as the Cancel button does."""
        self._runner.cancel()

    @property
    def state(self) -> State:
        """Whether a run is going on."""
        return self._runner.state

    @property
    def status(self) -> str:
        """What the widget says at the moment."""
        return str(self._status.value).replace(_MAY_BREAK, "")

    # How it works.

    @property
    def _run_rows(self) -> Sequence[Widget]:
        return row(self._run, self._cancel), self._bar, row(self._status, label=LABEL_ROOM)

    def _start(self, task: Task, title: str) -> None:
        self._say("Starting …")
        self._runner.start(task, title)

    def _watch(self, checked: Sequence[Widget]) -> None:
        """Let the buttons act, check these fields whenever one changes, and let all be scrolled."""
        self._tooltips = {widget: widget.tooltip or "" for widget in checked}
        self._run.clicked.connect(self.run)
        self._cancel.clicked.connect(self.cancel)
        for widget in checked:
            if hasattr(widget, "changed"):
                widget.changed.connect(self._refresh)
        make_scrollable(self)
        stay_while(self.native, self._runner, self._refresh)

    def _refresh(self, *_: Any) -> None:
        """Mark wrong fields, and let Run say what keeps it from running."""
        problems = dict(self._problems())
        for widget, tooltip in self._tooltips.items():
            mark(widget, problems.get(widget, ""), tooltip)
        reasons = list(problems.values())
        if activity.is_taken_by_other(self._runner):
            reasons.insert(0, f"{activity.title} is running: wait for it or cancel it.")
        idle = self.state is State.IDLE
        self._run.enabled = idle and not reasons
        self._run.tooltip = reasons[0] if reasons else f"{self.title} now."
        self._cancel.enabled = self.state is State.RUNNING
        if idle and not self._has_result:
            self._said = "", False
        self._show_text(*((reasons[0], True) if idle and reasons else self._said))

    def _on_state(self) -> None:
        cancelling = self.state is State.CANCELLING
        self._cancel.text = self.cancelling_text if cancelling else self.cancel_text
        self._bar.visible = self.state is not State.IDLE
        if self.state is State.IDLE:
            self._bar.value = 0
        elif cancelling:
            self._say(self.cancelling_text)
        else:
            self._has_result = False
        self._refresh()

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Step):
            self._bar.value = round(1000 * event.done)
            left = time_left(self._runner.seconds_left)
            self._say(event.message + (f"; {left}" if left else ""))

    def _on_done(self, made: list[LayerDataTuple]) -> None:
        self._show(made)
        self._refresh()

    def _on_failed(self, error: Exception) -> None:
        self._discard()
        if isinstance(error, DeblurError):
            self._say(str(error), wrong=True)
            return
        self._say(f"Stopped by an error of this program: {error}", wrong=True)
        napari.utils.notifications.notification_manager.receive_error(
            type(error), error, error.__traceback__
        )

    def _on_cancelled(self) -> None:
        self._discard()
        self._say("Cancelled; nothing was changed.")

    def _say(self, text: str, *, wrong: bool = False) -> None:
        """Say how a run goes or went; what keeps the next one from running goes before it."""
        self._said = text, wrong
        self._show_text(text, wrong)

    def _show_text(self, text: str, wrong: bool) -> None:
        self._status.value = re.sub(r"(?<=[/\\_])", _MAY_BREAK, text)
        self._status.native.setStyleSheet("color: #e8836f;" if wrong else "")
