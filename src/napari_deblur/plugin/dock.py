"""What all widgets have in common: fields, checks, Run and Cancel, progress, results as layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import napari
import numpy as np
from magicgui.widgets import CheckBox, ComboBox, Container, Label, ProgressBar, PushButton, Widget
from napari.layers import Image, Layer
from napari.types import LayerDataTuple

from napari_deblur.engine.layout import SMALLEST_SIDE
from napari_deblur.errors import DeblurError
from napari_deblur.plugin import clipboard
from napari_deblur.plugin.engine_fields import EngineFields
from napari_deblur.plugin.fields import (
    channel_choices,
    image_choices,
    image_field,
    level_choices,
    mark,
)
from napari_deblur.plugin.preferences import apply_environment, read_preferences
from napari_deblur.plugin.provenance import command_line, python_code, record_of
from napari_deblur.plugin.regions import visible_region, whole_region
from napari_deblur.plugin.run import Listener, Runner, State, activity, time_left
from napari_deblur.plugin.slices import Index, LayerView, view_layer
from napari_deblur.plugin.tasks import Event, Opened, Step, Task
from napari_deblur.plugin.weights_task import fetch_task

__all__ = ["TaskWidget"]

_NO_IMAGE = "There is no image layer: open a file, or take one from File > Open Sample > Deblur."


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
        self._opened: Layer | None = None
        self._result: Layer | None = None
        self._after_fetch: Callable[[], None] = lambda: None
        apply_environment(read_preferences())
        self._image = image_field(self._image_choices)
        self._level = ComboBox(
            name="level",
            label="level",
            choices=lambda _: level_choices(self.layer),
            visible=False,
            tooltip="Which level of the multiscale layer to work on.",
        )
        self._channels = ComboBox(
            name="channels",
            label="channels",
            choices=lambda _: channel_choices(self.layer),
            visible=False,
            tooltip="The axis of which all entries were taken in one exposure and share a kernel.",
        )
        self._more = CheckBox(value=False, text="More options", label="")
        self._run = PushButton(text=self.run_text, name="run")
        self._cancel = PushButton(text="Cancel", name="cancel", enabled=False)
        self._bar = ProgressBar(value=0, min=0, max=1000, visible=False, label="")
        self._status = Label(value="", label="")
        self._copy_command = PushButton(text="Copy command line", enabled=False)
        self._copy_python = PushButton(text="Copy Python", enabled=False)
        self._extra: list[Widget] = [self._channels]
        self._runner = Runner(
            Listener(
                on_event=self._on_event,
                on_done=self._on_done,
                on_failed=self._on_failed,
                on_cancelled=self._on_cancelled,
                on_state=self._on_state,
            )
        )

    def _build(self, fields: Sequence[Widget], more: Sequence[Widget]) -> None:
        """Put the fields in order and let them talk to each other.

        Parameters
        ----------
        fields : sequence of Widget
            The subclass's fields.  The image's field comes before them.
        more : sequence of Widget
            Fields that are seldom needed, shown on demand.
        """
        self._extra = [*more, self._channels]
        for widget in self._extra:
            widget.visible = False
        self.extend(
            [
                self._image,
                self._level,
                *fields,
                self._more,
                *self._extra,
                _row(self._run, self._cancel),
                self._bar,
                self._status,
                _row(self._copy_command, self._copy_python),
            ]
        )
        self._tooltips = {widget: widget.tooltip for widget in [self._image, *fields, *more]}
        self._status.native.setWordWrap(True)
        self._connect(fields)
        self.reset_choices()

    # What a subclass says.

    def _task(self) -> Task:
        """Return the work that Run starts."""
        raise NotImplementedError

    def _problems(self, view: LayerView) -> Iterator[tuple[Widget, str]]:
        """Fields whose values cannot be used, and why and what to do."""
        del view
        yield from ()

    def _follow_image(self, view: LayerView | None) -> None:
        """Adapt the fields to the chosen image."""

    def _summary(self, layers: list[Layer]) -> str:
        """Return what is to be said of the results, beside the time that they took."""
        del layers
        return ""

    # What a subclass uses.

    @property
    def layer(self) -> Image | None:
        """The chosen image layer."""
        value = self._image.value
        return value if isinstance(value, Image) else None

    @property
    def view(self) -> LayerView | None:
        """The chosen image as planes; None where that is impossible."""
        if self.layer is None:
            return None
        try:
            return view_layer(self.layer, level=self.level, channel_axis=self.channel_axis)
        except DeblurError:
            return None

    @property
    def level(self) -> int:
        """The chosen level of a multiscale layer."""
        return int(self._level.value or 0)

    @property
    def channel_axis(self) -> int | None:
        """The chosen axis of channels, None for what the labels say."""
        value = self._channels.value
        return None if value is None else int(value)

    @property
    def shown_index(self) -> Index | None:
        """The plane that the viewer shows."""
        layer, view = self.layer, self.view
        if layer is None or view is None or self._viewer is None:
            return None
        point = np.asarray(self._viewer.dims.point, dtype=float)
        point = np.pad(point, (max(0, layer.ndim - len(point)), 0))[-layer.ndim :]
        return view.index_at(tuple(layer.world_to_data(point)))

    def layers(self) -> list[Any]:
        """Return the viewer's layers."""
        return [] if self._viewer is None else list(self._viewer.layers)

    def run(self) -> None:
        """Start a run with the fields' values, as the Run button does."""
        try:
            task = self._task()
        except DeblurError as error:
            self._say(str(error), wrong=True)
            return
        self._say("Starting …")
        layer = self.layer
        name = "" if layer is None else f" {layer.name}"
        self._runner.start(task, f"{self.title}:{name}")

    def cancel(self) -> None:
        """End the run at the next tile, as the Cancel button does."""
        self._runner.cancel()

    def connect_fetch(self, engine: EngineFields) -> None:
        """Let the button that fetches weights start a run of its own."""

        def fetch() -> None:
            self._say("Starting …")
            self._runner.start(fetch_task(str(engine.model.value)), "Download weights")

        engine.fetch.clicked.connect(fetch)
        self._after_fetch = engine.show_apt_fields

    @property
    def state(self) -> State:
        """Whether a run is going on."""
        return self._runner.state

    @property
    def status(self) -> str:
        """What the widget says at the moment."""
        return str(self._status.value)

    # How it works.

    def reset_choices(self, *_: Any) -> None:
        """Look at the viewer's layers again; napari calls this when they change."""
        super().reset_choices()
        self._on_image()

    def _connect(self, fields: Sequence[Widget]) -> None:
        self._run.clicked.connect(self.run)
        self._cancel.clicked.connect(self.cancel)
        self._more.changed.connect(self._on_more)
        self._image.changed.connect(self._on_image)
        self._level.changed.connect(self._refresh)
        self._channels.changed.connect(self._on_image_axes)
        self._copy_command.clicked.connect(self._on_copy_command)
        self._copy_python.clicked.connect(self._on_copy_python)
        for widget in (*fields, *self._extra):
            if hasattr(widget, "changed") and widget is not self._channels:
                widget.changed.connect(self._refresh)
        activity.changed.connect(self._refresh)
        # The native widget goes before the Python one; from then on nothing of it may be touched.
        runner, refresh = self._runner, self._refresh
        self.native.destroyed.connect(lambda: _let_go(runner, refresh))

    def _image_choices(self, _: Any) -> list[tuple[str, Any]]:
        return image_choices(self.layers())

    def _on_more(self, shown: bool) -> None:
        for widget in self._extra:
            widget.visible = shown and self._is_apt(widget)

    def _is_apt(self, widget: Widget) -> bool:
        """Whether an extra field means anything now."""
        if widget is self._channels:
            return len(self._channels.choices) > 1
        return True

    def _on_image(self, *_: Any) -> None:
        for field in (self._level, self._channels):
            field.reset_choices()
        layer = self.layer
        self._level.visible = layer is not None and bool(layer.multiscale)
        self._on_more(bool(self._more.value))
        self._on_image_axes()

    def _on_image_axes(self, *_: Any) -> None:
        self._follow_image(self.view)
        self._refresh()

    def _refresh(self, *_: Any) -> None:
        """Mark wrong fields, and let Run say what keeps it from running."""
        problems = dict(self._all_problems())
        for widget, tooltip in self._tooltips.items():
            mark(widget, problems.get(widget, ""), tooltip or "")
        reasons = list(problems.values())
        if activity.is_taken_by_other(self._runner):
            reasons.insert(0, f"{activity.title} is running: wait for it or cancel it.")
        idle = self.state is State.IDLE
        self._run.enabled = idle and not reasons
        self._run.tooltip = reasons[0] if reasons else f"{self.title} now."
        self._cancel.enabled = self.state is State.RUNNING
        if idle and self._result is None:
            self._say(reasons[0] if reasons else "", wrong=bool(reasons))

    def _all_problems(self) -> Iterator[tuple[Widget, str]]:
        layer = self.layer
        if layer is None:
            yield self._image, _NO_IMAGE
            return
        try:
            view = view_layer(layer, level=self.level, channel_axis=self.channel_axis)
        except DeblurError as error:
            yield self._image, str(error)
            return
        height, width = view.size
        if min(height, width) < SMALLEST_SIDE:
            least = f"at least {SMALLEST_SIDE} x {SMALLEST_SIDE} are needed"
            size = f"{layer.name!r} has {height} x {width} pixels"
            yield self._image, f"{size}: {least}; choose a larger image."
        yield from self._problems(view)

    def _on_state(self) -> None:
        cancelling = self.state is State.CANCELLING
        self._cancel.text = "Cancelling…" if cancelling else "Cancel"
        self._bar.visible = self.state is not State.IDLE
        if self.state is State.IDLE:
            self._bar.value = 0
        elif cancelling:
            self._say("Cancelling…")
        self._result = None if self.state is State.RUNNING else self._result
        self._refresh_buttons()

    def _refresh_buttons(self) -> None:
        self._refresh()
        record = self._record
        self._copy_command.enabled = bool(record and record["command_line"])
        self._copy_python.enabled = record is not None

    @property
    def _record(self) -> dict[str, Any] | None:
        return None if self._result is None else record_of(self._result)

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Step):
            self._bar.value = round(1000 * event.done)
            left = time_left(self._runner.seconds_left)
            self._say(event.message + (f"; {left}" if left else ""))
        elif isinstance(event, Opened):
            self._opened = self._add(event.layer)
        elif self._opened is not None and self._opened in self.layers():
            self._opened.refresh()

    def _on_done(self, tuples: list[LayerDataTuple]) -> None:
        opened, self._opened = self._opened, None
        if not tuples:  # weights were fetched
            self._after_fetch()
            self._refresh()
            return
        layers = [self._show(each, opened) for each in tuples]
        self._result = layers[0]
        record = self._record or {}
        seconds, device = record.get("seconds", 0.0), record.get("device", "")
        said = f"Done in {seconds:.1f} s on {device}." if record else "Done."
        self._say(f"{said} {self._summary(layers)}".strip())
        self._refresh_buttons()

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

    def _discard(self) -> None:
        """Remove the layer that was being filled."""
        if self._opened is not None and self._opened in self.layers():
            self._viewer.layers.remove(self._opened)
        self._opened = None

    def _show(self, made: LayerDataTuple, opened: Layer | None) -> Layer:
        """Put a result into the viewer: where it is filled already, in place, or anew."""
        data, attributes, _ = made
        if opened is not None and opened.data is data and opened in self.layers():
            opened.metadata = attributes["metadata"]
            opened.refresh()
            return opened
        present = self._present(attributes)
        if present is None:
            return self._add(made)
        if present.ndim != np.ndim(data):
            place = self.layers().index(present)
            self._viewer.layers.remove(present)
            layer = self._add(made)
            self._viewer.layers.move(self.layers().index(layer), place)
            return layer
        present.data = data
        for name in ("scale", "translate", "rotate", "shear", "affine", "contrast_limits"):
            setattr(present, name, attributes[name])
        present.metadata = attributes["metadata"]
        return present

    def _present(self, attributes: dict[str, Any]) -> Image | None:
        """Return the layer that a result takes the place of."""
        new = attributes["metadata"].get("napari-deblur", {})
        for layer in self.layers():
            old = record_of(layer)
            if (
                old is not None
                and layer.name == attributes["name"]
                and (old["kind"] in self.updated_in_place or "preview" in old)
                and old["kind"] == new.get("kind")
                and old["source"]["name"] == new["source"]["name"]
            ):
                return layer
        return None

    def _add(self, made: LayerDataTuple) -> Layer:
        """Add a layer, and keep everything in sight where everything was."""
        with self._whole_view_kept():
            return self._viewer.add_layer(Layer.create(*made))

    @contextmanager
    def _whole_view_kept(self) -> Iterator[None]:
        layer, view = self.layer, self.view
        whole = False
        if layer is not None and view is not None:
            try:
                whole = visible_region(layer, view).size == whole_region(view).size
            except DeblurError:
                whole = False
        yield
        if whole:
            self._viewer.reset_view()

    def _say(self, text: str, *, wrong: bool = False) -> None:
        self._status.value = text
        self._status.native.setStyleSheet("color: #e8836f;" if wrong else "")

    def _on_copy_command(self) -> None:
        self._copy(command_line, "The command line")

    def _on_copy_python(self) -> None:
        self._copy(python_code, "The Python code")

    def _copy(self, write: Callable[[dict[str, Any]], str], what: str) -> None:
        record = self._record
        if record is not None:
            clipboard.put(write(record))
            self._say(f"{what} is on the clipboard.")


def _row(*widgets: Widget) -> Container[Widget]:
    row: Container[Widget] = Container(
        widgets=list(widgets), layout="horizontal", labels=False, label=""
    )
    row.margins = (0, 0, 0, 0)
    return row


def _let_go(runner: Runner, refresh: Callable[..., None]) -> None:
    """Cut what would reach a widget that is no more."""
    activity.changed.disconnect(refresh, missing_ok=True)
    runner.abandon()
