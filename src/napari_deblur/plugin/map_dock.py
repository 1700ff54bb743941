"""The widget that maps kernels over the field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from magicgui.widgets import SpinBox, Widget
from napari.layers import Layer

from napari_deblur.errors import InputError
from napari_deblur.plugin.dock import TaskWidget
from napari_deblur.plugin.engine_fields import EngineFields
from napari_deblur.plugin.map_task import MapRequest, check_grid, map_kernels_of_layer, map_task
from napari_deblur.plugin.provenance import record_of
from napari_deblur.plugin.rows import grid_row
from napari_deblur.plugin.slices import LayerView
from napari_deblur.plugin.tasks import Task

__all__ = ["MapWidget", "map_widget"]


class MapWidget(TaskWidget):
    """Show how the blur varies over the field.

    Called as a function it is `map_kernels_of_layer`.
    """

    title: ClassVar[str] = "Kernel map"
    run_text: ClassVar[str] = "Map kernels"
    updated_in_place: ClassVar[frozenset[str]] = frozenset({"kernel map"})
    __call__ = staticmethod(map_kernels_of_layer)

    def __init__(self, napari_viewer: Any = None) -> None:
        super().__init__(napari_viewer)
        engine = EngineFields()
        self._rows, self._columns = (
            SpinBox(
                name=name,
                min=1,
                max=64,
                value=3,
                tooltip=f"How many {name} of patches; each needs some hundred pixels.",
            )
            for name in ("rows", "columns")
        )
        self._grid_row = grid_row(self._rows, self._columns)
        for field in (self._rows, self._columns):
            field.changed.connect(self._refresh)
        self._build([self._grid_row, *engine.first], engine.more, engine)

    def _task(self) -> Task:
        return map_task(MapRequest(self.layer, grid=self._grid, **self._values()))

    @property
    def _grid(self) -> tuple[int, int]:
        return int(self._rows.value), int(self._columns.value)

    def _wrong_fields(self, view: LayerView) -> Iterator[tuple[Widget, str]]:
        try:
            check_grid(view, self._grid)
        except InputError as error:
            yield self._grid_row, str(error)

    def _summary(self, layers: list[Layer]) -> str:
        found = (record_of(layers[0]) or {}).get("found", {})
        if not found.get("varies", True):
            return "The blur is the same all over, as far as the image tells."
        trusted = np.asarray(found.get("trusted", [True]))
        text = f"{trusted.size} kernels, each scaled to the same peak."
        if not trusted.all():
            text += f" {int((~trusted).sum())} of them are those of their neighbours."
        return text


def map_widget(viewer: Any = None) -> MapWidget:
    """Make the widget; without a viewer for the current one."""
    return MapWidget(viewer)
