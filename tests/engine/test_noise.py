"""What the synthesis network is told of the noise: as given, or as measured with the kernel."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import skimage.data
import torch

from napari_deblur.blur.field import KernelField
from napari_deblur.blur.kernel import delta_kernel
from napari_deblur.engine.noise import noise_levels, noise_windows
from napari_deblur.engine.options import Options
from napari_deblur.engine.pair import load_pair
from napari_deblur.engine.simulate import shake


def _levels(
    image: np.ndarray, kernels: np.ndarray | KernelField, noise: float | None
) -> np.ndarray:
    pair = load_pair("default", torch.device("cpu"))
    return noise_levels(pair, Options().open(image), kernels, noise)


@pytest.fixture(scope="module")
def shaken() -> tuple[np.ndarray, np.ndarray]:
    """An RGB image in 0 to 255 with noise of 0.01, and its kernel."""
    blurry, kernel = shake(skimage.data.astronaut()[:300, :340], size=15, seed=2, noise=0.01)
    return blurry, kernel


def test_noise_that_is_given_is_taken_in_the_unit_of_the_array(
    shaken: tuple[np.ndarray, np.ndarray],
) -> None:
    np.testing.assert_allclose(_levels(*shaken, 2.55), [0.01] * 3, rtol=1e-5)


def test_noise_of_every_channel_is_measured_with_the_true_kernel(
    shaken: tuple[np.ndarray, np.ndarray],
) -> None:
    np.testing.assert_allclose(_levels(*shaken, None), [0.01] * 3, rtol=0.15)


def _smooth(kernel: np.ndarray) -> np.ndarray:
    smooth = scipy.ndimage.gaussian_filter(kernel, 2)
    return np.asarray(smooth / smooth.sum(), np.float32)


def test_a_kernel_that_is_too_smooth_raises_it_for_all_channels() -> None:
    image, kernel = shake(skimage.data.astronaut()[:300, :340], size=15, seed=2, noise=0.002)
    assert (_levels(image, _smooth(kernel), None) > 1.5 * _levels(image, kernel, None)).all()


def test_empty_channels_have_no_noise_whatever_the_others_have() -> None:
    for seed in range(6):
        blurry, kernel = shake(
            skimage.data.camera()[:200, :200], size=15, seed=seed, noise=0.003 * (seed + 1)
        )
        image = np.stack([blurry, 0 * blurry, 0 * blurry], axis=2)
        levels = _levels(image, kernel, None)
        assert np.isfinite(levels).all()
        assert levels[0] >= levels[1] >= 0


def test_a_field_is_judged_with_the_kernels_of_its_places() -> None:
    sharp = np.tile(skimage.data.camera()[:512, :512], (1, 2))
    left, kernel = shake(sharp, size=15, seed=2, noise=0.001)
    right, smooth = shake(sharp, kernel=_smooth(kernel), seed=5, noise=0.001)
    image = np.concatenate([left[:, :512], right[:, 512:]], axis=1)
    fitting = KernelField(np.stack([kernel, smooth])[None], (512, 1024))
    swapped = KernelField(np.stack([smooth, kernel])[None], (512, 1024))
    assert float(_levels(image, swapped, None)[0]) > 1.5 * float(_levels(image, fitting, None)[0])


def test_an_image_that_is_hardly_larger_than_the_kernel_is_measured_alone() -> None:
    image = skimage.data.camera()[:20, :24]
    wide = delta_kernel(15) * 0 + 1 / 225
    plain = _levels(image, delta_kernel(3), None)
    np.testing.assert_allclose(_levels(image, wide.astype(np.float32), None), plain)


def test_windows_cover_small_images_and_are_spread_over_large_ones() -> None:
    assert noise_windows((300, 500)) == [(slice(0, 300), slice(0, 500))]
    windows = noise_windows((20_000, 20_000))
    assert len(windows) == 16
    assert windows[0][0].start == windows[0][1].start == 0
    assert windows[-1][0].stop == windows[-1][1].stop == 20_000
