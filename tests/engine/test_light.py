"""Values that are not proportional to light: a gamma curve, and a sensor that saturates."""

from __future__ import annotations

import json

import numpy as np
import pytest
import skimage.data
import torch

import napari_deblur
from napari_deblur.blur.forward import convolve
from napari_deblur.engine.run import deblur_steps, drain

GAMMA = 2.2
INNER = np.s_[12:-12, 12:-12]


def blurred(light, kernel):
    """Light (H, W) after the shake."""
    batch = torch.from_numpy(np.asarray(light, np.float32))[None, None]
    return convolve(batch, torch.from_numpy(kernel)[None], boundary="replicate")[0, 0].numpy()


def error(image, truth):
    return float(np.mean((np.float64(image)[INNER] - truth[INNER]) ** 2))


@pytest.fixture(scope="module")
def kernel():
    kernel = np.zeros((11, 11), np.float32)
    kernel[np.arange(1, 10), np.arange(1, 10)[::-1]] = 1 / 9
    return kernel


@pytest.fixture(scope="module")
def photograph():
    """Values of a file, (160, 160) in [0, 1], that went through a gamma curve."""
    return skimage.data.camera()[80:240, 160:320] / 255.0


def test_a_photograph_deblurs_better_in_linear_light(photograph, kernel):
    file = np.clip(blurred(photograph**GAMMA, kernel), 0, 1) ** (1 / GAMMA)
    plain = napari_deblur.deblur(file, kernel, device="cpu")
    linear = napari_deblur.deblur(file, kernel, gamma=GAMMA, device="cpu")
    assert error(linear, photograph) < 0.5 * error(plain, photograph)
    assert linear.min() >= 0
    assert linear.max() <= 1


def test_gamma_of_one_is_none(model, photograph, kernel):
    options = {"model": model, "device": "cpu"}
    image = blurred(photograph, kernel)
    np.testing.assert_array_equal(
        napari_deblur.deblur(image, kernel, gamma=1, **options),
        napari_deblur.deblur(image, kernel, **options),
    )


def test_lamps_leave_no_rings_where_clipped_pixels_are_predicted(kernel):
    scene = 0.4 * skimage.data.camera()[80:240, 160:320] / 255.0
    for row, column in ((40, 50), (110, 90), (70, 120)):
        scene[row : row + 5, column : column + 5] = 5.0
    image = np.round(255 * np.clip(blurred(scene, kernel), 0, 1)).astype(np.uint8)
    dark = np.where(scene < 1, 1.0, 0.0)
    truth = scene * dark * 255

    def rings(saturation):
        steps = deblur_steps(image, kernel, device="cpu", saturation=saturation)
        return error(drain(steps).image * dark, truth)

    assert rings(None) < 0.5 * rings(np.inf)
    assert rings(255) == rings(None)


def test_settings_say_how_light_was_read_and_are_json(model, photograph, kernel):
    steps = deblur_steps(
        photograph, kernel, model=model, device="cpu", gamma=GAMMA, saturation=np.inf
    )
    settings = json.loads(json.dumps(drain(steps).settings, allow_nan=False))
    assert settings["gamma"] == GAMMA
    assert settings["saturation"] == "off"
