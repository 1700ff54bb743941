"""What ``model="auto"`` chooses: by the kernel, by its size, by the classifier, or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch

from napari_deblur.engine import auto, run
from napari_deblur.engine.options import Options
from napari_deblur.engine.region import find_region
from napari_deblur.engine.sizes import SizePlan
from napari_deblur.networks.classifier import BlurSizeClassifier
from napari_deblur.networks.config import AnalysisConfig, ClassifierConfig
from napari_deblur.weights import registry as known
from napari_deblur.weights.entries import ModelEntry, Registry
from napari_deblur.weights.files import save_weights
from napari_deblur.weights.registry import find_weights, registry

CONFIG = ClassifierConfig(
    analysis=AnalysisConfig(
        kernel_size=7,
        radius=4,
        levels=1,
        learned_channels=0,
        fixed_features=("horizontal", "vertical"),
        decoder_channels=4,
    ),
    shrink=4,
)
CPU = torch.device("cpu")


@pytest.fixture
def frames() -> list:
    """One picture and all of it as region."""
    picture = Options().open(skimage.data.camera()[:180, :200])
    return [(picture, find_region(None, picture.layout.size))]


def _install(
    monkeypatch: pytest.MonkeyPatch, folder: Path, logits: list[float] | None, own: bool
) -> None:
    """Make a registry with a classifier that always gives `logits`, and a pair for 32 to 61 px."""
    first = next(iter(registry().models.values()))
    files = {name: each for name, each in registry().files.items() if each.kind != "classifier"}
    models = {first.name: first}
    if logits is not None:
        network = BlurSizeClassifier(CONFIG)
        torch.nn.init.zeros_(network.last.weight)
        network.last.bias.data = torch.tensor(logits, dtype=torch.float32)
        path = folder / "classifier.safetensors"
        save_weights(path, network, "classifier", CONFIG, {})
        files[path.name] = find_weights(path)
    if own:
        models["medium"] = ModelEntry(
            "medium", first.analysis, first.synthesis, first.kernel_size, "", (32, 61)
        )
    made = Registry(files, models, first.name)
    monkeypatch.setattr(known, "registry", lambda: made)


@pytest.mark.parametrize(
    ("logits", "order"),
    [
        ([9, 0, 0], "both"),
        ([2, 0, 1], "both"),
        ([0, 0.5, 0.5], "both"),
        ([0, 9, 0], "largest"),
        ([0, 1.2, 1.2], "largest"),
    ],
)
def test_auto_leaves_small_kernels_out_only_where_the_classifier_is_sure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, frames: list, logits: list[float], order: str
) -> None:
    _install(monkeypatch, tmp_path, logits, own=False)
    choice = auto.choose(Options(model="auto"), frames, CPU)
    assert choice.plan == SizePlan((31, 61, 85), order)
    assert choice.model == "default"
    assert sum(choice.chances) == pytest.approx(1)


def test_the_pair_of_the_class_is_taken_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, frames: list
) -> None:
    _install(monkeypatch, tmp_path, [0, 3, 0], own=True)
    assert auto.choose(Options(model="auto"), frames, CPU).model == "medium"
    kernel = np.zeros((45, 45), np.float32)
    kernel[22] = 1
    assert auto.choose(Options(model="auto"), frames, CPU, kernel).model == "medium"
    assert auto.choose(Options(model="auto", kernel_size=33), frames, CPU).model == "medium"
    assert auto.choose(Options(model="auto", kernel_size=31), frames, CPU).model == "default"


def test_an_image_is_deblurred_by_the_pair_of_its_kernel_s_class(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, frames: list
) -> None:
    _install(monkeypatch, tmp_path, [9, 0, 0], own=True)
    wide, small = np.zeros((45, 45), np.float32), np.zeros((45, 45), np.float32)
    wide[22] = small[22, 20:25] = 1
    for model in ("default", "auto"):
        assert auto.model_for(model, wide) == "medium"
        assert auto.model_for(model, small) == "default"
        assert auto.choose(Options(model=model), frames, CPU, wide) == auto.Choice("medium")
    assert auto.model_for("compact-85", small) == "compact-85"


def test_without_a_classifier_every_size_is_tried(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, frames: list
) -> None:
    _install(monkeypatch, tmp_path, None, own=True)
    choice = auto.choose(Options(model="auto"), frames, CPU)
    assert choice == auto.Choice("default", SizePlan((31, 61, 85), "both"))
    assert auto.choose(Options(model="medium"), frames, CPU) == auto.Choice("medium")
    assert auto.choose(Options(), frames, CPU) == auto.Choice("default")


@pytest.mark.parametrize(
    ("logits", "order"),
    [
        ([9, 0, 0], "doubt"),
        ([3, 0.5, 0], "doubt"),
        ([2, 1, 0], "suspect"),
        ([1, 1, -1], "both"),
        ([0, 3, 0], "largest"),
        ([0, 0, 9], "largest"),
    ],
)
def test_the_default_model_looks_for_larger_kernels_as_far_as_they_are_likely(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    frames: list,
    logits: list[float],
    order: str,
) -> None:
    _install(monkeypatch, tmp_path, logits, own=True)
    choice = auto.choose(Options(), frames, CPU)
    assert choice.model == "default"
    assert choice.plan == SizePlan((31, 61, 85), order)
    for told in (Options(kernel_size=45), Options(refine=0), Options(model="medium")):
        assert auto.choose(told, frames, CPU) == auto.Choice(told.model)


def test_kernels_of_half_an_image_are_not_looked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _install(monkeypatch, tmp_path, [0, 1, 0.9], own=False)
    picture = Options().open(skimage.data.camera()[:130, :200])
    frames = [(picture, find_region(None, picture.layout.size))]
    for model in ("auto", "default"):
        assert auto.choose(Options(model=model), frames, CPU).plan.sizes == (31, 61)
    small = [(picture, find_region((slice(0, 40), slice(0, 40)), picture.layout.size))]
    assert auto.choose(Options(), small, CPU).plan.sizes == (31,)


def test_a_run_begins_with_the_size_of_the_class(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _install(monkeypatch, tmp_path, [0, 3, 0], own=False)
    image = skimage.data.camera()[100:260, 200:360]
    found = run.drain(run.kernel_steps(image, model="auto", refine=0))
    assert found.kernel.shape == (61, 61)
    assert found.settings["size_chances"][1] > 0.8
    cells = run.drain(run.kernel_grid_steps(image, grid=(1, 1), model="auto", refine=0))
    assert cells.settings["size_chances"] == found.settings["size_chances"]


def test_shrinking_multiplies_what_the_lags_reach() -> None:
    assert CONFIG.kernel_size == 4 * 6 + 1
    network = BlurSizeClassifier(CONFIG).eval()
    image = torch.rand(1, 1, 64, 80)
    blocks = image.reshape(1, 1, 16, 4, 20, 4).mean(dim=(3, 5))
    small = BlurSizeClassifier(ClassifierConfig(analysis=CONFIG.analysis)).eval()
    small.load_state_dict(network.state_dict())
    torch.testing.assert_close(network(image), small(blocks))
