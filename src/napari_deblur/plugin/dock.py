"""What all widgets have in common: fields, checks, Run and Cancel, progress, results as layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import napari
from magicgui.widgets import Container, Label, ProgressBar, PushButton, Widget
from napari.layers import Image, Layer
from napari.types import LayerDataTuple

from napari_deblur.errors import DeblurError
from napari_deblur.plugin.copying import CopyButtons
from napari_deblur.plugin.engine_fields import EngineFields
from napari_deblur.plugin.fields import mark
from napari_deblur.plugin.image_fields import ImageFields
from napari_deblur.plugin.preferences import apply_environment, read_preferences
from napari_deblur.plugin.results import Results
from napari_deblur.plugin.rows import LABEL_ROOM, Disclosure, row
from napari_deblur.plugin.run import Listener, Runner, State, activity, stay_while, time_left
from napari_deblur.plugin.slices import LayerView
from napari_deblur.plugin.tasks import Event, Opened, Step, Task
from napari_deblur.plugin.weights_task import fetch_task

__all__ = ["TaskWidget"]


class TaskWidget(Container[Widget]):
    """A dock widget that makes layers out of an image layer.

    Parameters
    ----------
    viewer : Viewer or ViewerModel, optional
        The viewer; the current one by default.

    A subclass makes its fields after this constructor and then calls `_build`.
    """

    title: ClassVar[str]
    run_text: ClassVar[str] = "Run"
    updated_in_place: ClassVar[frozenset[str]] = frozenset()
    """Kinds of results (see `provenance`) of which a source has only one layer."""

    def __init__(self, viewer: Any) -> None:
        super().__init__(labels=True)
        self._viewer = viewer if viewer is not None else napari.current_viewer()
        apply_environment(read_preferences())
        self.source = ImageFields(self._viewer)
        self._engine: EngineFields | None = None
        self._run = PushButton(text=self.run_text, name="run")
        self._cancel = PushButton(text="Cancel", name="cancel", enabled=False)
        self._bar = ProgressBar(value=0, min=0, max=1000, visible=False, label="")
        self._status = Label(value="", label=LABEL_ROOM)
        self._results = Results(self._viewer, self.source, self.updated_in_place)
        self._copying = CopyButtons(self.source.layers, self._say)
        self._has_said = False
        self._runner = Runner(
            Listener(
                on_event=self._on_event,
                on_done=self._on_done,
                on_failed=self._on_failed,
                on_cancelled=self._on_cancelled,
                on_state=self._on_state,
            )
        )

    def _build(
        self, fields: Sequence[Widget], advanced: Sequence[Widget], engine: EngineFields | None
    ) -> None:
        """Put the fields in order and let them talk to each other.

        Parameters
        ----------
        fields : sequence of Widget
            The subclass's fields.  The image's field comes before them.
        advanced : sequence of Widget
            Fields that are seldom needed, shown on demand.
        engine : EngineFields, optional
            Those of the engine, which are among the others.
        """
        self._engine = engine
        group = [*advanced, self.source.channels]
        self._advanced = Disclosure("Advanced", group, self._is_apt)
        self.extend(
            [
                self.source.image,
                self.source.level_field,
                *fields,
                self._advanced.button,
                *group,
                row(self._run, self._cancel),
                self._bar,
                self._status,
                *self._copying.widgets,
            ]
        )
        checked = [self.source.image, *fields, *advanced]
        self._tooltips = {widget: widget.tooltip or "" for widget in checked}
        self._status.native.setWordWrap(True)
        if engine is not None:
            engine.show_apt_fields()
        self._connect([*fields, *advanced])
        self.reset_choices()

    # What a subclass says.

    def _task(self) -> Task:
        """Return the work that Run starts."""
        raise NotImplementedError

    def _problems(self, view: LayerView) -> Iterator[tuple[Widget, str]]:
        """Fields whose values cannot be used, and why and what to do."""
        del view
        yield from ()

    def _is_apt(self, widget: Widget) -> bool:
        """Whether an advanced field means anything now."""
        if widget is self.source.channels:
            return self.source.has_channel_choice
        return self._engine is None or self._engine.is_apt(widget)

    def _follow_image(self, view: LayerView | None) -> None:
        """Adapt the fields to the chosen image."""

    def _summary(self, layers: list[Layer]) -> str:
        """Return what is to be said of the results, beside the time that they took."""
        del layers
        return ""

    # What a subclass and a script use.

    @property
    def layer(self) -> Image:
        """The chosen image layer, which there is when Run is enabled."""
        assert self.source.layer is not None
        return self.source.layer

    def _values(self) -> dict[str, Any]:
        """Arguments for the functions of this plugin that all widgets with an engine share."""
        engine = {} if self._engine is None else self._engine.values()
        return engine | self.source.values() | {"index": self.source.shown_index}

    def run(self) -> None:
        """Start a run with the fields' values, as the Run button does."""
        try:
            task = self._task()
        except DeblurError as error:
            self._say(str(error), wrong=True)
            return
        self._say("Starting …")
        self._runner.start(task, f"{self.title}: {self.layer.name}")

    def cancel(self) -> None:
        """End the run at the next tile, as the Cancel button does."""
        self._runner.cancel()

    def fetch(self) -> None:
        """Fetch the weights that the chosen model lacks, as the Download button does."""
        if self._engine is not None:
            self._say("Starting …")
            self._runner.start(fetch_task(str(self._engine.model.value)), "Download weights")

    @property
    def state(self) -> State:
        """Whether a run is going on."""
        return self._runner.state

    @property
    def status(self) -> str:
        """What the widget says at the moment."""
        return str(self._status.value)

    def reset_choices(self, *_: Any) -> None:
        """Look at the viewer's layers again; napari calls this when they change."""
        super().reset_choices()
        self._on_image()

    # How it works.

    def _connect(self, fields: Sequence[Widget]) -> None:
        self._run.clicked.connect(self.run)
        self._cancel.clicked.connect(self.cancel)
        self.source.image.changed.connect(self._on_image)
        self.source.level_field.changed.connect(self._refresh)
        self.source.channels.changed.connect(self._on_image_axes)
        if self._engine is not None:
            self._engine.fetch.clicked.connect(self.fetch)
            self._engine.clipped.changed.connect(self._advanced.update)
        for widget in fields:
            if hasattr(widget, "changed"):
                widget.changed.connect(self._refresh)
        stay_while(self.native, self._runner, self._refresh)

    def _on_image(self, *_: Any) -> None:
        self.source.follow()
        self._on_image_axes()

    def _on_image_axes(self, *_: Any) -> None:
        self._follow_image(self.source.view)
        self._advanced.update()
        self._refresh()

    def _refresh(self, *_: Any) -> None:
        """Mark wrong fields, and let Run say what keeps it from running."""
        problems = dict(self._all_problems())
        for widget, tooltip in self._tooltips.items():
            mark(widget, problems.get(widget, ""), tooltip)
        reasons = list(problems.values())
        if activity.is_taken_by_other(self._runner):
            reasons.insert(0, f"{activity.title} is running: wait for it or cancel it.")
        idle = self.state is State.IDLE
        self._run.enabled = idle and not reasons
        self._run.tooltip = reasons[0] if reasons else f"{self.title} now."
        self._cancel.enabled = self.state is State.RUNNING
        if idle and not self._has_said:
            self._say(reasons[0] if reasons else "", wrong=bool(reasons))

    def _all_problems(self) -> Iterator[tuple[Widget, str]]:
        yield from self.source.problems()
        view = self.source.view
        if view is not None:
            yield from self._problems(view)
            if self._engine is not None:
                yield from self._engine.problems()

    def _on_state(self) -> None:
        cancelling = self.state is State.CANCELLING
        self._cancel.text = "Cancelling…" if cancelling else "Cancel"
        self._bar.visible = self.state is not State.IDLE
        if self.state is State.IDLE:
            self._bar.value = 0
        elif cancelling:
            self._say("Cancelling…")
        else:
            self._has_said = False
            self._copying.offer(None)
        self._refresh()

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Step):
            self._bar.value = round(1000 * event.done)
            left = time_left(self._runner.seconds_left)
            self._say(event.message + (f"; {left}" if left else ""))
        elif isinstance(event, Opened):
            self._results.open(event.layer)
        else:
            self._results.refresh()

    def _on_done(self, made: list[LayerDataTuple]) -> None:
        if not made:  # weights were fetched
            if self._engine is not None:
                self._engine.show_apt_fields()
            self._refresh()
            return
        layers = self._results.show(made)
        self._has_said = True
        self._copying.offer(layers[0])
        record = self._copying.record
        where = f" in {record['seconds']:.1f} s on {record['device']}" if record else ""
        self._say(f"Done{where}. {self._summary(layers)}".strip())
        self._refresh()

    def _on_failed(self, error: Exception) -> None:
        self._results.discard()
        if isinstance(error, DeblurError):
            self._say(str(error), wrong=True)
            return
        self._say(f"Stopped by an error of this program: {error}", wrong=True)
        napari.utils.notifications.notification_manager.receive_error(
            type(error), error, error.__traceback__
        )

    def _on_cancelled(self) -> None:
        self._results.discard()
        self._say("Cancelled; nothing was changed.")

    def _say(self, text: str, *, wrong: bool = False) -> None:
        self._status.value = text
        self._status.native.setStyleSheet("color: #e8836f;" if wrong else "")
