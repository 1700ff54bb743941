"""Measures agree with their definitions and with published values."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal
from numpy.typing import NDArray

from napari_deblur.errors import InputError
from napari_deblur.evaluation import metrics


def wang_ssim(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Wang's formula written out: a 2-D window and 'valid' filtering."""
    axis = np.arange(-5, 6)
    window = np.exp(-(axis[:, None] ** 2 + axis[None, :] ** 2) / (2 * 1.5**2))
    window /= window.sum()

    def mean(image: NDArray[np.float64]) -> NDArray[np.float64]:
        return scipy.signal.correlate2d(image, window, mode="valid")

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mu1, mu2 = mean(first), mean(second)
    var1, var2 = mean(first**2) - mu1**2, mean(second**2) - mu2**2
    covariance = mean(first * second) - mu1 * mu2
    similarity = ((2 * mu1 * mu2 + c1) * (2 * covariance + c2)) / (
        (mu1**2 + mu2**2 + c1) * (var1 + var2 + c2)
    )
    return float(similarity.mean())


def test_psnr_of_a_known_error() -> None:
    sharp = np.zeros((4, 5))
    assert metrics.psnr(sharp + 5.1, sharp) == pytest.approx(20 * math.log10(50))
    assert metrics.psnr(sharp, sharp) == math.inf


def test_ssim_equals_wangs_formula() -> None:
    rng = np.random.default_rng(2)
    sharp = scipy.signal.convolve2d(rng.uniform(0, 255, (60, 47)), np.ones((3, 3)) / 9, "valid")
    estimate = np.clip(sharp + rng.normal(0, 12, sharp.shape), 0, 255)
    expected = wang_ssim(estimate, sharp)
    assert 0.2 < expected < 0.95
    assert metrics.ssim(estimate, sharp, downsample=False) == pytest.approx(expected, abs=1e-9)
    # Below 384 px the automatic factor is one.
    assert metrics.ssim(estimate, sharp, downsample=True) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("side", "factor"), [(383, 1), (384, 2), (640, 3), (900, 4)])
def test_downsampling_is_matlabs(side: int, factor: int) -> None:
    rng = np.random.default_rng(4)
    image = rng.uniform(0, 255, (side, side + 7))
    small = metrics.downsample_for_ssim(image)
    assert small.shape == (-(-side // factor), -(-(side + 7) // factor))
    # imfilter's origin is floor((f + 1) / 2), counted from one; borders are mirrored.
    before = (factor + 1) // 2 - 1
    mirrored = np.pad(image, factor, mode="symmetric")
    for row, column in [(0, 0), (3, 5), (small.shape[0] - 1, small.shape[1] - 1)]:
        top = row * factor - before + factor
        left = column * factor - before + factor
        expected = mirrored[top : top + factor, left : left + factor].mean()
        assert small[row, column] == pytest.approx(expected)


def test_ssim_refuses_what_its_window_does_not_fit() -> None:
    with pytest.raises(InputError, match="11 px"):
        metrics.ssim(np.zeros((10, 30)), np.zeros((10, 30)), downsample=False)


@pytest.mark.parametrize(
    ("rgb", "luma"),
    # rgb2ycbcr of the pure colours as MATLAB's documentation and BT.601 give them, before
    # rounding to uint8 (16, 235, 81, 145, 41).
    [
        ((0, 0, 0), 16.0),
        ((255, 255, 255), 235.0),
        ((255, 0, 0), 81.481),
        ((0, 255, 0), 144.553),
        ((0, 0, 255), 40.966),
    ],
)
def test_luma_is_that_of_matlabs_rgb2ycbcr(rgb: tuple[int, int, int], luma: float) -> None:
    image = np.array(rgb, dtype=np.float64).reshape(3, 1, 1)
    assert metrics.luma_ycbcr(image)[0, 0] == pytest.approx(luma, abs=1e-9)


def test_luma_of_grey_is_the_image_itself() -> None:
    grey = np.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(metrics.luma_ycbcr(grey), grey)
    np.testing.assert_array_equal(metrics.luma_ycbcr(grey[None]), grey)
    with pytest.raises(InputError):
        metrics.luma_ycbcr(np.zeros((4, 3, 3)))


def test_error_ratio() -> None:
    assert metrics.error_ratio(6.0, 2.0) == 3.0
    assert metrics.error_ratio(0.0, 0.0) == 1.0
    assert metrics.error_ratio(1.0, 0.0) == math.inf


def test_kernel_similarity_ignores_shift_scale_and_padding_but_not_shape() -> None:
    rng = np.random.default_rng(6)
    kernel = rng.uniform(0, 1, (7, 7))
    moved = np.zeros((15, 15))
    moved[6:13, 2:9] = 3 * kernel
    assert metrics.kernel_similarity(moved, kernel) == pytest.approx(1.0)
    line, other = np.eye(9), np.eye(9)[::-1]
    assert metrics.kernel_similarity(line, other) == pytest.approx(1 / 9)
    with pytest.raises(InputError):
        metrics.kernel_similarity(np.zeros((3, 3)), kernel)
