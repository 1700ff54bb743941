"""Batches are the forward model of the paper, and depend on the seed and the index alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d

from napari_deblur.errors import InputError
from napari_deblur.training.batches import BatchMaker, KernelBank, to_luma
from napari_deblur.training.exposure import draw_cameras, photograph
from napari_deblur.training.feed import batches_from
from napari_deblur.training.kernel_bank import make_bank, order_bank
from napari_deblur.training.procedural import PROCEDURAL, procedural_images
from napari_deblur.training.recipe import DataRecipe, KernelRecipe, SensorRecipe
from napari_deblur.training.store import ImageStore

CPU = torch.device("cpu")
KERNELS = KernelRecipe(smallest=5, largest=9, count=32)


def _maker(**changes: object) -> BatchMaker:
    rng = np.random.default_rng(0)
    images = [("photographs", rng.integers(0, 255, (60, 50, 3), np.uint8)) for _ in range(3)]
    bank = KernelBank.gather([make_bank(order_bank(KERNELS, 9, seed=3))], CPU)
    maker = BatchMaker(
        store=ImageStore.gather(images),
        bank=bank,
        data=DataRecipe(),
        sensor=SensorRecipe(noise=(0, 0)),
        batch=4,
        crop=24,
        view="rgb",
        seed=7,
        stream="analysis",
    )
    return dataclasses.replace(maker, **changes)  # type: ignore[arg-type]


def test_blurry_is_the_true_convolution_of_sharp_and_kernel() -> None:
    batch = _maker().make(0)
    for sharp, blurry, kernel in zip(batch.sharp, batch.blurry, batch.kernel, strict=True):
        for before, after in zip(sharp.numpy(), blurry.numpy(), strict=True):
            expected = convolve2d(before.astype(float), kernel.numpy(), "valid")
            np.testing.assert_allclose(after[4:-4, 4:-4], expected, atol=2e-6)


def test_batch_depends_on_seed_stream_index_and_rank_alone() -> None:
    maker = _maker(sensor=SensorRecipe(noise=(0.01, 0.02), saturated=0.5, shot=0.5))
    with batches_from(maker.make, 5, workers=2) as feed:
        ahead = [next(feed) for _ in range(3)]
    for index, batch in enumerate(ahead):
        again = maker.make(5 + index)
        assert torch.equal(batch.blurry, again.blurry)
        assert torch.equal(batch.kernel, again.kernel)
    first = maker.make(5)
    for other in (
        maker.make(6),
        maker.make(5, rank=1),
        dataclasses.replace(maker, seed=8).make(5),
        dataclasses.replace(maker, stream="joint").make(5),
    ):
        assert not torch.equal(first.blurry, other.blurry)


@pytest.mark.parametrize(("view", "channels"), [("luma", 1), ("channel", 1), ("rgb", 3)])
@pytest.mark.parametrize("colour", [0.0, 1.0])
def test_view_decides_the_channels(view: str, channels: int, colour: float) -> None:
    batch = _maker(view=view, data=DataRecipe(colour=colour)).make(0)
    assert batch.sharp.shape == batch.blurry.shape == (4, channels, 24, 24)
    assert batch.kernel.shape == (4, 9, 9)
    torch.testing.assert_close(batch.kernel.sum(dim=(1, 2)), torch.ones(4))


def test_given_kernels_are_the_true_ones_unless_perturbed() -> None:
    exact, spoilt = _maker().make(0), _maker(perturbed=1.0).make(0)
    assert torch.equal(exact.given, exact.kernel)
    assert torch.equal(spoilt.kernel, exact.kernel)
    distance = (spoilt.given - spoilt.kernel).abs().sum(dim=(1, 2))
    assert (distance > 1e-3).all()
    torch.testing.assert_close(spoilt.given.sum(dim=(1, 2)), torch.ones(4))


def test_noise_is_what_sigma_says() -> None:
    rng, sharp = np.random.default_rng(0), torch.full((6, 1, 128, 128), 0.5)
    cameras = draw_cameras(SensorRecipe(noise=(0.001, 0.05), shot=0.5), 6, rng, CPU)
    delta = torch.zeros(6, 3, 3)
    delta[:, 1, 1] = 1
    truth, blurry, sigma = photograph(sharp, delta, cameras, torch.Generator().manual_seed(0))
    measured = (blurry - truth).flatten(1).std(dim=1)
    torch.testing.assert_close(measured, sigma, rtol=0.03, atol=1e-6)


def test_saturated_and_rounded_images_stay_in_range() -> None:
    sensor = SensorRecipe(noise=(0.01, 0.01), saturated=1, gain=(2, 3), quantised=1)
    batch = _maker(sensor=sensor).make(0)
    assert (batch.blurry.min() >= 0) & (batch.blurry.max() <= 1)
    assert (batch.sharp == 1).float().mean() > 0.2
    levels = batch.blurry * 255
    torch.testing.assert_close(levels, levels.round(), atol=1e-4, rtol=0)


def test_crop_larger_than_every_image_is_said() -> None:
    with pytest.raises(InputError, match="at least 68 pixels"):
        _maker(crop=60).make(0)


def test_luma_is_rec_601() -> None:
    primaries = torch.eye(3)[..., None, None]
    torch.testing.assert_close(to_luma(primaries).flatten(), torch.tensor([0.299, 0.587, 0.114]))


def test_bank_is_the_same_from_any_number_of_workers_and_from_its_file(tmp_path: object) -> None:
    order = order_bank(dataclasses.replace(KERNELS, count=600), 9, seed=1)
    alone = make_bank(order)
    assert alone.shape == (600, 9, 9)
    np.testing.assert_array_equal(make_bank(order, workers=2), alone)
    np.testing.assert_array_equal(make_bank(order, tmp_path), alone)  # type: ignore[arg-type]
    np.testing.assert_array_equal(make_bank(order, tmp_path), alone)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", sorted(PROCEDURAL))
def test_procedural_images_are_repeatable_sharp_and_not_flat(kind: str) -> None:
    (_, first), (_, second) = procedural_images([kind], 2, 96, seed=4, workers=1)
    assert (first.shape, first.dtype) == ((96, 96, 3), np.uint8)
    assert not np.array_equal(first, second)
    again = procedural_images([kind], 2, 96, seed=4, workers=1)[1][1]
    np.testing.assert_array_equal(again, second)
    assert first.std() > 4
