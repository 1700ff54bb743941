"""The fields that say which image is worked on: layer, level, axis of channels.

Widgets of magicgui; no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from magicgui.widgets import ComboBox, Widget
from napari.layers import Image

from napari_deblur.engine.arrays import SMALLEST_SIDE
from napari_deblur.errors import DeblurError
from napari_deblur.plugin.fields import channel_choices, image_choices, image_field, level_choices
from napari_deblur.plugin.provenance import record_of
from napari_deblur.plugin.slices import Index, LayerView, view_layer

__all__ = ["ImageFields"]

_NO_IMAGE = "There is no image layer: open a file, or take one from File > Open Sample > Deblur."

_NO_PICTURE = "choose an image of integers or real numbers, and no mask."


class ImageFields:
    """Layer, level and axis of channels, and what they together pick.

    Parameters
    ----------
    viewer : Viewer or ViewerModel or None
        Whose layers are offered.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self.image = image_field(lambda _: image_choices(self.layers()))
        self.level_field = ComboBox(
            name="level",
            label="level",
            choices=lambda _: level_choices(self.layer),
            visible=False,
            tooltip="Which level of the multiscale layer to work on.",
        )
        self.channels = ComboBox(
            name="channels",
            label="channels",
            choices=lambda _: channel_choices(self.layer),
            visible=False,
            tooltip="The axis of which all entries were taken in one exposure and share a kernel.",
        )

    def layers(self) -> list[Any]:
        """Return the viewer's layers."""
        return [] if self._viewer is None else list(self._viewer.layers)

    @property
    def layer(self) -> Image | None:
        """The chosen image layer."""
        value = self.image.value
        return value if isinstance(value, Image) else None

    @property
    def level(self) -> int:
        """The chosen level of a multiscale layer."""
        return int(self.level_field.value or 0)

    @property
    def channel_axis(self) -> int | None:
        """The chosen axis of channels, None for what the labels say."""
        value = self.channels.value
        return None if value is None else int(value)

    @property
    def view(self) -> LayerView | None:
        """The chosen image as planes; None where that is impossible."""
        try:
            return None if self.layer is None else self._view(self.layer)
        except DeblurError:
            return None

    @property
    def shown_index(self) -> Index | None:
        """The plane that the viewer shows."""
        layer, view = self.layer, self.view
        if layer is None or view is None or self._viewer is None:
            return None
        point = np.asarray(self._viewer.dims.point, dtype=float)
        point = np.pad(point, (max(0, layer.ndim - len(point)), 0))[-layer.ndim :]
        return view.index_at(tuple(layer.world_to_data(point)))

    @property
    def has_channel_choice(self) -> bool:
        """Whether there are axes to choose from."""
        return len(self.channels.choices) > 1

    def values(self) -> dict[str, Any]:
        """Arguments for the functions of this plugin."""
        return {"level": self.level, "channel_axis": self.channel_axis}

    def follow(self) -> None:
        """Offer what the chosen layer has."""
        for field in (self.level_field, self.channels):
            field.reset_choices()
        layer = self.layer
        self.level_field.visible = layer is not None and bool(layer.multiscale)

    def take_selected(self) -> None:
        """Choose the layer that is selected in the viewer; of a result, what it belongs to."""
        selected = None if self._viewer is None else self._viewer.layers.selection.active
        about = None if selected is None else record_of(selected)
        if about is not None and about["kind"] != "shaken":
            selected = next(filter(_is_origin(about), self.layers()), None)
        if selected is not None and selected in self.image.choices:
            self.image.value = selected

    def problems(self) -> Iterator[tuple[Widget, str]]:
        """Fields whose values cannot be used."""
        layer = self.layer
        if layer is None:
            yield self.image, _NO_IMAGE
            return
        try:
            view = self._view(layer)
        except DeblurError as error:
            yield self.image, str(error)
            return
        if view.dtype.kind not in "iuf":
            yield self.image, f"{layer.name!r} holds {view.dtype} values: {_NO_PICTURE}"
            return
        height, width = view.size
        if min(height, width) < SMALLEST_SIDE:
            least = f"at least {SMALLEST_SIDE} x {SMALLEST_SIDE} are needed"
            size = f"{layer.name!r} has {height} x {width} pixels"
            yield self.image, f"{size}: {least}; choose a larger image."

    def _view(self, layer: Image) -> LayerView:
        return view_layer(layer, level=self.level, channel_axis=self.channel_axis)


def _is_origin(about: Mapping[str, Any]) -> Callable[[Any], bool]:
    """Tell whether a layer is what a result was made from, or what a true kernel has shaken."""
    name = about["source"]["name"]

    def is_origin(layer: Any) -> bool:
        if about["kind"] != "true kernel":
            return bool(layer.name == name)
        other = record_of(layer)
        return other is not None and other["kind"] == "shaken" and other["source"]["name"] == name

    return is_origin
