"""The training dialog drives the training package, stops it, goes on, and leaves a model."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_deblur.errors import InputError, RecipeError
from napari_deblur.plugin.run import State
from napari_deblur.plugin.tasks import finish
from napari_deblur.plugin.train_images import save_layers
from napari_deblur.plugin.train_task import (
    TrainRequest,
    losses,
    model_folder,
    stages_of,
    train_on_layers,
    train_task,
)

pytest.importorskip("lightning")


@pytest.fixture
def dialog(dock, tiny_model, tmp_path, make_layer):
    viewer, widget = dock("Train on my images")
    viewer.add_image(np.random.default_rng(0).random((160, 160)), name="sharp")
    widget._images.value = [viewer.layers["sharp"]]
    widget._start_model.value = "a folder"
    widget._model_folder.value = tiny_model
    widget._recipe.value = "tiny"
    widget._out.value = tmp_path / "run"
    return widget


@pytest.mark.gui
@pytest.mark.slow
def test_fine_tuning_stops_goes_on_and_leaves_a_model(dialog, tmp_path, qtbot):
    out = tmp_path / "run"
    dialog._minutes.value = 60
    assert dialog._run.enabled, dialog._run.tooltip
    dialog._run.native.click()
    qtbot.waitUntil(lambda: bool(losses(out)), timeout=200_000)
    qtbot.waitUntil(lambda: bool(dialog._plot.curves), timeout=20_000)
    dialog._cancel.native.click()
    qtbot.waitUntil(lambda: dialog.state is State.IDLE, timeout=60_000)
    assert "goes on" in dialog.status
    assert list((out / "joint").glob("checkpoint-*.safetensors"))

    dialog._minutes.value = 0.01  # used up already: what is there is written out
    dialog._run.native.click()
    qtbot.waitUntil(lambda: dialog.state is State.IDLE, timeout=200_000)
    assert "Done" in dialog.status, dialog.status
    assert sorted(path.name for path in model_folder(out).glob("*s.safetensors")) == [
        "analysis.safetensors",
        "synthesis.safetensors",
    ]


@pytest.mark.gui
def test_a_known_model_brings_its_recipe(dialog):
    dialog._start_model.value = ""
    assert dialog._recipe.native.isVisibleTo(dialog.native)
    dialog._start_model.value = "compact-85"
    assert not dialog._recipe.native.isVisibleTo(dialog.native)
    assert dialog._request().recipe == "general"


@pytest.mark.gui
def test_a_run_that_can_go_on_is_said(dialog, tmp_path):
    assert dialog._run.text == "Train"
    (tmp_path / "earlier" / "joint").mkdir(parents=True)
    (tmp_path / "earlier" / "joint" / "checkpoint-10.safetensors").touch()
    dialog._out.value = tmp_path / "earlier"
    assert dialog._run.text == "Go on"


@pytest.mark.gui
def test_what_is_missing_disables_training_and_is_said(dialog):
    dialog._images.value = []
    assert not dialog._run.enabled
    assert "Select sharp image layers" in dialog._run.tooltip
    assert "border" in dialog._images.native.styleSheet()


def test_each_plane_is_saved_as_a_picture(make_layer, tmp_path):
    layers = [make_layer(kind) for kind in ("tyx", "rgb", "cyx")]
    assert save_layers(layers, tmp_path) == 3 + 1 + 4
    shapes = sorted(tifffile.imread(path).shape for path in tmp_path.iterdir())
    assert shapes == [(48, 48)] * 7 + [(48, 48, 3)]


def test_stages_follow_the_recipe(tmp_path):
    assert stages_of(TrainRequest(tmp_path, start="default")) == ["joint"]
    scratch = stages_of(TrainRequest(tmp_path, recipe="tiny"))
    assert scratch == ["decoder", "analysis", "synthesis", "joint"]


def test_nothing_to_train_on_is_refused(tmp_path):
    with pytest.raises(InputError, match="select image layers"):
        train_task(TrainRequest(tmp_path / "run"))
    with pytest.raises(InputError, match="select image layers"):
        train_on_layers([], tmp_path / "run")


def test_what_the_training_says_when_it_fails_is_passed_on(tmp_path, tiny_model):
    (tmp_path / "empty").mkdir()
    request = TrainRequest(
        tmp_path / "run", folder=tmp_path / "empty", start=tiny_model, recipe="nowhere.toml"
    )
    with pytest.raises(RecipeError, match=r"nowhere\.toml"):
        finish(train_task(request))
