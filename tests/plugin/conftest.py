"""What the plugin's tests share: a tiny model, small layers of every kind, docked widgets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from napari.layers import Image

SIDE = 48


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a folder with an untrained pair of networks of the preset "tiny"."""
    import torch

    from napari_deblur.networks.analysis import AnalysisNetwork
    from napari_deblur.networks.presets import PRESETS
    from napari_deblur.networks.synthesis import SynthesisNetwork
    from napari_deblur.weights.files import save_weights

    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    preset = PRESETS["tiny"]
    about = {"trained": "not at all"}
    for kind, network, config in (
        ("analysis", AnalysisNetwork(preset.analysis), preset.analysis),
        ("synthesis", SynthesisNetwork(preset.synthesis), preset.synthesis),
    ):
        save_weights(folder / f"{kind}.safetensors", network, kind, config, about)
    return str(folder)


def texture(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    """Random blocks with edges, filling half of the dtype's range."""
    rng = np.random.default_rng(sum(shape))
    small = rng.random([*shape[:-2], -(-shape[-2] // 4), -(-shape[-1] // 4)])
    big = small.repeat(4, axis=-2).repeat(4, axis=-1)[..., : shape[-2], : shape[-1]]
    if np.dtype(dtype).kind == "f":
        return big.astype(dtype)
    return (big * np.iinfo(dtype).max / 2).astype(dtype)


def _multiscale() -> Image:
    finest = texture(64, 72)
    return Image([finest, finest[::2, ::2]], scale=(0.5, 0.5))


def _dask() -> Image:
    import dask.array as da

    data = da.from_array(texture(3, SIDE, SIDE, dtype=np.uint16), chunks=(1, SIDE, SIDE))
    return Image(data, axis_labels=("t", "y", "x"))


def _zarr() -> Image:
    import zarr

    store = zarr.storage.MemoryStore()
    array = zarr.create_array(store, shape=(2, SIDE, SIDE), chunks=(1, SIDE, SIDE), dtype=np.uint16)
    array[...] = texture(2, SIDE, SIDE, dtype=np.uint16)
    return Image(array, contrast_limits=(0, 40000))


KINDS: dict[str, Callable[[], Image]] = {
    "yx uint8": lambda: Image(texture(SIDE, SIDE + 8, dtype=np.uint8)),
    "yx uint16": lambda: Image(texture(SIDE, SIDE, dtype=np.uint16), gamma=0.7, colormap="green"),
    "yx float": lambda: Image(texture(SIDE, SIDE) * 40 - 3, contrast_limits=(0, 12)),
    "tyx": lambda: Image(
        texture(3, SIDE, SIDE, dtype=np.uint16),
        axis_labels=("t", "y", "x"),
        units=("s", "µm", "µm"),
        scale=(2, 0.2, 0.2),
        translate=(10, 1, -1),
    ),
    "zyx": lambda: Image(texture(2, SIDE, SIDE, dtype=np.uint8), scale=(3, 1, 1)),
    "tzcyx": lambda: Image(
        texture(2, 2, 2, SIDE, SIDE, dtype=np.uint16), axis_labels=("t", "z", "c", "y", "x")
    ),
    "rgb": lambda: Image(np.moveaxis(texture(3, SIDE, SIDE, dtype=np.uint8), 0, -1), rgb=True),
    "rgba": lambda: Image(np.moveaxis(texture(4, SIDE, SIDE, dtype=np.uint8), 0, -1), rgb=True),
    "t rgb": lambda: Image(np.moveaxis(texture(2, 3, SIDE, SIDE, dtype=np.uint8), 1, -1), rgb=True),
    "cyx": lambda: Image(texture(4, SIDE, SIDE), axis_labels=("c", "y", "x")),
    "multiscale": _multiscale,
    "dask": _dask,
    "zarr": _zarr,
    "singletons": lambda: Image(texture(1, 1, SIDE, SIDE)[..., np.newaxis]),
    "yxt": lambda: Image(
        np.moveaxis(texture(2, SIDE, SIDE + 8), 0, -1), axis_labels=("y", "x", "t")
    ),
    "turned": lambda: Image(texture(SIDE, SIDE), rotate=30, shear=[0.2], translate=(5, 7)),
    "affine": lambda: Image(
        texture(2, SIDE, SIDE),
        affine=[[1, 0, 0, 4], [0, 0.9, -0.3, 1], [0, 0.3, 0.9, 2], [0, 0, 0, 1]],
        blending="additive",
        opacity=0.6,
    ),
}
"""A small layer of each kind that users have."""


@pytest.fixture(params=KINDS)
def any_layer(request: pytest.FixtureRequest) -> Image:
    """Return a layer of each kind, one after the other."""
    layer = KINDS[request.param]()
    layer.name = request.param
    return layer


@pytest.fixture(scope="session")
def make_layer() -> Callable[[str], Image]:
    """Return a function that makes a layer of a kind, named after it."""

    def make(kind: str) -> Image:
        layer = KINDS[kind]()
        layer.name = kind
        return layer

    return make


@pytest.fixture
def dock(make_napari_viewer_proxy, npe2pm, plugin_settings, qtbot, tiny_model):
    """Return a function that opens a widget of the real manifest in a viewer, set to the model."""
    from npe2 import PluginManifest

    npe2pm.register(PluginManifest.from_distribution("napari-deblur"))

    def open_widget(title: str, viewer: Any = None) -> tuple[Any, Any]:
        viewer = viewer or make_napari_viewer_proxy()
        _, widget = viewer.window.add_plugin_dock_widget("napari-deblur", title)
        if getattr(widget, "_engine", None) is not None:
            widget._engine.model.value = "a folder"
            widget._engine.folder.value = tiny_model
            widget._engine.refine.value = 0  # quick; the newcomer takes the default
        return viewer, widget

    yield open_widget
    from napari_deblur.plugin.run import activity

    qtbot.waitUntil(lambda: not activity.title, timeout=20_000)


@pytest.fixture
def finished(qtbot):
    """Return a function that presses Run and waits for the end."""
    from napari_deblur.plugin.run import State

    def press(widget: Any) -> None:
        assert widget._run.enabled, widget._run.tooltip
        widget._run.native.click()
        assert widget.state is State.RUNNING, widget.status
        qtbot.waitUntil(lambda: widget.state is State.IDLE, timeout=60_000)

    return press
