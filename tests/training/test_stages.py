"""The whole regimen on the tiny recipe, and what it refuses."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from napari_deblur.errors import DeblurError, InputError, OutputError, RecipeError
from napari_deblur.training.ablation_rows import ROWS, total_cost
from napari_deblur.training.cli import app
from napari_deblur.training.models import build_network, network_configs
from napari_deblur.training.recipe_files import load_recipe
from napari_deblur.training.regimen import _steps, train_stage, window_of
from napari_deblur.weights.files import open_network, read_weights

# The first test of this file waits for the whole regimen.
pytestmark = pytest.mark.timeout(900)

SHORT = [
    "stage.decoder.enabled=false",
    "stage.analysis.steps=4",
    "stage.analysis.batch=2",
    "stage.analysis.crop=32",
    "stage.analysis.validation_images=2",
    "data.procedural_images=1",
    "data.procedural_size=64",
    "kernels.count=16",
]


_BOTH = ("paper", "compact")


def _short(out: Path, *settings: str, resume: bool = False, stage: str = "analysis") -> None:
    recipe = load_recipe("tiny", [*SHORT, *settings])
    train_stage(stage, recipe, data=[], validation=[], out=out, minutes=None, resume=resume)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the whole regimen once."""
    out = tmp_path_factory.mktemp("all")
    command = ["-m", "napari_deblur.training", "all", "--recipe", "tiny", "--out", str(out)]
    process = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=900, check=False
    )
    assert process.returncode == 0, process.stderr
    return out


def _last(path: Path) -> dict[str, float]:
    with path.open(encoding="utf-8") as file:
        return {key: float(value) for key, value in list(csv.DictReader(file))[-1].items()}


def _losses(path: Path) -> list[float]:
    with path.open(encoding="utf-8") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize("stage", ["decoder", "analysis", "synthesis"])
def test_loss_falls(whole: Path, stage: str) -> None:
    losses = _losses(whole / stage / "training.csv")
    assert losses[-1] < losses[0]


def test_result_is_better_than_the_blurry_input_on_held_out_images(whole: Path) -> None:
    synthesis = _last(whole / "synthesis" / "validation.csv")
    assert synthesis["PSNR"] > synthesis["PSNR blurry"] + 2
    joint = _last(whole / "joint" / "validation.csv")
    assert joint["PSNR"] > joint["PSNR blurry"]
    assert joint["kernel correlation"] > 0.6


def test_every_stage_leaves_weights_that_open_and_say_where_they_come_from(whole: Path) -> None:
    pairs = ["", "scales/small/", "scales/medium/", "scales/large/"]
    for pair in pairs:
        for kind in ("analysis", "synthesis"):
            open_network(whole / f"{pair}{kind}" / f"{kind}.safetensors")
            open_network(whole / f"{pair}joint" / f"{kind}.safetensors")
    for lone in ("classifier", "correction"):
        open_network(whole / lone / f"{lone}.safetensors")
    small = read_weights(whole / "scales" / "small" / "joint" / "analysis.safetensors")
    assert small.config["kernel_size"] == 7
    provenance = read_weights(whole / "joint" / "synthesis.safetensors").provenance
    assert provenance["stage"] == "joint"
    assert provenance["steps"] == 20
    assert provenance["recipe"]["stage"]["joint"]["loss"] == "log-mse"
    assert set(provenance["versions"]) == {"napari-deblur", "torch", "python"}
    assert provenance["held-out figures"]["PSNR"] > 10
    json.dumps(provenance)


def test_pictures_show_figure_4(whole: Path) -> None:
    names = [path.name for path in (whole / "joint" / "pictures").iterdir()]
    assert any("true - pre-trained - after joint training" in name for name in names)
    assert any("blurry - deblurred - sharp" in name for name in names)


def test_folder_that_holds_a_run_is_not_overwritten_and_resumes_only_its_recipe(
    tmp_path: Path,
) -> None:
    _short(tmp_path)
    weights = (tmp_path / "analysis" / "analysis.safetensors").read_bytes()
    with pytest.raises(OutputError, match="holds a run already: give --resume"):
        _short(tmp_path)
    with pytest.raises(RecipeError, match="another recipe"):
        _short(tmp_path, "stage.analysis.learning_rate=1e-5", resume=True)
    with pytest.raises(RecipeError, match="another recipe"):
        _short(tmp_path, "seed=9", resume=True)
    (tmp_path / "analysis" / "analysis.safetensors").unlink()
    _short(tmp_path, resume=True)
    again = read_weights(tmp_path / "analysis" / "analysis.safetensors").tensors
    (tmp_path / "old.safetensors").write_bytes(weights)
    before = read_weights(tmp_path / "old.safetensors").tensors
    assert all((again[name] == before[name]).all() for name in before)


def test_the_whole_regimen_runs_what_the_recipe_enables_in_order() -> None:
    folders = {name: [step[-1] for step in _steps("all", load_recipe(name))] for name in _BOTH}
    assert folders["paper"][:4] == ["analysis", "synthesis", "joint", "classifier"]
    assert "correction" not in folders["paper"]
    assert folders["compact"][4:7] == ["classifier", "correction", "scales/small/analysis"]
    assert [step[-1] for step in _steps("correction", load_recipe("paper"))] == ["correction"]


def test_windows_of_corrections_are_those_of_the_smallest_class() -> None:
    assert window_of(load_recipe("compact"), "correction") == 224 + 31 - 1
    with pytest.raises(RecipeError, match=r"a value for each of the 2 classes"):
        window_of(
            load_recipe("paper", ["stage.correction.kernels.classes=[[3, 9], [11, 15]]"]),
            "correction",
        )


def test_missing_earlier_stage_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"safetensors' is missing: train stage 'analysis'"):
        _short(tmp_path, stage="joint")


RESTORING = [
    "model.synthesis.front_end=shrinkage-fields",
    "model.synthesis.shrinkage_stages=1",
    *(
        f"stage.{stage}.{setting}"
        for stage in ("deconvolution", "synthesis")
        for setting in ("steps=4", "batch=2", "crop=48", "validation_images=2")
    ),
    "stage.deconvolution.enabled=true",
]


def test_a_taught_deconvolution_stays_while_the_u_net_learns(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="train stage 'deconvolution' with the same --out first"):
        _short(tmp_path, *RESTORING, stage="synthesis")
    _short(tmp_path, *RESTORING, stage="deconvolution")
    _short(tmp_path, *RESTORING, stage="synthesis")
    before, after = (
        open_network(tmp_path / stage / "synthesis.safetensors").state_dict()
        for stage in ("deconvolution", "synthesis")
    )
    untaught = build_network(network_configs(load_recipe("tiny", RESTORING).model).synthesis, 2)
    for name, weights in before.items():
        taught = name.startswith("shrinkage.")
        assert torch.equal(after[name], weights) == taught or weights.numel() == 0, name
    first = {n: w for n, w in untaught.state_dict().items() if n.startswith("shrinkage.")}
    assert not all(torch.equal(before[name], weights) for name, weights in first.items())


def test_a_deconvolution_without_parameters_is_not_trained(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="front end 'wiener' has nothing to learn"):
        _short(tmp_path, stage="deconvolution")


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("stage.analysis.kernels.largest=21", "kernels.largest = 21 is impossible"),
        ("stage.analysis.crop=80", "at least 94 pixels"),
        ("data.photographs=1", "no usable photographs: give --data"),
    ],
)
def test_recipe_that_does_not_fit_its_model_or_data_is_named(
    tmp_path: Path, setting: str, named: str
) -> None:
    with pytest.raises(DeblurError) as caught:
        _short(tmp_path, setting)
    assert named in str(caught.value)


def test_unknown_stage_and_unwritable_folder_write_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown stage 'analisis': allowed are decoder"):
        _short(tmp_path / "a", stage="analisis")
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="give another --out"):
        _short(tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_ablation_writes_its_table_with_the_budget(tmp_path: Path) -> None:
    rows = '["synthesis--true-kernels-both", "training-strategy--blind-before-joint-training"]'
    budget = ["ablation.synthesis_steps=2", "ablation.analysis_steps=2"]
    small = ["stage.synthesis.crop=32", "stage.synthesis.batch=2", "stage.joint.crop=32"]
    few = ["stage.synthesis.validation_images=2", "stage.joint.validation_images=2"]
    settings = [f"ablation.rows={rows}", *budget, *small, *few]
    _short(tmp_path, *settings, stage="ablation")
    table = (tmp_path / "ablation" / "table.md").read_text(encoding="utf-8")
    assert "2 steps of 2 crops of 32 px (synthesis)" in table
    assert "| Synthesis, true kernels | both |" in table
    assert "28.73" in table

    # Row by row: a finished one is not run again, a missing one is; another budget is refused.
    results = tmp_path / "ablation" / "results.json"
    found = json.loads(results.read_text(encoding="utf-8"))
    first, second = found["rows"].pop("synthesis--true-kernels-both"), list(found["rows"])
    found["rows"][second[-1]]["PSNR"] = 99.0
    results.write_text(json.dumps(found), encoding="utf-8")
    with pytest.raises(OutputError, match="--resume"):
        _short(tmp_path, *settings, stage="ablation")
    _short(tmp_path, *settings, stage="ablation", resume=True)
    again = json.loads(results.read_text(encoding="utf-8"))["rows"]
    assert again["synthesis--true-kernels-both"] == pytest.approx(first)
    assert again[second[-1]]["PSNR"] == 99.0
    other = [*settings, "ablation.synthesis_steps=3"]
    with pytest.raises(RecipeError, match="other minutes"):
        _short(tmp_path, *other, stage="ablation", resume=True)
    with pytest.raises(RecipeError, match="'nothing', which is unknown"):
        _short(tmp_path / "other", 'ablation.rows=["nothing"]', stage="ablation")


def test_minutes_of_an_ablation_are_shared_by_what_rows_train() -> None:
    recipe = load_recipe("ablation")
    stage = recipe.stage
    pair = stage.analysis.share + stage.synthesis.share
    costs = {row.folder: row.cost(recipe) for row in ROWS}
    assert sum(costs.values()) + pair == pytest.approx(total_cost(recipe, list(ROWS)))
    names = {row.name: row for row in ROWS}
    whole = pair + stage.joint.share
    assert names["scale-optimised"].cost(recipe) == pytest.approx(3 * whole)
    assert names["random start"].cost(recipe) == pytest.approx(whole)
    assert names["before joint training"].cost(recipe) == 0
    both = [names["before joint training"], names["after joint training"]]
    assert total_cost(recipe, both) == pytest.approx(whole)


def test_expert_learns_one_kernel(tmp_path: Path) -> None:
    few = ["stage.expert.steps=2", "stage.expert.crop=32", "stage.expert.validation_images=2"]
    _short(tmp_path, *few, stage="expert")
    assert read_weights(tmp_path / "expert" / "synthesis.safetensors").kind == "synthesis"


def test_command_shows_its_options_without_torch() -> None:
    assert CliRunner().invoke(app, ["--help"]).exit_code == 0
    code = (
        "import sys; from napari_deblur.training import cli; "
        "assert not {'torch', 'lightning'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_command_reports_bad_input_in_one_line_with_code_2(tmp_path: Path) -> None:
    command = ["-m", "napari_deblur.training", "analysis", "--out", str(tmp_path / "out")]
    process = subprocess.run(
        [sys.executable, *command, "--set", "data.cats=1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 2
    assert process.stderr.startswith("unknown key 'data.cats': allowed are")
    assert process.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
