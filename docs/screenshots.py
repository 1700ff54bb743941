"""Make the documentation's pictures of the napari plugin: each widget at work, for real.

Run it with ``make screenshots``.  Every picture is of a viewer in which the widget was docked, its
fields set and its button pressed; nothing is drawn afterwards.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import napari
import numpy as np
from PIL import Image
from qtpy.QtWidgets import QApplication

WIDTH = 1320  # pixels of the window
GAP = 10  # pixels of the image between two of them
PATIENCE = 1800  # seconds


def main() -> None:
    """Make all pictures, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="which pictures")
    parser.add_argument("--model", default="", help="folder of a model, instead of the default")
    images = Path(__file__).parent / "images"
    parser.add_argument("--out", type=Path, default=images, help="where to put them")
    chosen = parser.parse_args()
    chosen.out.mkdir(exist_ok=True)
    import_module("napari_deblur.engine.run")  # torch; the times shown are those of the work
    for name in chosen.names or SHOTS:
        began = time.perf_counter()
        viewer = napari.Viewer(show=False, show_welcome_screen=False)
        viewer.window.resize(WIDTH, SHOTS[name].height)
        stage = Stage(viewer, chosen.model, chosen.out / f"{name}.png")
        SHOTS[name].play(stage)
        if not stage.taken:
            stage.take()
        viewer.close()
        settle(0.2)
        print(f"{stage.path}  ({time.perf_counter() - began:.0f} s)")


@dataclass
class Stage:
    """A viewer, and where its picture goes."""

    viewer: Any
    model: str
    path: Path
    taken: bool = False

    def opened(self, title: str) -> Any:
        """Dock a widget and show the window."""
        _, widget = self.viewer.window.add_plugin_dock_widget("napari-deblur", title)
        if self.model and "model" in [each.name for each in widget]:
            widget["model"].value = "a folder"
            widget["folder"].value = self.model
        size = self.viewer.window.geometry()[2:]
        self.viewer.window.show()
        settle(0.5)
        self.viewer.window.resize(*size)  # showing it may bring back that of another session
        settle(0.5)
        return widget

    def fit(self, selected: str) -> None:
        """Show everything that is visible, and the controls of one layer."""
        settle(0.5)
        self.viewer.layers.selection = {self.viewer.layers[selected]}
        self.viewer.reset_view(margin=0.03)
        settle(0.5)

    def take(self) -> None:
        """Take the picture."""
        settle(1)
        pixels = self.viewer.screenshot(canvas_only=False, flash=False)
        Image.fromarray(pixels).convert("RGB").save(self.path, optimize=True)
        self.taken = True


def estimate(stage: Stage) -> None:
    """Fluorescence with its kernel beside it, the true one below, and all fields."""
    viewer = stage.viewer
    viewer.open_sample("napari-deblur", "fluorescence")
    del viewer.layers["cells"]
    shaken = viewer.layers["cells shaken"]
    shaken.data = shaken.data[:250, :200]
    widget = stage.opened("Estimate blur kernel")
    widget["advanced"].native.click()
    finished(widget)
    truth = viewer.layers["true kernel of cells shaken"]
    found = viewer.layers["kernel of cells shaken"]
    truth.visible = True
    side, true_side = found.data.shape[0], truth.data.shape[0]
    truth.translate = (
        found.translate + np.array([side + 2 * GAP, (side - true_side) / 2]) * found.scale
    )
    stage.fit("kernel of cells shaken")


def deblur(stage: Stage) -> None:
    """A photograph before and, below, after; the kernel beside it."""
    viewer = stage.viewer
    viewer.open_sample("napari-deblur", "photograph")
    for layer in list(viewer.layers)[:2]:
        layer.visible = True  # hidden layers do not learn of their new size
        layer.data = layer.data[60:250, 90:460]
        layer.visible = layer.name == "coffee shaken"
    del viewer.layers["true kernel of coffee shaken"]
    widget = stage.opened("Deblur")
    widget["image"].value = viewer.layers["coffee shaken"]
    finished(widget)
    below(viewer.layers["coffee shaken deblurred"], viewer.layers["coffee shaken"])
    stage.fit("coffee shaken deblurred")


def shake(stage: Stage) -> None:
    """A sharp photograph and, below, its shaken copy; the true kernel beside them."""
    from skimage import data

    viewer = stage.viewer
    viewer.add_image(data.chelsea()[40:230, 30:400], name="chelsea", rgb=True)
    widget = stage.opened("Simulate camera shake")
    for name, value in {"size": 31, "seed": 3, "noise": 0.005}.items():
        widget[name].value = value
    finished(widget)
    below(viewer.layers["chelsea shaken"], viewer.layers["chelsea"])
    stage.fit("chelsea shaken")


def kernel_map(stage: Stage) -> None:
    """A photograph with a blur that differs from place to place, and its kernels upon it."""
    stage.viewer.add_image(two_depths(), name="astronaut, two depths")
    widget = stage.opened("Kernel map")
    finished(widget)
    stage.fit("kernel map of astronaut, two depths")


def train(stage: Stage) -> None:
    """Training a small model from scratch, some steps on."""
    import tempfile

    from napari_deblur.plugin.train_task import losses

    viewer = stage.viewer
    viewer.open_sample("napari-deblur", "fluorescence")
    viewer.layers["cells shaken"].visible = False
    viewer.layers["cells"].visible = True
    widget = stage.opened("Train on my images")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        widget["images"].value = [viewer.layers["cells"]]
        widget["start"].value = ""
        widget["recipe"].value = "tiny"
        widget["minutes"].value = 4
        widget["out"].value = out
        widget.run()
        waited(lambda: sum(len(steps) for steps, _ in losses(out).values()) > 8)
        settle(1)
        stage.fit("cells")
        stage.take()
        widget.cancel()
        waited(lambda: widget.state.value == "idle")


@dataclass(frozen=True)
class Shot:
    """What is played for a picture, and the height of its window in pixels."""

    play: Callable[[Stage], None]
    height: int


SHOTS = {
    "estimate": Shot(estimate, 640),
    "deblur": Shot(deblur, 640),
    "shake": Shot(shake, 640),
    "map": Shot(kernel_map, 720),
    "train": Shot(train, 720),
}


def finished(widget: Any) -> None:
    """Run, and wait for the end."""
    widget.run()
    waited(lambda: widget.state.value == "idle")
    print(f"  {widget.status}")
    if not widget.status.startswith("Done"):
        sys.exit(1)


def waited(done: Callable[[], bool]) -> None:
    """Let the program go on until something is so."""
    until = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > until:
            sys.exit("this takes too long")
        settle(0.05)


def settle(seconds: float) -> None:
    """Let Qt work for some time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        QApplication.processEvents()
        time.sleep(0.01)


def below(layer: Any, other: Any) -> None:
    """Move a layer below another one, so that both can be seen."""
    layer.visible = True
    other.visible = True
    rows = other.data.shape[0] + GAP
    layer.translate = other.translate + np.array([rows * other.scale[0], 0])


def two_depths() -> np.ndarray:
    """The astronaut before a camera that moved: what is near moved otherwise than what is far."""
    from skimage import color, data

    from napari_deblur.blur.camera import expose_depths
    from napari_deblur.blur.kernel_bank import straight_motion

    sharp = color.rgb2gray(data.astronaut()).astype(np.float32)
    near = np.zeros(sharp.shape, bool)
    near[:, 256:] = True
    kernels = straight_motion(13, 0, 21), straight_motion(13, 90, 21)
    blurry = expose_depths(sharp[None], near, kernels)[0]
    noise = np.random.default_rng(5).normal(0, 0.003, blurry.shape)
    return np.clip(blurry + noise, 0, 1).astype(np.float32)


if __name__ == "__main__":
    main()
