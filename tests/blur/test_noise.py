"""The noise level read from shaken images whose noise is known."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import torch

from napari_deblur.blur.forward import convolve
from napari_deblur.blur.kernel_bank import KernelSampler
from napari_deblur.blur.noise import estimate_noise
from napari_deblur.errors import InputError


@pytest.fixture(scope="module")
def shaken() -> torch.Tensor:
    """Noise-free blurry images, (12, 1, H, W)."""
    pictures = [skimage.data.camera(), skimage.data.coins(), skimage.data.brick()]
    sharp = np.stack([picture[40:240, 60:260] for picture in pictures for _ in range(4)])
    kernels = KernelSampler(9, 31, size=31).sample_many(np.random.default_rng(0), 12)
    images = torch.from_numpy(sharp.astype(np.float32) / 255)[:, None]
    return convolve(images, torch.from_numpy(kernels), boundary="replicate")


@pytest.mark.parametrize("sigma", [0.005, 0.01, 0.02])
def test_noise_of_shaken_images_is_found(shaken: torch.Tensor, sigma: float) -> None:
    noise = torch.randn(shaken.shape, generator=torch.Generator().manual_seed(1))
    found = estimate_noise(shaken + sigma * noise)
    assert found.shape == (12,)
    assert float(found.median()) == pytest.approx(sigma, rel=0.04)
    assert (found / sigma - 1).abs().max() < 0.25


def test_noiseless_shaken_images_read_little(shaken: torch.Tensor) -> None:
    found = estimate_noise(shaken)
    assert float(found.median()) < 0.001
    assert float(found.max()) < 0.003


def test_pure_noise_is_read_exactly_and_per_item() -> None:
    levels = torch.tensor([0.0, 0.1, 1.0, 10.0], dtype=torch.float64)
    generator = torch.Generator().manual_seed(2)
    noise = torch.randn(4, 3, 300, 300, dtype=torch.float64, generator=generator)
    found = estimate_noise(levels[:, None, None, None] * noise + 5)
    torch.testing.assert_close(found, levels, rtol=0.01, atol=1e-12)


@pytest.mark.parametrize("shape", [(20, 20), (1, 1, 4, 20), (1, 0, 20, 20)])
def test_images_too_small_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="5x5"):
        estimate_noise(torch.zeros(shape))
