"""Fields whose kernels are known: what a pixel shows is the sum over its local kernel."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_deblur.blur.camera import (
    CameraPath,
    expose_along,
    expose_depths,
    local_kernel,
    random_path,
)
from napari_deblur.blur.kernel import centroid
from napari_deblur.blur.kernel_bank import defocus, straight_motion
from napari_deblur.errors import InputError, KernelError


@pytest.fixture(scope="module")
def scene():
    return np.random.default_rng(0).random((1, 61, 81))


@pytest.fixture(scope="module")
def path():
    return random_path(np.random.default_rng(3), roll=0.12, shift=5, radius=50)


@pytest.mark.parametrize("pixel", [(30, 40), (18, 20), (44, 58)])
def test_a_pixel_of_a_rolling_cameras_image_is_the_sum_over_its_local_kernel(scene, path, pixel):
    blurry = expose_along(scene, path)
    kernel = local_kernel(path, (pixel[0] - 30, pixel[1] - 40), 27)
    around = scene[0, pixel[0] - 13 : pixel[0] + 14, pixel[1] - 13 : pixel[1] + 14]
    assert blurry[0][pixel] == pytest.approx(float((around * kernel[::-1, ::-1]).sum()), abs=1e-6)


def test_without_a_roll_every_kernel_is_the_same_and_the_blur_a_convolution(scene):
    still = random_path(np.random.default_rng(1), roll=0, shift=6, radius=50)
    kernels = [local_kernel(still, position, 15) for position in ((0, 0), (20, -30))]
    np.testing.assert_allclose(kernels[0], kernels[1], atol=1e-6)
    expected = ndimage.convolve(scene[0], kernels[0].astype(float), mode="nearest")
    np.testing.assert_allclose(expose_along(scene, still)[0], expected, atol=1e-5)


def test_a_roll_moves_a_position_along_a_circle_and_as_far_as_the_angle_says(path):
    assert np.ptp(path.rolls) == pytest.approx(0.12)
    assert np.ptp(path.shifts, axis=0).max() == pytest.approx(5)
    turn = CameraPath(np.array([-0.05, 0.05]), np.zeros((2, 2)))
    kernel = local_kernel(turn, (0.0, 100.0), 31)
    rows, columns = np.nonzero(kernel > 0.05)
    assert np.ptp(rows) == pytest.approx(2 * 100 * np.sin(0.05), abs=1.5)
    assert np.ptp(columns) <= 1
    assert np.abs(centroid(kernel)).max() < 0.2


def test_the_near_part_hides_the_far_one_and_each_has_its_kernel(scene):
    near = np.zeros((61, 81), bool)
    near[:, 40:] = True
    kernels = (straight_motion(9, 0, 11), defocus(2, 11))
    blurry = expose_depths(scene, near, kernels)
    for kernel, columns in zip(kernels, (slice(60, 70), slice(10, 20)), strict=True):
        expected = ndimage.convolve(scene[0], kernel.astype(float), mode="nearest")
        np.testing.assert_allclose(blurry[0, :, columns], expected[:, columns], atol=1e-5)
    constant = np.full((1, 61, 81), 0.4)
    np.testing.assert_allclose(expose_depths(constant, near, kernels), 0.4, atol=1e-5)


def test_what_does_not_fit_is_named():
    with pytest.raises(InputError, match=r"\(3,\).*\(2, 2\)"):
        CameraPath(np.zeros(3), np.zeros((2, 2)))
    with pytest.raises(KernelError, match="at least"):
        local_kernel(CameraPath(np.array([0.2]), np.zeros((1, 2))), (0.0, 100.0), 15)
    with pytest.raises(InputError, match=r"\(61, 81\)"):
        expose_along(np.zeros((61, 81)), CameraPath(np.zeros(1), np.zeros((1, 2))))
