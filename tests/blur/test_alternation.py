"""One scale of blind deconvolution, on an image whose kernel is known."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import skimage.data
import torch

from napari_deblur.blur.alternation import (
    Schedule,
    alternate,
    alternate_each,
    energies,
    energy,
    resize_kernel,
    straight_start,
)
from napari_deblur.blur.curves import random_curves
from napari_deblur.blur.forward import convolve
from napari_deblur.blur.kernel import kernel_support
from napari_deblur.blur.kernel_bank import KernelSampler


@pytest.fixture(scope="module")
def shaken() -> tuple[torch.Tensor, np.ndarray]:
    """A photograph (1, 1, 160, 160) and the kernel that blurred it."""
    kernel = np.zeros((13, 13), np.float32)
    rows = np.arange(3, 10)
    kernel[rows, 12 - rows] = 1 / 7
    sharp = torch.from_numpy(skimage.data.camera()[60:232, 140:312] / np.float32(255))[None, None]
    return convolve(sharp, torch.from_numpy(kernel)[None], boundary="valid"), kernel


def _similarity(kernel: np.ndarray, truth: np.ndarray) -> float:
    """Normalised correlation at the best shift, which no blind method can know."""
    correlation = scipy.signal.correlate2d(kernel, truth)
    return float(correlation.max() / np.linalg.norm(kernel) / np.linalg.norm(truth))


def test_a_smeared_kernel_gets_nearer_to_the_truth(
    shaken: tuple[torch.Tensor, np.ndarray],
) -> None:
    blurry, truth = shaken
    smeared = resize_kernel(resize_kernel(truth, 0.4, 5), 2.6, 13)
    improved = alternate([blurry], smeared, 4, Schedule(rounds=5))
    assert _similarity(smeared, truth) < 0.75
    assert _similarity(improved, truth) > 0.85
    assert improved.dtype == np.float32
    assert improved.sum() == pytest.approx(1, abs=1e-6)


def test_a_faint_stroke_survives_where_the_last_floor_is_low() -> None:
    truth = np.zeros((13, 13), np.float32)
    truth[6, 2:5] = 1.0
    truth[6, 5:11] = 0.03
    truth /= truth.sum()
    sharp = torch.from_numpy(skimage.data.camera()[60:232, 140:312] / np.float32(255))[None, None]
    blurry = convolve(sharp, torch.from_numpy(truth)[None], boundary="valid")
    schedule = Schedule(rounds=1, sparsity=1e-4)
    cut, whole = (
        alternate([blurry], truth, 0, schedule, last_floor=floor) for floor in (0.05, 0.01)
    )
    assert cut[(cut < 0.04 * cut.max())].sum() == 0
    assert whole[6, 7:11].min() > 0.01 * whole.max()


def test_the_true_kernel_explains_the_image_better_than_a_wrong_one_of_its_kind(
    shaken: tuple[torch.Tensor, np.ndarray],
) -> None:
    blurry, truth = shaken
    turned = np.ascontiguousarray(truth[:, ::-1])
    assert energy([blurry], truth) < 0.8 * energy([blurry], turned)


def test_two_images_count_like_one_twice(shaken: tuple[torch.Tensor, np.ndarray]) -> None:
    blurry, truth = shaken
    schedule = Schedule(rounds=1)
    once = alternate([blurry], truth, 4, schedule)
    twice = alternate([blurry, blurry], truth, 4, schedule)
    np.testing.assert_allclose(twice, once, atol=1e-5)
    assert energy([blurry, blurry], truth) == pytest.approx(energy([blurry], truth))


def test_schedule_falls_to_its_floor_and_lets_in_more_gradients() -> None:
    schedule = Schedule()
    falling = [schedule.sparsity_at(scale, 0) for scale in range(12)]
    assert falling[0] == schedule.sparsity
    assert falling == sorted(falling, reverse=True)
    assert falling[-1] == schedule.smallest_sparsity
    assert schedule.share_at(0) == schedule.shares[0]
    assert schedule.share_at(schedule.rounds - 1) == pytest.approx(schedule.shares[1])


@pytest.mark.parametrize("size", [3, 7, 31])
def test_start_is_two_pixels_in_the_middle(size: int) -> None:
    start = straight_start(size)
    assert start.sum() == 1
    assert kernel_support(start) == 3


@pytest.mark.parametrize("factor", [0.25, 0.7, 1.0, 1.5])
def test_resized_kernel_has_the_factor_in_its_spread(factor: float) -> None:
    kernel = KernelSampler(smallest=15, largest=21, size=31).sample(np.random.default_rng(3))
    resized = resize_kernel(kernel, factor, 63)
    assert resized.shape == (63, 63)
    assert resized.sum() == pytest.approx(1, abs=1e-5)
    assert resized.min() >= 0

    def spread(values: np.ndarray) -> float:
        axis = np.arange(values.shape[0]) - values.shape[0] // 2
        return float(np.sqrt((values.sum(axis=1) * axis**2).sum()))

    assert spread(resized) == pytest.approx(factor * spread(kernel), rel=0.15, abs=0.4)


def test_a_start_may_lie_in_any_direction() -> None:
    start = straight_start(5, (1, -1))
    assert start[2, 2] == start[3, 1] == 0.5
    assert start.sum() == 1


def test_no_blur_at_all_leaves_no_residual_but_more_edges(
    shaken: tuple[torch.Tensor, np.ndarray],
) -> None:
    """Why the residual counts little where dots of kernels are about."""
    blurry, truth = shaken
    dot = straight_start(13)
    whole = [energy([blurry], each) for each in (truth, dot)]
    edges = [energy([blurry], each, residual_weight=0.0) for each in (truth, dot)]
    assert whole[1] - edges[1] < whole[0] - edges[0]
    assert edges[0] < edges[1]


def test_kernels_improved_and_judged_together_are_as_one_by_one() -> None:
    """Two frames of two sizes, one with clipped pixels."""
    rng = np.random.default_rng(0)
    kernels = random_curves(rng, 3, 7)
    sizes = ((1, 1, 40, 50), (1, 1, 30, 30))
    images = [torch.from_numpy(rng.random(size, np.float32)) for size in sizes]
    clipped = [image > 0.95 for image in images]
    schedule = Schedule(rounds=2)
    together = alternate_each(images, kernels, 1, schedule, range(2), clipped=clipped)
    alone = [alternate(images, each, 1, schedule, clipped=clipped) for each in kernels]
    np.testing.assert_allclose(together, np.stack(alone), atol=1e-4)
    costs = energies(images, kernels, clipped=clipped, residual_weight=0.1)
    expected = [energy(images, each, clipped=clipped, residual_weight=0.1) for each in kernels]
    # Rounding may take a gradient across the threshold of an edge.
    np.testing.assert_allclose(costs, expected, rtol=2e-3)
