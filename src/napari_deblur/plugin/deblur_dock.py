"""The widget that deblurs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from magicgui.widgets import CheckBox, ComboBox, Widget
from napari.layers import Image, Layer

from napari_deblur.errors import DeblurError
from napari_deblur.plugin.deblur_task import DeblurRequest, Field, Kernel, deblur_layer, deblur_task
from napari_deblur.plugin.dock import TaskWidget
from napari_deblur.plugin.engine_fields import EngineFields
from napari_deblur.plugin.fields import (
    automatic_field,
    layer_field,
    measured_field,
    measured_value,
)
from napari_deblur.plugin.kernel_layers import (
    KernelSource,
    doubt_about,
    is_kernel,
    looks_like_kernel,
)
from napari_deblur.plugin.map_task import check_grid
from napari_deblur.plugin.provenance import record_of
from napari_deblur.plugin.quality import Quality
from napari_deblur.plugin.regions import Region, visible_region
from napari_deblur.plugin.rows import grid_row, row
from napari_deblur.plugin.slices import LayerView
from napari_deblur.plugin.tasks import Task

__all__ = ["DeblurWidget", "deblur_widget"]


class DeblurWidget(TaskWidget):
    """Deblur an image layer.

    Called as a function it is `deblur_layer`.
    """

    title: ClassVar[str] = "Deblur"
    run_text: ClassVar[str] = "Deblur"
    updated_in_place: ClassVar[frozenset[str]] = frozenset({"kernel"})
    __call__ = staticmethod(deblur_layer)

    def __init__(self, napari_viewer: Any = None) -> None:
        super().__init__(napari_viewer)
        engine = EngineFields()
        self._suggested: Image | None = None
        self._kernel = layer_field(
            "kernel",
            self._kernel_choices,
            "Estimated now, or a layer: square, odd side; one kernel, or one per plane.",
        )
        self._preview = CheckBox(
            value=False,
            text="only the current view",
            tooltip="Deblurs what is seen of the shown plane, and puts it in its place: quick, for "
            "trying the other fields.",
        )
        self._truth = layer_field(
            "truth",
            self._truth_choices,
            "A sharp layer of the same shape, to compare with (PSNR and SSIM).",
            nullable=True,
        )
        self._field = ComboBox(
            name="field",
            label="blur",
            choices=[("the same all over", "uniform"), ("varies over the image", "grid")],
            tooltip="Blur varies where the camera turned, or the scene is deep. It then takes "
            "several times as long.",
        )
        self._rows, self._columns = (
            automatic_field(name, name, 8, 1, f"How many {name} of cells have a kernel each.")
            for name in ("rows", "columns")
        )
        self._grid_row = grid_row(self._rows, self._columns)
        self._noise = measured_field(
            "noise",
            "noise",
            "Standard deviation of the noise in the image's own units. Larger values give smoother "
            "results; 0 is for exact kernels and no noise; measured where nothing is given.",
        )
        preview = row(self._preview, label="preview")
        self._build(
            [self._kernel, self._field, *engine.first, self._truth, preview],
            [self._grid_row, self._noise, *engine.more],
            engine,
        )

    def _task(self) -> Task:
        kernel: Kernel = self._kernel.value
        field: Field = self._field.value if self._may_vary else "uniform"
        grid = int(self._rows.value), int(self._columns.value)
        return deblur_task(
            DeblurRequest(
                self.layer,
                kernel,
                field=field,
                grid=grid if field == "grid" and all(grid) else None,
                noise=measured_value(self._noise),
                truth=self._truth.value,
                preview=self._seen() if self._preview.value else None,
                **self._values(),
            )
        )

    def _seen(self) -> Region | None:
        view = self.source.view
        return None if view is None else visible_region(self.layer, view)

    @property
    def _may_vary(self) -> bool:
        """Whether kernels are estimated such that they may vary."""
        return bool(self._kernel.value == "each")

    def _is_apt(self, widget: Widget) -> bool:
        if widget is self._grid_row:
            return self._may_vary and self._field.value == "grid"
        return super()._is_apt(widget)

    def _refresh(self, *_: Any) -> None:
        self._field.visible = self._may_vary
        self._advanced.update()
        super()._refresh()

    def _kernel_choices(self, _: Any) -> list[tuple[str, Any]]:
        view, image = self.source.view, self.source.layer
        stack = view is not None and view.count > 1
        estimated = [("estimate for each plane" if stack else "estimate now", "each")]
        if stack:
            estimated.append(("estimate one for the whole stack", "pooled"))
        others = [each for each in self.source.layers() if each != image]
        kernels = [each for each in others if looks_like_kernel(each)]
        kernels.sort(key=lambda each: not is_kernel(each))
        return estimated + [(each.name, each) for each in kernels]

    def _truth_choices(self, _: Any) -> list[tuple[str, Any]]:
        view, image = self.source.view, self.source.layer
        if view is None:
            return []
        return [
            (layer.name, layer)
            for layer in self.source.layers()
            if isinstance(layer, Image)
            and layer != image
            and not _is_deblurred(layer)
            and not layer.multiscale
            and tuple(layer.data.shape) == view.shape
        ]

    def _wrong_fields(self, view: LayerView) -> Iterator[tuple[Widget, str]]:
        if isinstance(self._kernel.value, Image):
            try:
                KernelSource(self._kernel.value, view)
            except DeblurError as error:
                yield self._kernel, str(error)
        try:
            measured_value(self._noise)
        except DeblurError as error:
            yield self._noise, str(error)
        cells = int(self._rows.value), int(self._columns.value)
        if self._is_apt(self._grid_row) and all(cells):
            try:
                check_grid(view, cells)
            except DeblurError as error:
                yield self._grid_row, str(error)

    def _follow_image(self, view: LayerView | None) -> None:
        del view
        self._kernel.reset_choices()
        self._suggest_kernel()
        self._truth.reset_choices()
        self._suggest_truth()
        self._truth.visible = len(self._truth.choices) > 1  # the first one is none

    def _suggest_kernel(self) -> None:
        """Take the kernel that was estimated of the image, once; and none of another image."""
        layer = self.source.layer
        made_of = {each: _made_of(each) for each in self._kernel.choices if isinstance(each, Image)}
        own = next((each for each, name in made_of.items() if layer and name == layer.name), None)
        if own is not None and own != self._suggested:
            self._kernel.value = own
        elif own is None and made_of.get(self._kernel.value):
            self._kernel.value = "each"
        self._suggested = own

    def _suggest_truth(self) -> None:
        """Compare with the layer that the image was shaken from, where it is there."""
        layer = self.source.layer
        about = None if layer is None else record_of(layer)
        if about is None or self._truth.value is not None:
            return
        for choice in self._truth.choices:
            if isinstance(choice, Image) and choice.name == about.get("truth"):
                self._truth.value = choice

    def _summary(self, layers: list[Layer]) -> str:
        about = record_of(layers[0]) or {}
        quality = about.get("quality")
        judged = "" if quality is None else str(Quality(**quality))
        kernel = record_of(layers[-1]) or {}  # a new one comes after the image
        said = doubt_about(kernel) if kernel.get("kind") == "kernel" else ""
        return " ".join(filter(None, (said, _noise_text(about), judged)))


def _made_of(layer: Image) -> str:
    """Name of the image that a layer's kernels were estimated of by themselves."""
    about = record_of(layer)
    estimated = about is not None and about["function"] == "estimate_kernel_of_layer"
    return str(about["source"]["name"]) if about is not None and estimated else ""


def _is_deblurred(layer: Image) -> bool:
    about = record_of(layer)
    return about is not None and about["kind"] == "deblurred"


def _noise_text(about: dict[str, Any]) -> str:
    """What the noise was taken to be, where it was measured."""
    noise = about.get("found", {}).get("noise")
    measured = noise is not None and about["parameters"]["noise"] is None
    return f"Noise {noise:.3g} (measured)." if measured else ""


def deblur_widget(viewer: Any = None) -> DeblurWidget:
    """Make the widget; without a viewer for the current one."""
    return DeblurWidget(viewer)
