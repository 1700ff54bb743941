"""The widget that estimates blur kernels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from magicgui.widgets import ComboBox, Widget
from napari.layers import Labels, Layer, Shapes

from napari_deblur.errors import DeblurError
from napari_deblur.plugin.dock import TaskWidget
from napari_deblur.plugin.engine_fields import EngineFields
from napari_deblur.plugin.estimate_task import (
    EstimateRequest,
    estimate_kernel_of_layer,
    estimate_task,
    kernel_name,
)
from napari_deblur.plugin.fields import layer_field
from napari_deblur.plugin.kernel_layers import doubt_about, side_text
from napari_deblur.plugin.provenance import record_of
from napari_deblur.plugin.regions import Region, check_marks, visible_region
from napari_deblur.plugin.slices import LayerView
from napari_deblur.plugin.tasks import Task

__all__ = ["EstimateWidget", "estimate_widget"]

_WHOLE, _VIEW = "whole image", "current view"
_PLANES = [
    ("one for each plane", "each"),
    ("one for the whole stack", "pooled"),
    ("of the shown plane, for all", "shown"),
]


class EstimateWidget(TaskWidget):
    """Estimate the blur kernels of an image layer, and show them as a layer.

    Called as a function it is `estimate_kernel_of_layer`.
    """

    title: ClassVar[str] = "Estimate blur kernel"
    run_text: ClassVar[str] = "Estimate kernel"
    updated_in_place: ClassVar[frozenset[str]] = frozenset({"kernel"})
    __call__ = staticmethod(estimate_kernel_of_layer)

    def __init__(self, napari_viewer: Any = None) -> None:
        super().__init__(napari_viewer)
        engine = EngineFields()
        self._where = layer_field(
            "where",
            self._where_choices,
            "The part of the image that counts: everything, the current view, or what is "
            "drawn in a Shapes or Labels layer, which is offered here once there is one. Choose a "
            "part with edges in it, and without lamps or things that moved by themselves.",
        )
        self._planes = ComboBox(
            name="planes",
            label="kernels",
            choices=_PLANES,
            visible=False,
            tooltip="For stacks. Planes that share one blur give a better kernel together.",
        )
        self._drawn: Shapes | None = None
        self._where.changed.connect(self._follow_drawing)
        self.native.destroyed.connect(self._follow_nothing)
        self._build([self._where, self._planes, *engine.first], engine.more, engine)

    def _follow_drawing(self, value: Any) -> None:
        """Check the chosen shapes again whenever they change: napari tells of layers alone."""
        self._follow_nothing()
        if isinstance(value, Shapes):
            self._drawn = value
            value.events.data.connect(self._refresh)

    def _follow_nothing(self) -> None:
        if self._drawn is not None:
            self._drawn.events.data.disconnect(self._refresh)
            self._drawn = None

    def _task(self) -> Task:
        return estimate_task(
            EstimateRequest(
                self.layer, region=self._region(), planes=self._planes.value, **self._values()
            )
        )

    def _region(self) -> Shapes | Labels | Region | None:
        value, view = self._where.value, self.source.view
        if value == _WHOLE or view is None:
            return None
        if value == _VIEW:
            return visible_region(self.layer, view)
        marks: Shapes | Labels = value
        return marks

    def _where_choices(self, _: Any) -> list[tuple[str, Any]]:
        marks = [
            (f"{type(layer).__name__}: {layer.name}", layer)
            for layer in self.source.layers()
            if isinstance(layer, (Shapes, Labels))
        ]
        return [(_WHOLE, _WHOLE), (_VIEW, _VIEW), *marks]

    def _wrong_fields(self, view: LayerView) -> Iterator[tuple[Widget, str]]:
        layer, value = self.source.layer, self._where.value
        if isinstance(value, Shapes) and layer is not None:
            try:
                check_marks(value, layer, view)
            except DeblurError as error:
                yield self._where, str(error)

    def _follow_image(self, view: LayerView | None) -> None:
        self._planes.visible = view is not None and view.count > 1
        layer = self.source.layer
        known = layer is not None and any(
            record_of(each) and each.name == kernel_name(layer) for each in self.source.layers()
        )
        self._run.text = "Update kernel" if known else self.run_text

    def _summary(self, layers: list[Layer]) -> str:
        about = record_of(layers[0]) or {}
        support, size = about.get("support", 0), about.get("size", 0)
        filled = f"The kernel fills {side_text(support)} of {side_text(size)} pixels."
        said = (filled if support > 1 else "", doubt_about(about))
        return " ".join(filter(None, said))


def estimate_widget(viewer: Any = None) -> EstimateWidget:
    """Make the widget; without a viewer for the current one."""
    return EstimateWidget(viewer)
