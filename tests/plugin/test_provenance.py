"""What a result knows of itself is enough to make it again."""

from __future__ import annotations

import json
import shlex

import numpy as np
import pytest
from napari.layers import Image, Layer

from napari_deblur.plugin.commands import python_code
from napari_deblur.plugin.deblur_task import deblur_layer
from napari_deblur.plugin.estimate_task import estimate_kernel_of_layer
from napari_deblur.plugin.metadata import KEY
from napari_deblur.plugin.provenance import record_of
from napari_deblur.plugin.shake_task import shake_layer


@pytest.fixture(scope="module")
def results(tiny_model):
    """One result of each kind that has a command, by its kind."""
    rng = np.random.default_rng(1)
    squares = rng.random((12, 12)).repeat(4, axis=0).repeat(4, axis=1)
    layer = Image(squares, name="my image")
    made = [
        *shake_layer(layer, size=5),
        *estimate_kernel_of_layer(layer, model=tiny_model, device="cpu"),
        *deblur_layer(layer, "pooled", model=tiny_model, device="cpu", tile=64)[:1],
    ]
    layers = [Layer.create(*each) for each in made]
    return {layer.metadata[KEY]["kind"]: layer for layer in layers}


def test_a_record_holds_all_that_decides_the_result(results, tiny_model):
    about = record_of(results["deblurred"])
    assert about["model"] == tiny_model
    assert {len(value) for value in about["sha256"].values()} == {64}
    assert set(about["sha256"]) == {"analysis", "synthesis", "correction"}
    assert about["device"] == "cpu"
    assert about["seconds"] > 0
    assert about["version"]
    assert about["parameters"]["tile"] == 64
    assert about["source"]["shape"] == [48, 48]


def test_a_record_is_fit_for_json(results):
    for layer in results.values():
        assert json.loads(json.dumps(layer.metadata[KEY]))["kind"] == layer.metadata[KEY]["kind"]


@pytest.mark.parametrize("kind", ["deblurred", "kernel", "shaken", "true kernel"])
def test_the_command_line_understands_the_command(results, kind):
    import typer

    from napari_deblur.cli.app import build_app

    program, verb, *words = shlex.split(record_of(results[kind])["command_line"])
    assert program == "napari-deblur"
    command = typer.main.get_command(build_app()).commands[verb]
    context = command.make_context(verb, words)
    if kind == "deblurred":
        assert context.params["tile"] == 64
        assert context.params["one_kernel"] is True


def test_the_code_names_the_layers(results):
    code = python_code(record_of(results["kernel"]))
    compile(code, "copied", "exec")
    assert "viewer.layers['my image']" in code


def test_layers_from_elsewhere_have_no_record():
    assert record_of(Image(np.zeros((20, 20)))) is None
