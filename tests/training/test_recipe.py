"""Recipes: the shipped ones are what they claim, and every mistake is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from napari_deblur.errors import RecipeError
from napari_deblur.training.models import network_configs
from napari_deblur.training.recipe_files import load_recipe, recipe_names

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipe_is_valid_with_networks_that_hold_its_kernels(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.stage.analysis.kernels.largest <= network_configs(recipe.model).kernel_size


def test_paper_recipe_is_the_paper_section_4() -> None:
    recipe = load_recipe("paper")
    stages = recipe.stage
    assert (stages.analysis.steps, stages.synthesis.steps) == (10**6, 10**6)
    assert stages.joint.steps == 10**5
    for stage in (stages.analysis, stages.synthesis, stages.joint):
        assert (stage.batch, stage.crop) == (4, 512)
        assert (stage.optimizer, stage.learning_rate) == ("adam", 1e-4)
        assert (stage.schedule, stage.factor, stage.patience) == ("plateau", 0.8, 5)
        assert (stage.clip, stage.ema, stage.warmup, stage.weight_decay) == (0, 0, 0, 0)
        assert stage.sensor.noise == (0.02, 0.02)
        assert stage.kernels.largest == 85
    assert (stages.synthesis.loss, stages.joint.loss) == ("l2", "l2")
    assert (stages.analysis.flip_until, stages.synthesis.perturbed) == (0, 0)
    assert not stages.decoder.enabled
    configs = network_configs(recipe.model)
    assert (configs.synthesis.front_end, configs.analysis.fixed_features) == ("none", ())


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("stage.analysis.stepz=5", "'stage.analysis.stepz': allowed are bad_steps, batch"),
        ("kernals.largest=5", "'kernals': allowed are"),
        ("data.text2=1", "'data.text2': allowed are cells"),
        ("stage.analysis.steps=0", "stage.analysis.steps = 0 is impossible: it must be >= 1"),
        ("stage.synthesis.loss=l3", "'l3' is impossible: it must be one of 'l2', 'l1', 'log-mse'"),
        ("sensor.noise=[0.2, 0.1]", "sensor.noise = [0.2, 0.1] is impossible"),
        ("sensor.noiseless=1.5", "it must be in [0, 1]"),
        ("stage.analysis.batch=2.5", "a whole number"),
        ("stage.analysis.learning_rate=nan", "learning_rate = nan is impossible"),
        ("machine.compile=1", "true or false"),
        ("seed=true", "a whole number"),
        ("data=3", "data = 3 is impossible: it must be a section"),
        ("kernels.smallest=40", "kernels.smallest = 40 is impossible"),
        ("stage.analysis.flip_hold=0.9", "flip_hold = 0.9 is impossible"),
        ("nonsense", "write section.key=value"),
    ],
)
def test_mistake_is_named_with_what_is_allowed(setting: str, named: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("compact", [setting])
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("model.preset=huge", "allowed are paper, compact, tiny"),
        ("model.analysis.depth=3", "'depth'"),
        ("model.synthesis.guidance=strong", "'strong'"),
    ],
)
def test_mistake_in_the_model_is_named(setting: str, named: str) -> None:
    recipe = load_recipe("tiny", [setting])
    with pytest.raises(RecipeError) as caught:
        network_configs(recipe.model)
    assert named in str(caught.value)


def test_unknown_recipe_and_broken_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"'huge': allowed are .*compact.*paper.*tiny"):
        load_recipe("huge")
    broken = tmp_path / "mine.toml"
    broken.write_text("seed = = 3")
    with pytest.raises(RecipeError, match="is not TOML"):
        load_recipe(broken)
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(tmp_path / "absent.toml")


def test_stage_overrides_single_keys_of_a_shared_section() -> None:
    recipe = load_recipe("tiny", ["stage.synthesis.sensor.noiseless=0.7"])
    assert recipe.stage.synthesis.sensor.noiseless == 0.7
    assert recipe.stage.synthesis.sensor.noise == recipe.stage.analysis.sensor.noise
    assert recipe.stage.analysis.sensor.noiseless == 0.1


def test_fingerprint_follows_what_decides_a_stage_and_nothing_else() -> None:
    plain = load_recipe("tiny").fingerprint("analysis")
    assert load_recipe("tiny", ["machine.workers=0"]).fingerprint("analysis") == plain
    assert load_recipe("tiny", ["stage.joint.steps=9"]).fingerprint("analysis") == plain
    for setting in ("seed=5", "stage.analysis.steps=9", "data.text=2", "model.preset=compact"):
        assert load_recipe("tiny", [setting]).fingerprint("analysis") != plain


def test_network_for_another_kernel_size_keeps_its_reach_beyond_the_kernel() -> None:
    model = load_recipe("compact").model
    own, other = network_configs(model), network_configs(model, 61)
    assert other.analysis.kernel_size == other.synthesis.kernel_size == 61
    assert other.analysis.radius - 30 == own.analysis.radius - 15
