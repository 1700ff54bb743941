"""The stage `correction`: samples of found kernels, and a network that learns to put them right."""

from __future__ import annotations

import csv
import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_deblur.blur.curves import random_curves
from napari_deblur.blur.evidence import EVIDENCE
from napari_deblur.blur.forward import convolve
from napari_deblur.blur.likeness import kernel_likeness
from napari_deblur.errors import RecipeError
from napari_deblur.training import corrections
from napari_deblur.training.batches import BatchMaker, KernelBank
from napari_deblur.training.checkpoints import latest_checkpoint
from napari_deblur.training.corrections import (
    CorrectionSamples,
    SampleOrder,
    make_samples,
)
from napari_deblur.training.evidence_batches import (
    EvidenceBatch,
    EvidenceMaker,
    HeldOutEvidence,
    held_out_counts,
)
from napari_deblur.training.figures import spectral_error
from napari_deblur.training.fit import Fit, Outcome, fit
from napari_deblur.training.models import build_network, network_configs
from napari_deblur.training.recipe import MachineRecipe, SensorRecipe
from napari_deblur.training.recipe_files import load_recipe
from napari_deblur.training.regimen import train_stage
from napari_deblur.training.session import launch
from napari_deblur.training.spoiling import SampleTask, Spoiling, take_sample
from napari_deblur.training.store import ImageStore
from napari_deblur.training.tasks import CorrectionTask
from napari_deblur.weights.files import open_network, read_weights

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SIZE = 9
SPOILING = Spoiling(near=0.25, bent=1.2, smoothed=2.0, wide=False)
CPU = torch.device("cpu")


def _order(*, seed: int = 3, varying: float = 0.5) -> SampleOrder:
    """Rectangles blurred with curves."""
    rng = np.random.default_rng(0)
    image = np.full((80, 80, 3), 128, np.uint8)
    for _ in range(60):
        top, left = rng.integers(0, 70, 2)
        image[top : top + 14, left : left + 12] = rng.integers(10, 245, 3)
    kernels = random_curves(rng, 12, SIZE)
    peaks = kernels.max(axis=(1, 2), keepdims=True)
    bank = KernelBank.gather([(kernels / peaks).astype(np.float16)], CPU)
    maker = BatchMaker(
        store=ImageStore.gather([("photographs", image)]),
        bank=bank,
        data=load_recipe("tiny", ["data.photographs=1"]).stage.correction.data,
        sensor=SensorRecipe(noise=(0.001, 0.002)),
        batch=1,
        crop=48,
        view="luma",
        seed=seed,
        stream="correction",
    )
    return SampleOrder(maker, varying, 0.6, SPOILING, SIZE, "rectangles")


def test_image_and_kernel_of_a_task_belong_together() -> None:
    order = _order(varying=0.0)
    order = dataclasses.replace(
        order, maker=dataclasses.replace(order.maker, sensor=SensorRecipe(noiseless=1.0))
    )
    batch, task = order.maker.make(2), order.task(2)
    margin = SIZE // 2
    again = convolve(batch.sharp, torch.from_numpy(task.kernel)[None], boundary="valid")[0, 0]
    np.testing.assert_allclose(task.blurry[margin:-margin, margin:-margin], again, atol=1e-5)


def test_varying_blur_goes_from_one_kernel_to_the_bent_one() -> None:
    order = _order(varying=1.0)
    first, task = order.maker.make(1), order.task(1)
    last = dataclasses.replace(order.maker, bank=order.bent).make(1)
    np.testing.assert_allclose(task.kernel, (first.kernel + last.kernel)[0] / 2, atol=1e-6)
    one, other = first.blurry[0, 0].numpy(), last.blurry[0, 0].numpy()
    differ = np.abs(other - one) > 0.01
    share = (task.blurry - one)[differ] / (other - one)[differ]
    assert share.min() > -0.01
    assert share.max() < 1.01
    assert share.min() < 0.3
    assert share.max() > 0.7


def test_a_task_gives_the_same_sample_again_and_a_truth_in_the_found_kernels_place() -> None:
    task = _order().task(0)
    first, again = take_sample(task), take_sample(task)
    assert first is not None
    assert again is not None
    np.testing.assert_array_equal(first.evidence, again.evidence)
    np.testing.assert_array_equal(first.truth, again.truth)
    assert first.evidence.shape == (EVIDENCE, SIZE, SIZE)
    assert first.truth.sum() == pytest.approx(1)
    found = first.evidence[0].astype(np.float64)
    found /= found.sum()
    norms = np.linalg.norm(found) * np.linalg.norm(first.truth)
    in_place = float((found * first.truth).sum() / norms)
    assert in_place == pytest.approx(kernel_likeness(found, first.truth), abs=0.01)
    assert in_place > 0.75


def test_an_image_that_tells_nothing_gives_no_sample() -> None:
    flat = np.full((48, 48), 0.5, np.float32)
    rng = np.random.default_rng(1)
    task = SampleTask(flat, random_curves(rng, 1, SIZE)[0], (0, 0), SPOILING)
    assert all(
        take_sample(dataclasses.replace(task, chance=(i, 0), spoiling=far)) is None
        for i in range(2)
        for far in [dataclasses.replace(SPOILING, near=0.0)]
    )


def test_samples_are_kept_by_portions_and_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corrections, "_PORTION", 3)
    taken: list[SampleTask] = []

    def take(task: SampleTask) -> object:
        taken.append(task)
        return take_sample(task)

    monkeypatch.setattr(corrections, "take_sample", take)
    first = make_samples(_order(), 4, tmp_path, silent=True)
    made = len(taken)
    assert len(first) == 4
    assert first.size == SIZE
    again = make_samples(_order(), 4, tmp_path, silent=True)
    assert len(taken) == made
    assert torch.equal(first.evidence, again.evidence)
    assert torch.equal(first.truth, again.truth)

    # Cut off, a portion is made anew; the others stay.
    (folder,) = tmp_path.iterdir()
    path = min(folder.iterdir())
    path.write_bytes(path.read_bytes()[:500])
    again = make_samples(_order(), 4, tmp_path, silent=True)
    assert len(taken) == made + 3
    assert torch.equal(first.evidence, again.evidence)

    # Another seed is another order.
    assert _order(seed=4).fingerprint() != _order().fingerprint()
    assert _order(varying=0.4).fingerprint() != _order().fingerprint()


def test_a_recipe_whose_kernels_are_all_lost_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corrections, "take_sample", lambda task: None)
    with pytest.raises(RecipeError, match=r"kernels of 9 pixels were lost: enlarge stage"):
        make_samples(_order(), 2, tmp_path, silent=True)


def test_spectral_error_is_the_weighted_mean_over_frequencies() -> None:
    rng = np.random.default_rng(0)
    kernel, estimate = rng.random((2, 5, 5))
    kernel, estimate = kernel / kernel.sum(), estimate / estimate.sum()
    error = power = 0.0
    for row in np.fft.fftfreq(12):
        for column in np.fft.rfftfreq(12):
            y, x = np.mgrid[:5, :5]
            wave = np.exp(-2j * np.pi * (row * y + column * x))
            weight = 1 / (row**2 + column**2 + 1 / 144)
            wrong = abs(((estimate - kernel) * wave).sum()) ** 2
            error += weight * wrong / (abs((kernel * wave).sum()) ** 2 + 3e-3)
            power += weight
    batch = [torch.from_numpy(each)[None].float() for each in (estimate, kernel)]
    assert float(spectral_error(*batch)) == pytest.approx(error / power, rel=1e-4)
    assert float(spectral_error(batch[1], batch[1])) == 0


def _spoilt_samples(seed: int, count: int, side: int) -> CorrectionSamples:
    """Kernels that were smoothed, and what is missing of them as the third map."""
    rng = np.random.default_rng(seed)
    truth = torch.from_numpy(random_curves(rng, count, side))
    box = torch.full((1, 3, 3), 1 / 9)
    found = convolve(truth[:, None], box.expand(count, 3, 3), boundary="replicate")[:, 0]
    evidence = torch.zeros(count, EVIDENCE, side, side)
    peak = found.amax(dim=(1, 2), keepdim=True)
    evidence[:, 0], evidence[:, 2] = found / peak, (truth - found) / peak
    return CorrectionSamples(evidence.half(), truth)


def _fit(folder: Path, *, steps: int = 60, **changes: object) -> Outcome:
    folder.mkdir(exist_ok=True)
    recipe = dataclasses.replace(
        load_recipe("tiny").stage.correction,
        **{"steps": 60, "checkpoint_every": 20, "validate_every": 60, "log_every": 10, **changes},
    )
    machine = MachineRecipe(accelerator="cpu", precision="32-true")
    network = build_network(network_configs(load_recipe("tiny").model).correction, 0)
    held_out = HeldOutEvidence(tuple(_spoilt_samples(9, 8, side) for side in (9, 15)), 8)
    maker = EvidenceMaker(
        tuple(_spoilt_samples(1, 40, side) for side in (9, 15)), recipe.batch, 5, "correction"
    )

    def make(index: int) -> EvidenceBatch:
        if index >= steps:
            raise KeyboardInterrupt
        return maker.make(index)

    task = CorrectionTask(network, recipe.l1)
    order = Fit(
        "correction",
        task,
        recipe,
        dataclasses.replace(machine, workers=0),
        folder,
        "f",
        make,
        held_out.make,
    )
    return fit(launch(machine), order, latest_checkpoint(folder))


def test_corrected_kernels_are_better_than_found_ones_and_a_resumed_run_is_the_same(
    tmp_path: Path,
) -> None:
    whole = _fit(tmp_path / "whole")
    figures = whole.figures
    assert figures["spectral error"] < figures["spectral error found"] - 1
    assert figures["kernel L1"] < 0.9 * figures["kernel L1 found"]
    with (tmp_path / "whole" / "training.csv").open(encoding="utf-8") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert losses[-1] < losses[0]
    assert any((tmp_path / "whole" / "pictures").iterdir())

    with pytest.raises(KeyboardInterrupt):
        _fit(tmp_path / "parts", steps=50)
    resumed = _fit(tmp_path / "parts")
    expected = whole.module.state_dict()
    for name, weights in resumed.module.state_dict().items():
        assert torch.equal(weights, expected[name]), name


def test_batches_are_of_one_size_each_and_smaller_for_larger_kernels() -> None:
    maker = EvidenceMaker(tuple(_spoilt_samples(1, 5, s) for s in (9, 15)), 10, 0, "correction")
    batches = [maker.make(index) for index in range(12)]
    assert {(len(batch), batch.kernel.shape[-1]) for batch in batches} == {(10, 9), (6, 15)}
    for batch in batches:
        assert batch.evidence.dtype == batch.kernel.dtype == torch.float32
        torch.testing.assert_close(batch.found.sum(dim=(1, 2)), torch.ones(len(batch)))
        # Evidence and truth are turned alike: the third map is what is missing.
        peak = batch.found.amax(dim=(1, 2), keepdim=True)
        torch.testing.assert_close(
            batch.found + batch.evidence[:, 2] * peak, batch.kernel, atol=1e-3, rtol=0
        )
    assert not torch.equal(maker.make(0, rank=1).kernel, batches[0].kernel)
    torch.testing.assert_close(maker.make(3).evidence, batches[3].evidence, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("classes", "images", "batch", "counts"),
    [(2, 16, 8, [8, 8]), (2, 17, 8, [16, 8]), (3, 8, 8, [8, 0, 0]), (1, 5, 8, [8])],
)
def test_held_out_samples_fill_the_batches_that_are_measured(
    classes: int, images: int, batch: int, counts: list[int]
) -> None:
    assert held_out_counts(classes, images, batch) == counts
    filled: Iterable[CorrectionSamples] = (
        _spoilt_samples(i, n, 9) for i, n in enumerate(counts) if n
    )
    maker = HeldOutEvidence(tuple(filled), batch)
    assert [len(maker.make(index)) for index in range(-(-images // batch))] == [batch] * (
        sum(counts) // batch
    )


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("samples=[5]", "samples = [5] is impossible: it must hold a value for each of the 2"),
        ("crops=[48, 64, 80]", "crops = [48, 64, 80] is impossible: it must hold a value for"),
        ("crops=[48, 20]", "crops = [48, 20] is impossible: 20 must be >= 30, twice the side"),
        ("samples=[0, 5]", "stage.correction.samples = 0 is impossible: it must be >= 1"),
        ("near=1.5", "stage.correction.near = 1.5 is impossible: it must be in [0, 1]"),
        ("spoilt=3", "unknown key 'stage.correction.spoilt': allowed are batch"),
    ],
)
def test_impossible_recipe_is_named(setting: str, named: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("tiny", [f"stage.correction.{setting}"])
    assert named in str(caught.value).replace("bad_steps, ", "")


def test_stage_leaves_weights_that_open_and_makes_its_samples_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corrections, "_PORTION", 3)
    settings = [
        "data.procedural_images=2",
        "stage.correction.samples=[2, 2]",
        "stage.correction.steps=4",
        "stage.correction.batch=2",
        "stage.correction.validation_images=2",
        "stage.correction.kernels.count=16",
    ]

    def train(out: Path, *more: str) -> None:
        recipe = load_recipe("tiny", [*settings, *more])
        train_stage(
            "correction", recipe, data=[], validation=[], out=out, minutes=None, resume=False
        )

    with pytest.raises(RecipeError, match=r"model\.correction\.evidence = 3 is impossible"):
        train(tmp_path, "model.correction.evidence=3")
    train(tmp_path)
    path = tmp_path / "correction" / "correction.safetensors"
    network = open_network(path)
    file = read_weights(path)
    assert (file.kind, file.config["kernel_size"]) == ("correction", 15)
    assert file.provenance["stage"] == "correction"
    assert file.provenance["recipe"]["stage"]["correction"]["samples"] == [2, 2]
    maps = torch.rand(1, EVIDENCE, 31, 31)
    torch.testing.assert_close(network(maps).sum(), torch.tensor(1.0))

    kept = sorted((tmp_path / "corrections").rglob("*.npz"))
    before = [each.stat().st_mtime_ns for each in kept]
    path.unlink()
    (tmp_path / "correction").rename(tmp_path / "old")
    train(tmp_path)
    assert [each.stat().st_mtime_ns for each in kept] == before
    again = read_weights(path).tensors
    assert all(torch.equal(again[name], weights) for name, weights in file.tensors.items())
