"""Make the documentation's pictures of the napari plugin: each widget at work, for real.

Run it with ``make screenshots``.  Every picture is of a viewer in which the widget was docked, its
fields set and its button pressed; nothing is drawn afterwards.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import numpy as np
from qtpy.QtWidgets import QApplication

IMAGES = Path(__file__).parent / "images"
WIDTH, LOW, HIGH = 1440, 600, 860  # pixels of the window
GAP = 12  # pixels of the image between two of them
PATIENCE = 1800  # seconds


def main() -> None:
    """Make all pictures, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="which pictures")
    parser.add_argument("--model", default="", help="folder of a model, instead of the default")
    chosen = parser.parse_args()
    IMAGES.mkdir(exist_ok=True)
    for name in chosen.names or SHOTS:
        began = time.perf_counter()
        viewer = napari.Viewer(show=False, show_welcome_screen=False)
        viewer.window.resize(WIDTH, HIGH if name in TALL else LOW)
        SHOTS[name](viewer, chosen.model)
        settle(1)
        path = IMAGES / f"{name}.png"
        if name not in TAKEN_AT_WORK:
            viewer.screenshot(path=str(path), canvas_only=False, flash=False)
        viewer.close()
        settle(0.2)
        print(f"{path}  ({time.perf_counter() - began:.0f} s)")


def estimate(viewer: Any, model: str) -> None:
    """Fluorescence with its kernel beside it, the true one below."""
    viewer.open_sample("napari-deblur", "fluorescence")
    del viewer.layers["cells"]
    shaken = viewer.layers["cells shaken"]
    shaken.data = shaken.data[:220, :300]
    widget = opened(viewer, "Estimate blur kernel", model)
    widget["image"].value = viewer.layers["cells shaken"]
    finished(widget)
    truth = viewer.layers["true kernel of cells shaken"]
    found = viewer.layers["kernel of cells shaken"]
    truth.visible = True
    below = (found.data.shape[0] + GAP) * found.scale[0]
    truth.translate = found.translate + np.array([below, 0])
    fit(viewer)


def deblur(viewer: Any, model: str) -> None:
    """A photograph before and after, with the kernel between them."""
    viewer.open_sample("napari-deblur", "photograph")
    for layer in list(viewer.layers)[:2]:
        layer.visible = True
        layer.data = layer.data[60:300, 150:450]
        layer.visible = layer.name == "coffee shaken"
    widget = opened(viewer, "Deblur", model)
    widget["image"].value = viewer.layers["coffee shaken"]
    finished(widget)
    beside(viewer.layers["coffee shaken deblurred"], viewer.layers["kernel of coffee shaken"])
    fit(viewer)


def shake(viewer: Any, model: str) -> None:
    """A sharp photograph and its shaken copy with the true kernel."""
    del model
    from skimage import data

    viewer.add_image(data.chelsea()[:, 60:420], name="chelsea", rgb=True)
    widget = opened(viewer, "Simulate camera shake", "")
    for name, value in {"size": 31, "seed": 3, "noise": 0.005}.items():
        widget[name].value = value
    finished(widget)
    kernel = viewer.layers["true kernel of chelsea shaken"]
    beside(viewer.layers["chelsea shaken"], kernel)
    fit(viewer)


def kernel_map(viewer: Any, model: str) -> None:
    """A photograph with a blur that differs from left to right, and its kernels upon it."""
    viewer.add_image(varying_blur(), name="astronaut, camera turned")
    widget = opened(viewer, "Kernel map", model)
    finished(widget)
    viewer.layers[0].opacity = 0.45
    fit(viewer)


def train(viewer: Any, model: str) -> None:
    """Training a small model from scratch, stopped after some steps of its second stage."""
    del model
    import tempfile

    from napari_deblur.plugin.train_task import losses

    viewer.open_sample("napari-deblur", "fluorescence")
    viewer.layers["cells shaken"].visible = False
    viewer.layers["cells"].visible = True
    widget = opened(viewer, "Train on my images", "")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "my cells"
        widget["images"].value = [viewer.layers["cells"]]
        widget["start"].value = ""
        widget["recipe"].value = "tiny"
        widget["minutes"].value = 4
        widget["out"].value = out
        widget.run()
        waited(lambda: len(losses(out).get("analysis", ([], []))[0]) > 3)
        settle(1)
        fit(viewer)
        viewer.screenshot(path=str(IMAGES / "train.png"), canvas_only=False, flash=False)
        widget.stop()
        waited(lambda: widget.state.value == "idle")


SHOTS: dict[str, Callable[[Any, str], None]] = {
    "estimate": estimate,
    "deblur": deblur,
    "shake": shake,
    "map": kernel_map,
    "train": train,
}
TALL = {"map", "train"}
TAKEN_AT_WORK = {"train"}  # pictures that are taken while the run goes on


def opened(viewer: Any, title: str, model: str) -> Any:
    """Dock a widget and show the window."""
    _, widget = viewer.window.add_plugin_dock_widget("napari-deblur", title)
    if model and "model" in [each.name for each in widget]:
        widget["model"].value = "a folder"
        widget["folder"].value = model
    size = viewer.window.geometry()[2:]
    viewer.window.show()
    settle(0.5)
    viewer.window.resize(*size)  # showing it may bring back that of another session
    settle(0.5)
    return widget


def finished(widget: Any) -> None:
    """Run, and wait for the end."""
    widget.run()
    waited(lambda: widget.state.value == "idle")
    print(f"  {widget.status}")


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


def beside(layer: Any, kernel: Any) -> None:
    """Move a layer to the right of a kernel that stands to the right of the image."""
    layer.visible = True
    column = kernel.translate[-1] + (kernel.data.shape[-1] + GAP) * kernel.scale[-1]
    layer.translate = [*layer.translate[:-1], column]


def fit(viewer: Any) -> None:
    """Show everything that is visible."""
    settle(0.5)
    viewer.reset_view()
    viewer.layers.selection.clear()
    settle(0.5)


def varying_blur() -> np.ndarray:
    """The astronaut as seen by a camera that turned about the picture's middle."""
    from skimage import color, data
    from skimage.transform import rotate

    sharp = color.rgb2gray(data.astronaut())
    angles = np.linspace(-2.2, 2.2, 23)
    frames = [rotate(sharp, angle, mode="edge") for angle in angles]
    noise = np.random.default_rng(0).normal(0, 0.003, sharp.shape)
    return np.clip(np.mean(frames, axis=0) + noise, 0, 1).astype(np.float32)


if __name__ == "__main__":
    main()
