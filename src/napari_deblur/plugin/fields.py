"""Fields that several widgets share, and how a field shows that its value cannot be used.

Widgets of magicgui; no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from magicgui.types import FileDialogMode
from magicgui.widgets import (
    ComboBox,
    Container,
    FileEdit,
    FloatSpinBox,
    Label,
    LineEdit,
    Widget,
)
from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox

from napari_deblur.errors import DeblurError, InputError
from napari_deblur.plugin.kernel_layers import is_made_of_kernels
from napari_deblur.plugin.preferences import DEVICES, Preferences
from napari_deblur.plugin.slices import LayerView, level_names, view_layer

__all__ = [
    "AUTO",
    "FOLDER",
    "automatic_field",
    "channel_choices",
    "device_field",
    "folder_field",
    "image_choices",
    "image_field",
    "layer_field",
    "level_choices",
    "mark",
    "measured_field",
    "measured_value",
    "model_choices",
    "model_field",
    "model_value",
    "tile_field",
]

FOLDER = "a folder"
"""Choice of the model field that asks for a folder instead of a name."""

AUTO = "auto"
"""Model that stands for the one that suits the blur's size."""

Choices = list[tuple[str, Any]]

_WRONG = "border: 1px solid #e0533d; border-radius: 3px;"


def image_choices(layers: Iterable[Any]) -> Choices:
    """Image layers that could be deblurred."""
    return [
        (layer.name, layer)
        for layer in layers
        if isinstance(layer, Image) and not is_made_of_kernels(layer)
    ]


def layer_field(
    name: str, choices: Callable[[Any], Choices], tooltip: str, *, label: str = "", **options: Any
) -> ComboBox:
    """Field for a layer, as narrow as any other however long the names of layers are."""
    field = ComboBox(name=name, label=label or name, choices=choices, tooltip=tooltip, **options)
    policy = QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
    field.native.setSizeAdjustPolicy(policy)
    field.native.setMinimumContentsLength(12)
    field.native.view().setTextElideMode(Qt.TextElideMode.ElideMiddle)
    return field


def image_field(choices: Callable[[Any], Choices], label: str = "image") -> ComboBox:
    """Field for the image layer."""
    return layer_field("image", choices, "The layer to work on.", label=label, nullable=False)


def model_choices(_: Any = None) -> Choices:
    """Names of the known models, the default one first, and a folder of one's own."""
    from napari_deblur.weights.registry import classifier_entry, registry

    known = registry()
    default = known.default
    names = sorted(known.models, key=lambda name: (name != default, name))
    choices: Choices = [(name + (" (default)" if name == default else ""), name) for name in names]
    if classifier_entry() is not None:
        choices.append(("auto: by the size of the blur", AUTO))
    return [*choices, ("from a folder …", FOLDER)]


def model_field() -> ComboBox:
    """Field for the model."""
    return ComboBox(
        name="model",
        label="model",
        choices=model_choices,
        tooltip="The pair of networks. “auto” first tells how large the blur is, and looks for "
        "kernels of that size. “napari-deblur models list” tells more about each.",
    )


def folder_field() -> FileEdit:
    """Field for a folder that holds a model; only shown when asked for."""
    return FileEdit(
        name="folder",
        label="folder",
        mode=FileDialogMode.EXISTING_DIRECTORY,
        value=Path(),
        visible=False,
        tooltip="Holds analysis.safetensors and synthesis.safetensors.",
    )


def model_value(model: ComboBox, folder: FileEdit) -> str:
    """Return the chosen model's name, or the chosen folder."""
    return str(folder.value) if model.value == FOLDER else str(model.value)


def device_field(preferences: Preferences) -> ComboBox:
    """Field for the device."""
    return ComboBox(
        name="device",
        label="device",
        choices=list(DEVICES),
        value=preferences.device,
        tooltip="“auto” takes the graphics card if there is one. Never changed during a run.",
    )


def automatic_field(
    name: str, label: str, most: int, step: int, tooltip: str, value: int = 0
) -> FloatSpinBox:
    """Field for a whole number of pixels; 0, which lets the engine choose, is shown as "auto".

    Qt has the text for a special value in its box for floats alone, as magicgui makes them.
    """
    field = FloatSpinBox(
        name=name, label=label, min=0, max=most, step=step, value=value, tooltip=tooltip
    )
    field.native.setDecimals(0)
    field.native.setSpecialValueText("auto")
    return field


def measured_field(name: str, label: str, tooltip: str) -> LineEdit:
    """Field for a number that is measured where nothing is written."""
    field = LineEdit(name=name, label=label, value="", tooltip=tooltip)
    field.native.setPlaceholderText("measured")
    return field


def measured_value(field: LineEdit) -> float | None:
    """Return the number in a field, None for one that is to be measured.

    Raises
    ------
    InputError
        When there is something else in it than a number of at least 0.
    """
    text = str(field.value).strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise InputError(f"{text!r} is no number of at least 0: give one, or nothing to measure it")
    return value


def tile_field(preferences: Preferences) -> FloatSpinBox:
    """Field for the side of a tile."""
    return automatic_field(
        "tile",
        "tile",
        8192,
        64,
        "Side of a tile in pixels, 64 or more; auto chooses it from the free memory.",
        preferences.tile,
    )


def level_choices(layer: Image | None) -> Choices:
    """Levels of a multiscale layer, the finest first."""
    if layer is None:
        return [("0", 0)]
    return [(name, number) for number, name in enumerate(level_names(layer))] or [("0", 0)]


def channel_choices(layer: Image | None) -> Choices:
    """Axes that could hold channels; what the labels say comes first."""
    automatic: Choices = [("none", None)]
    if layer is None or layer.rgb or layer.ndim < 3:
        return automatic
    found = _labelled(layer)
    if found is not None:
        automatic = [(f"axis {found} ({layer.axis_labels[found]})", None)]
    shape = view_layer(layer).shape
    return automatic + [
        (f"axis {axis} ({layer.axis_labels[axis]}, {shape[axis]} long)", axis)
        for axis in range(layer.ndim - 2)
        if axis != found
    ]


def _labelled(layer: Image) -> int | None:
    try:
        view: LayerView = view_layer(layer)
    except DeblurError:
        return None
    return view.channel_axis


def mark(widget: Widget, problem: str, tooltip: str) -> None:
    """Colour a field and let its tooltip say what is wrong, or take both back."""
    for box in _boxes(widget):
        kind = type(box.native).__name__
        box.native.setStyleSheet(f".{kind} {{ {_WRONG} }}" if problem else "")
    widget.tooltip = problem or tooltip


def _boxes(widget: Widget) -> list[Widget]:
    """What of a field can have a frame: its parts cover a field that is made of several."""
    if isinstance(widget, FileEdit):
        return [widget.line_edit]
    if isinstance(widget, Container):
        return [part for part in widget if not isinstance(part, Label)]
    return [widget]
