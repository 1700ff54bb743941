"""Simulated shake: the forward model on a user's array, with the truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_deblur.blur.kernel import kernel_support
from napari_deblur.engine.simulate import shake
from napari_deblur.errors import InputError, KernelError


def test_the_result_is_the_image_convolved_with_the_kernel_that_is_returned():
    image = np.random.default_rng(0).random((40, 50))
    blurry, kernel = shake(image, size=9, seed=3, noise=0)
    expected = ndimage.convolve(image, kernel.astype(float), mode="nearest")
    assert blurry.dtype == image.dtype
    np.testing.assert_allclose(blurry, expected, atol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 9, 31, 60])
def test_the_kernel_has_the_size_that_was_asked_for(size):
    _, kernel = shake(np.zeros((80, 80), np.uint8), size=size, seed=0)
    assert kernel.shape == (size | 1, size | 1)
    assert kernel_support(kernel, 0) <= size
    assert kernel.sum() == pytest.approx(1, abs=1e-5)


def test_the_same_seed_gives_the_same_shake_and_another_seed_another():
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 4), np.uint8)
    one, two, three = (shake(image, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one[0], two[0])
    np.testing.assert_array_equal(one[1], two[1])
    assert not np.array_equal(one[1], three[1])
    np.testing.assert_array_equal(one[0][..., 3], image[..., 3])


def test_noise_has_the_strength_that_was_asked_for():
    image = np.full((200, 200), 128, np.uint8)
    image[0, 0], image[0, 1] = 0, 255
    blurry, _ = shake(image, size=1, seed=0, noise=0.02)
    assert blurry[20:].std() == pytest.approx(0.02 * 255, rel=0.05)


def test_brightening_saturates_within_the_range():
    image = np.random.default_rng(0).integers(0, 256, (60, 60), np.uint8)
    blurry, _ = shake(image, size=3, seed=0, noise=0, gain=4)
    assert (blurry == 255).mean() > 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [({"size": 0}, "size 0"), ({"size": 9.5}, "size 9.5"), ({"size": 999}, "size 999"),
     ({"noise": -0.1}, "noise -0.1"), ({"noise": np.nan}, "noise nan"),
     ({"gain": 0.5}, "gain 0.5")],
)  # fmt: skip
def test_impossible_parameters_are_named(options, message):
    with pytest.raises(InputError, match=message):
        shake(np.zeros((20, 20)), **options)


def test_a_given_kernel_must_be_one():
    with pytest.raises(KernelError):
        shake(np.zeros((20, 20)), kernel=np.ones((2, 2)))
