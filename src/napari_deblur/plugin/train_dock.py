"""The dialog that trains on one's own images."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from magicgui.types import FileDialogMode
from magicgui.widgets import ComboBox, FileEdit, FloatSpinBox, Select, Widget
from napari.types import LayerDataTuple

from napari_deblur.plugin.fields import AUTO, FOLDER, image_choices, model_choices
from napari_deblur.plugin.loss_plot import LossPlot
from napari_deblur.plugin.run_widget import RunWidget
from napari_deblur.plugin.tasks import Event, Task
from napari_deblur.plugin.train_task import (
    TrainRequest,
    is_begun,
    losses,
    model_folder,
    train_on_layers,
    train_task,
)

__all__ = ["TrainWidget", "train_widget"]

_SCRATCH = "none: from scratch"


class TrainWidget(RunWidget):
    """Fine-tune a model on the viewer's layers or on a folder, or train one from scratch.

    Called as a function it is `train_on_layers`.
    """

    title: ClassVar[str] = "Train on my images"
    run_text: ClassVar[str] = "Train"
    cancel_text: ClassVar[str] = "Stop"
    cancelling_text: ClassVar[str] = "Stopping…"
    resume_text: ClassVar[str] = "Go on"
    __call__ = staticmethod(train_on_layers)

    def __init__(self, napari_viewer: Any = None) -> None:
        super().__init__(napari_viewer)
        self._images = Select(
            name="images",
            label="layers",
            choices=lambda _: image_choices(self._layers()),
            tooltip="Sharp image layers to train on.",
        )
        self._images.max_height = 90
        self._folder = _folder_edit("folder", "folder", "Holds sharp images (TIFF, PNG, JPEG).")
        self._start_model = ComboBox(
            name="start",
            label="start",
            choices=lambda _: _starts(),
            tooltip="The model to fine-tune: hours less than from scratch.",
        )
        self._model_folder = _folder_edit(
            "model_folder", "model", "Holds analysis.safetensors and synthesis.safetensors."
        )
        self._recipe = ComboBox(
            name="recipe",
            label="recipe",
            choices=["compact", "general", "tiny", "paper"],
            tooltip="Architecture, kernels and steps: “tiny” for a first look, “compact” for "
            "networks to keep, “general” for larger kernels, “paper” for many days on a graphics "
            "card.",
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
        self._minutes.native.setSpecialValueText("by the recipe")
        self._out = _folder_edit(
            "out",
            "save in",
            "Checkpoints, logs and the model. The folder of an earlier run goes on with it.",
        )
        self._plot = LossPlot()
        self._fields = (
            self._images,
            self._folder,
            self._start_model,
            self._model_folder,
            self._recipe,
            self._minutes,
            self._out,
        )
        self.extend([*self._fields, *self._run_rows])
        self.native.layout().addWidget(self._plot)
        self._watch(self._fields)
        self._refresh()

    def reset_choices(self, *_: Any) -> None:
        """Look at the viewer's layers again; napari calls this when they change."""
        super().reset_choices()
        if self._tooltips:  # not while it is being made
            self._refresh()

    def _layers(self) -> list[Any]:
        return [] if self._viewer is None else list(self._viewer.layers)

    def _request(self) -> TrainRequest:
        start = str(self._start_model.value)
        return TrainRequest(
            out=Path(str(self._out.value)),
            layers=tuple(self._images.value),
            folder=_chosen(self._folder),
            start=str(self._model_folder.value) if start == FOLDER else start,
            recipe=str(self._recipe.value),
            minutes=float(self._minutes.value) or None,
        )

    def _task(self) -> Task:
        return train_task(self._request())

    def _problems(self) -> Iterator[tuple[Widget, str]]:
        if find_spec("lightning") is None:
            yield (
                self._recipe,
                "Training needs more packages: pip install 'napari-deblur[training]'.",
            )
        if not self._images.value and _chosen(self._folder) is None:
            yield self._images, "Select sharp image layers, or give a folder of sharp images."
        if self._start_model.value == FOLDER and _chosen(self._model_folder) is None:
            yield self._model_folder, "Choose the folder of the model to start from."
        if _chosen(self._out) is None:
            yield self._out, "Choose a folder for the run."

    def _refresh(self, *_: Any) -> None:
        self._model_folder.visible = self._start_model.value == FOLDER
        own = _recipe_of(str(self._start_model.value))
        self._recipe.visible = not own
        if own:
            self._recipe.value = own
        out = _chosen(self._out)
        self._run.text = self.resume_text if out is not None and is_begun(out) else self.run_text
        super()._refresh()

    def _on_event(self, event: Event) -> None:
        super()._on_event(event)
        self._plot.show_curves(losses(Path(str(self._out.value))))

    def _show(self, made: list[LayerDataTuple]) -> None:
        del made
        out = Path(str(self._out.value))
        self._plot.show_curves(losses(out))
        self._has_result = True
        where = model_folder(out)
        self._say(f"Done. The model is in {where}: choose it in the other widgets.")

    def _on_cancelled(self) -> None:
        self._say("Stopped; a checkpoint is kept. With this folder it goes on from there.")


def train_widget(viewer: Any = None) -> TrainWidget:
    """Make the dialog; without a viewer for the current one."""
    return TrainWidget(viewer)


def _starts() -> list[tuple[str, Any]]:
    """Models to begin with; what chooses among them is none."""
    models = [(name, value) for name, value in model_choices() if value != AUTO]
    return [*models, (_SCRATCH, "")]


def _recipe_of(start: str) -> str:
    """The recipe that a known model was trained by; empty for others."""
    from napari_deblur.weights.registry import find_model, find_weights

    if start in ("", FOLDER):
        return ""
    # Of the two the synthesis network's recipe knows the larger kernels.
    return find_weights(find_model(start).synthesis).trained.recipe


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
