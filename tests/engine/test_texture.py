"""Pure noise is told from everything else, however noisy or dim."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import skimage.data
import torch
from numpy.typing import NDArray
from scipy import ndimage

from napari_deblur.blur.forward import convolve
from napari_deblur.blur.kernel import delta_kernel
from napari_deblur.blur.kernel_bank import camera_shake
from napari_deblur.engine.layout import open_picture
from napari_deblur.engine.region import find_region
from napari_deblur.engine.run import NothingToEstimateWarning, deblur_steps, drain
from napari_deblur.engine.texture import is_white, shows_texture

NOISE: dict[str, Callable[[np.random.Generator, tuple[int, int]], NDArray]] = {
    "of a sensor": lambda rng, shape: rng.normal(0.5, 0.05, shape),
    "even": lambda rng, shape: rng.random(shape),
    "of counted photons": lambda rng, shape: rng.poisson(5, shape),
    "of hardly any photons": lambda rng, shape: rng.poisson(0.1, shape),
    "under a step of the integers": lambda rng, shape: np.rint(rng.normal(128, 0.4, shape)),
}


@pytest.mark.parametrize("shape", [(16, 16), (33, 70), (200, 300)])
@pytest.mark.parametrize("kind", NOISE)
def test_white_noise_is_no_texture(kind: str, shape: tuple[int, int]) -> None:
    values = NOISE[kind](np.random.default_rng(2), shape)
    assert is_white(values.astype(np.float32))


@pytest.mark.parametrize("sigma", [0.0, 0.05, 0.2])
@pytest.mark.parametrize("size", [1, 21, 85])
@pytest.mark.parametrize("name", ["camera", "coins", "moon", "grass", "page"])
def test_a_photograph_is_texture_however_noisy(name: str, size: int, sigma: float) -> None:
    rng = np.random.default_rng(1)
    kernel = torch.from_numpy(camera_shake(rng, size_range=(size, size)))[None]
    sharp = torch.from_numpy(getattr(skimage.data, name)() / np.float32(255))[None, None]
    blurry = convolve(sharp, kernel, boundary="replicate")[0, 0].numpy()
    noisy = blurry + rng.normal(0, sigma, blurry.shape)
    assert not is_white(noisy.astype(np.float32))


@pytest.mark.parametrize("count", [1, 3, 20])
def test_a_few_dim_spots_in_the_noise_are_texture(count: int) -> None:
    """Of three standard deviations of a pixel's noise at their peaks."""
    rng = np.random.default_rng(3)
    scene = np.zeros((256, 256))
    scene[tuple(rng.integers(20, 236, (2, count)))] = 1
    spots = ndimage.gaussian_filter(scene, 2)
    values = 3 * spots / spots.max() + rng.normal(10, 1, scene.shape)
    assert not is_white(values.astype(np.float32))


def test_noise_that_was_blurred_is_texture_and_so_is_what_alternates() -> None:
    noise = np.random.default_rng(4).random((128, 128), np.float32)
    assert not is_white(ndimage.gaussian_filter(noise, 0.5))
    assert not is_white((np.indices((64, 64)).sum(axis=0) % 2).astype(np.float32))


def test_one_window_or_frame_with_texture_is_enough() -> None:
    rng = np.random.default_rng(5)
    noise = rng.integers(0, 256, (600, 600, 3), np.uint8)
    image = noise.copy()
    image[540:590, 540:590] //= 4
    frames = [(open_picture(each), find_region(None, (600, 600))) for each in (noise, image)]
    assert not shows_texture(frames[:1])
    assert shows_texture(frames[1:])
    assert shows_texture(frames)
    elsewhere = find_region((slice(0, 500), slice(0, 500)), (600, 600))
    assert not shows_texture([(frames[1][0], elsewhere)])


@pytest.mark.parametrize("channels", [(), (3,)])
def test_noise_gives_the_kernel_that_changes_nothing_and_says_so(model, channels) -> None:
    image = np.random.default_rng(6).integers(0, 256, (90, 120, *channels), np.uint8)
    with pytest.warns(NothingToEstimateWarning, match="no texture, or noise alone"):
        result = drain(deblur_steps(image, model=model, device="cpu"))
    assert not result.informative
    np.testing.assert_array_equal(result.kernel, delta_kernel(15))
    np.testing.assert_array_equal(result.image, image)
