"""The widget that simulates camera shake."""

from __future__ import annotations

from typing import Any, ClassVar

from magicgui.widgets import FloatSpinBox, SpinBox
from napari.layers import Layer

from napari_deblur.defaults import LARGEST_KERNEL
from napari_deblur.plugin.dock import TaskWidget
from napari_deblur.plugin.kernel_layers import side_text
from napari_deblur.plugin.provenance import record_of
from napari_deblur.plugin.shake_task import ShakeRequest, shake_layer, shake_task
from napari_deblur.plugin.tasks import Task

__all__ = ["ShakeWidget", "shake_widget"]


class ShakeWidget(TaskWidget):
    """Shake a sharp layer with a kernel that is then known.

    Called as a function it is `shake_layer`.
    """

    title: ClassVar[str] = "Simulate camera shake"
    run_text: ClassVar[str] = "Shake"
    __call__ = staticmethod(shake_layer)

    def __init__(self, napari_viewer: Any = None) -> None:
        super().__init__(napari_viewer)
        self._size = SpinBox(
            name="size",
            label="size",
            min=1,
            max=LARGEST_KERNEL,
            value=21,
            tooltip="Side in pixels of the square that the kernel fills.",
        )
        self._seed = SpinBox(
            name="seed",
            label="seed",
            min=0,
            max=2**31 - 1,
            value=0,
            tooltip="Each seed gives another shake; the same seed gives the same again.",
        )
        self._noise = FloatSpinBox(
            name="noise",
            label="noise",
            min=0,
            max=1,
            step=0.005,
            value=0.01,
            tooltip="Standard deviation of the noise, as a fraction of the image's range.",
        )
        self._gain = FloatSpinBox(
            name="gain",
            label="brighten by",
            min=1,
            max=10,
            step=0.1,
            value=1,
            tooltip="Factor by which the image is brightened before it is clipped, so that bright "
            "parts saturate; 1 for none.",
        )
        self._build([self._size, self._seed, self._noise, self._gain], [], None)

    def _task(self) -> Task:
        return shake_task(
            ShakeRequest(
                self.layer,
                size=int(self._size.value),
                seed=int(self._seed.value),
                noise=float(self._noise.value),
                gain=float(self._gain.value),
                **self.source.values(),
            )
        )

    def _summary(self, layers: list[Layer]) -> str:
        about = record_of(layers[1]) or {}
        support = about.get("support", 0)
        return f"The true kernel fills {side_text(support)} pixels."


def shake_widget(viewer: Any = None) -> ShakeWidget:
    """Make the widget; without a viewer for the current one."""
    return ShakeWidget(viewer)
