"""The dialog that trains on one's own images."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import napari
from magicgui.types import FileDialogMode
from magicgui.widgets import (
    ComboBox,
    Container,
    FileEdit,
    FloatSpinBox,
    Label,
    ProgressBar,
    PushButton,
    Select,
    Widget,
)
from napari.types import LayerDataTuple

from napari_deblur.errors import DeblurError
from napari_deblur.plugin.fields import AUTO, FOLDER, image_choices, mark, model_choices
from napari_deblur.plugin.loss_plot import LossPlot
from napari_deblur.plugin.rows import LABEL_ROOM, row
from napari_deblur.plugin.run import Listener, Runner, State, activity, stay_while, time_left
from napari_deblur.plugin.tasks import Event, Step
from napari_deblur.plugin.train_task import TrainRequest, losses, model_folder, train_task

__all__ = ["TrainWidget", "train_widget"]

_SCRATCH = "none: from scratch"


class TrainWidget(Container[Widget]):
    """Fine-tune a model on the viewer's layers or on a folder, or train one from scratch."""

    title: ClassVar[str] = "Train on my images"

    def __init__(self, napari_viewer: Any = None) -> None:
        super().__init__(labels=True)
        self._viewer = napari_viewer if napari_viewer is not None else napari.current_viewer()
        self._images = Select(
            name="images",
            label="layers",
            choices=lambda _: image_choices(self._layers()),
            tooltip="Sharp image layers to train on.",
        )
        self._images.max_height = 90
        self._folder = _folder_edit("folder", "folder", "Holds sharp images (TIFF, PNG, JPEG).")
        self._start = ComboBox(
            name="start",
            label="start",
            choices=lambda _: _starts(),
            tooltip="The model to fine-tune.",
        )
        self._model_folder = _folder_edit(
            "model_folder", "model", "Holds analysis.safetensors and synthesis.safetensors."
        )
        self._recipe = ComboBox(
            name="recipe",
            label="recipe",
            choices=["compact", "tiny", "paper"],
            tooltip="What decides the training; must be of the model's architecture.",
        )
        self._minutes = FloatSpinBox(
            name="minutes",
            label="minutes",
            min=0,
            max=100_000,
            step=5,
            value=30,
            tooltip="Time for all of it; 0 takes the recipe's number of steps.",
        )
        self._out = _folder_edit(
            "out",
            "save in",
            "Checkpoints, logs and the model. The folder of an earlier run goes on with it.",
        )
        self._run = PushButton(text="Train", name="run")
        self._stop = PushButton(text="Stop", name="stop", enabled=False)
        self._bar = ProgressBar(value=0, min=0, max=1000, visible=False, label="")
        self._status = Label(value="", label=LABEL_ROOM)
        self._plot = LossPlot()
        self._fields = (
            self._images,
            self._folder,
            self._start,
            self._model_folder,
            self._recipe,
            self._minutes,
            self._out,
        )
        self._tooltips = {widget: widget.tooltip or "" for widget in self._fields}
        self.extend([*self._fields, row(self._run, self._stop), self._bar, self._status])
        self.native.layout().addWidget(self._plot)
        self._status.native.setWordWrap(True)
        self._runner = Runner(
            Listener(self._on_event, self._on_done, self._on_failed, self._on_stop, self._on_state)
        )
        self._connect()
        self._refresh()

    def run(self) -> None:
        """Start, or go on with, the run that the fields describe."""
        try:
            task = train_task(self._request())
        except DeblurError as error:
            self._status.value = str(error)
            return
        self._runner.start(task, self.title)

    def stop(self) -> None:
        """Stop the run; its checkpoint is kept, and Train goes on from there."""
        self._runner.cancel()

    @property
    def state(self) -> State:
        """Whether a run is going on."""
        return self._runner.state

    @property
    def status(self) -> str:
        """What the dialog says at the moment."""
        return str(self._status.value)

    def reset_choices(self, *_: Any) -> None:
        """Look at the viewer's layers again; napari calls this when they change."""
        super().reset_choices()
        if hasattr(self, "_runner"):
            self._refresh()

    def _layers(self) -> list[Any]:
        return [] if self._viewer is None else list(self._viewer.layers)

    def _connect(self) -> None:
        self._run.clicked.connect(self.run)
        self._stop.clicked.connect(self.stop)
        for widget in self._fields:
            widget.changed.connect(self._refresh)
        stay_while(self.native, self._runner, self._refresh)

    def _request(self) -> TrainRequest:
        start = str(self._start.value)
        return TrainRequest(
            out=Path(str(self._out.value)),
            layers=tuple(self._images.value),
            folder=_chosen(self._folder),
            start=str(self._model_folder.value) if start == FOLDER else start,
            recipe=str(self._recipe.value),
            minutes=float(self._minutes.value) or None,
        )

    def _problems(self) -> dict[Widget, str]:
        problems: dict[Widget, str] = {}
        if find_spec("lightning") is None:
            problems[self._recipe] = (
                "Training needs more packages: pip install 'napari-deblur[training]'."
            )
        if not self._images.value and _chosen(self._folder) is None:
            problems[self._images] = "Select sharp image layers, or give a folder of sharp images."
        if self._start.value == FOLDER and _chosen(self._model_folder) is None:
            problems[self._model_folder] = "Choose the folder of the model to start from."
        if _chosen(self._out) is None:
            problems[self._out] = "Choose a folder for the run."
        return problems

    def _refresh(self, *_: Any) -> None:
        self._model_folder.visible = self._start.value == FOLDER
        problems = self._problems()
        for widget, tooltip in self._tooltips.items():
            mark(widget, problems.get(widget, ""), tooltip)
        reasons = list(problems.values())
        if activity.is_taken_by_other(self._runner):
            reasons.insert(0, f"{activity.title} is running: wait for it or cancel it.")
        idle = self.state is State.IDLE
        self._run.enabled = idle and not reasons
        self._run.tooltip = reasons[0] if reasons else "Train now."
        self._stop.enabled = self.state is State.RUNNING
        if idle and reasons:
            self._status.value = reasons[0]

    def _on_state(self) -> None:
        stopping = self.state is State.CANCELLING
        self._stop.text = "Stopping…" if stopping else "Stop"
        self._bar.visible = self.state is not State.IDLE
        self._refresh()

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Step):
            self._bar.value = round(1000 * event.done)
            left = time_left(self._runner.seconds_left)
            self._status.value = event.message + (f"; {left}" if left else "")
            self._plot.show_curves(losses(Path(str(self._out.value))))

    def _on_done(self, layers: list[LayerDataTuple]) -> None:
        del layers
        out = Path(str(self._out.value))
        self._plot.show_curves(losses(out))
        where = model_folder(out)
        self._status.value = f"Done. The model is in {where}: choose it in the other widgets."

    def _on_failed(self, error: Exception) -> None:
        self._status.value = str(error)

    def _on_stop(self) -> None:
        self._status.value = "Stopped. A checkpoint is kept: Train goes on from there."


def train_widget(viewer: Any = None) -> TrainWidget:
    """Make the dialog; without a viewer for the current one."""
    return TrainWidget(viewer)


def _starts() -> list[tuple[str, Any]]:
    """Models to begin with; what chooses among them is none."""
    models = [(name, value) for name, value in model_choices() if value != AUTO]
    return [*models, (_SCRATCH, "")]


def _folder_edit(name: str, label: str, tooltip: str) -> FileEdit:
    return FileEdit(
        name=name,
        label=label,
        mode=FileDialogMode.EXISTING_DIRECTORY,
        nullable=True,
        tooltip=tooltip,
    )


def _chosen(field: FileEdit) -> Path | None:
    text = "" if field.value is None else str(field.value)
    return Path(text) if text not in ("", ".") else None
