"""The fields that say with what, how and where the engine computes: model, rounds, device, ..."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from magicgui.widgets import ComboBox, FloatSpinBox, PushButton, SpinBox, Widget

from napari_deblur.defaults import DEFAULT_ROUNDS, LARGEST_KERNEL
from napari_deblur.engine.progress import SMALLEST_TILE
from napari_deblur.errors import DeblurError
from napari_deblur.plugin.fields import (
    FOLDER,
    automatic_field,
    device_field,
    folder_field,
    model_field,
    model_value,
    tile_field,
)
from napari_deblur.plugin.preferences import read_preferences
from napari_deblur.plugin.weights_task import can_be_fetched, missing_weights

__all__ = ["EngineFields"]

_FIND, _NONE, _FROM = "find", "none", "from"
_FILES = ("analysis.safetensors", "synthesis.safetensors")


class EngineFields:
    """Model, folder, device, tile and the button that fetches weights."""

    def __init__(self) -> None:
        preferences = read_preferences()
        self.model = model_field()
        self.folder = folder_field()
        self.device = device_field(preferences)
        self.tile = tile_field(preferences)
        self.refine = SpinBox(
            name="refine",
            label="refine",
            min=0,
            max=20,
            value=DEFAULT_ROUNDS,
            tooltip="Rounds in which the kernel is improved on the image itself. 0 takes the "
            "network's kernel as it is: faster, and less precise.",
        )
        self.kernel_size = automatic_field(
            "kernel_size",
            "kernel size",
            LARGEST_KERNEL,
            2,
            "Side in pixels of the kernel that is estimated: odd, larger than the blur. Auto "
            "begins with the model's own and enlarges it as long as the kernel is cut off.",
        )
        self.gamma = FloatSpinBox(
            name="gamma",
            label="gamma",
            min=0.2,
            max=5,
            step=0.1,
            value=1,
            tooltip="Exponent that makes values proportional to light, in which blur adds up. 1 "
            "for microscopes and raw files; 2.2 for photographs as cameras save them.",
        )
        self.clipped = ComboBox(
            name="clipped",
            label="clipped",
            choices=[("found automatically", _FIND), ("none", _NONE), ("from a value on", _FROM)],
            tooltip="Pixels so bright that the camera clipped them do not say how bright they "
            "were: what they miss is predicted from all others.",
        )
        self.level = FloatSpinBox(
            name="saturation",
            label="from value",
            min=-1e9,
            max=1e9,
            value=255,
            tooltip="Value from which pixels count as clipped, in the image's own units.",
        )
        self.fetch = PushButton(text="Download weights", label="", visible=False)
        self.model.changed.connect(self.show_apt_fields)

    @property
    def first(self) -> Sequence[Widget]:
        """Fields that are always shown."""
        return self.model, self.folder, self.fetch

    @property
    def more(self) -> Sequence[Widget]:
        """Fields that are shown on demand."""
        return (
            self.kernel_size,
            self.refine,
            self.gamma,
            self.clipped,
            self.level,
            self.device,
            self.tile,
        )

    def is_apt(self, widget: Widget) -> bool:
        """Whether a field means anything now."""
        return widget is not self.level or self.clipped.value == _FROM

    def values(self) -> dict[str, Any]:
        """Arguments for the functions of this plugin."""
        return {
            "model": model_value(self.model, self.folder),
            "device": str(self.device.value),
            "tile": int(self.tile.value) or None,
            "kernel_size": int(self.kernel_size.value) or None,
            "refine": int(self.refine.value),
            "gamma": float(self.gamma.value),
            "saturation": self._saturation,
        }

    @property
    def _saturation(self) -> float | None:
        return {_FIND: None, _NONE: math.inf}.get(self.clipped.value, float(self.level.value))

    def show_apt_fields(self, *_: Any) -> None:
        """Show the folder, or the button that fetches weights, only where it is needed."""
        own = self.model.value == FOLDER
        self.folder.visible = own
        missing = () if own else missing_weights(str(self.model.value))
        self.fetch.visible = bool(missing) and can_be_fetched()
        if missing:
            size = sum(entry.size for entry, _ in missing) / 1e6
            self.fetch.text = f"Download weights ({size:.0f} MB)"

    def problems(self) -> Iterator[tuple[Widget, str]]:
        """Fields whose values cannot be used."""
        if self.model.value == FOLDER:
            folder = Path(str(self.folder.value))
            absent = [name for name in _FILES if not (folder / name).is_file()]
            if absent:
                names = " and no ".join(absent)
                yield self.folder, f"{folder} has no {names}: choose a folder that holds a model."
        elif self.model.value is None:
            yield self.model, "There is no model: choose one."
        else:
            yield from self._missing_weights()
        size = int(self.kernel_size.value)
        if size and (size < 3 or size % 2 == 0):
            yield self.kernel_size, "Give an odd number of pixels from 3 up, or 0 for auto."
        if 0 < self.tile.value < SMALLEST_TILE:
            yield self.tile, f"Give tiles of {SMALLEST_TILE} pixels or more, or 0 for auto."

    def _missing_weights(self) -> Iterator[tuple[Widget, str]]:
        try:
            missing = missing_weights(str(self.model.value))
        except DeblurError as error:
            yield self.model, str(error)
            return
        for _, reason in missing[:1]:
            yield self.model, reason
