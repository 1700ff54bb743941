"""Losses and figures, against what they must be by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_deblur.training.figures import (
    flip_invariant_distance,
    image_loss,
    kernel_correlation,
    kernel_distance,
    perturbed_kernels,
    psnr,
)
from napari_deblur.training.recipe_files import load_recipe
from napari_deblur.training.schedules import Schedule
from napari_deblur.training.tasks import blend


@pytest.fixture
def kernels() -> torch.Tensor:
    kernels = torch.rand(3, 9, 9, generator=torch.Generator().manual_seed(0)) ** 4
    kernels[:, :2] = kernels[:, -2:] = kernels[:, :, :2] = kernels[:, :, -2:] = 0
    return kernels / kernels.sum(dim=(1, 2), keepdim=True)


def test_distance_forgives_a_rotation_by_180_degrees_and_only_that(kernels: torch.Tensor) -> None:
    turned = kernels.flip((1, 2))
    assert (kernel_distance(turned, kernels) > 0.1).all()
    assert (flip_invariant_distance(turned, kernels) == 0).all()
    assert (flip_invariant_distance(kernels.flip(1), kernels) > 0.1).all()


def test_correlation_is_1_for_a_shifted_kernel_and_less_otherwise(kernels: torch.Tensor) -> None:
    shifted = torch.roll(kernels, (2, -1), (1, 2))
    torch.testing.assert_close(kernel_correlation(shifted, kernels), torch.ones(3))
    assert (kernel_correlation(kernels.flip(1), kernels) < 0.99).all()


def test_perturbed_kernels_are_smoother_or_uneven_as_asked_and_still_kernels(
    kernels: torch.Tensor,
) -> None:
    blur, noise = np.array([0.0, 0.7, 0.0]), np.array([0.0, 0.0, 0.3])
    result = perturbed_kernels(kernels, blur, noise, np.random.default_rng(0))
    assert torch.equal(result[0], kernels[0])
    spectrum = ndimage.fourier_gaussian(np.fft.fft2(kernels[1], s=(27, 27)), 0.7)
    expected = np.fft.ifft2(spectrum).real[:9, :9].clip(min=0)
    np.testing.assert_allclose(result[1], expected / expected.sum(), atol=1e-4)
    changed = (result[2] / kernels[2])[kernels[2] > 0]
    assert 0.15 < changed.std() / changed.mean() < 0.4
    assert (result[2][kernels[2] == 0] < 1e-6).all()
    torch.testing.assert_close(result.sum(dim=(1, 2)), torch.ones(3))


def test_image_losses_are_means_of_what_they_are_called() -> None:
    sharp, estimate = torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 4)
    estimate[0], estimate[1] = 0.1, 0.01
    assert image_loss("l1", estimate, sharp).item() == pytest.approx(0.055)
    assert image_loss("l2", estimate, sharp).item() == pytest.approx(0.00505)
    assert image_loss("log-mse", estimate, sharp).item() == pytest.approx(
        (np.log(0.01) + np.log(0.0001)) / 2, abs=1e-3
    )
    torch.testing.assert_close(psnr(estimate, sharp), torch.tensor([20.0, 40.0]))


def test_flip_weight_holds_then_falls_to_zero() -> None:
    weights = [blend(progress, 0.2, 0.6) for progress in (0, 0.19, 0.4, 0.6, 1)]
    assert weights == pytest.approx([1, 1, 0.5, 0, 0])
    assert blend(0.0, 0.0, 0.0) == 0


def test_plateau_takes_a_fifth_off_after_five_stale_epochs() -> None:
    recipe = load_recipe("paper", ["stage.analysis.epoch=2"]).stage.analysis
    schedule = Schedule()
    for loss in (1.0, 0.9):
        for _ in range(2):
            schedule.observe(recipe, loss)
    for _ in range(4 * 2):
        schedule.observe(recipe, 0.95)
    assert schedule.rate(recipe, 50, 0.5) == pytest.approx(1e-4)
    for _ in range(2):
        schedule.observe(recipe, 0.95)
    assert schedule.rate(recipe, 50, 0.5) == pytest.approx(0.8e-4)
    assert Schedule.from_dict(schedule.to_dict()) == schedule


def test_cosine_warms_up_and_ends_where_the_run_does() -> None:
    recipe = load_recipe("compact", ["stage.analysis.warmup=10"]).stage.analysis
    peak = recipe.learning_rate
    schedule = Schedule()
    assert schedule.rate(recipe, 4, 0.0) == pytest.approx(peak / 2)
    assert schedule.rate(recipe, 10, 0.0) == pytest.approx(peak)
    assert schedule.rate(recipe, 99, 1.0) == pytest.approx(peak * recipe.final)
