"""What a kernel leaves unexplained: nothing if it is true, the more the smoother it is."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import skimage.data
import torch

from napari_deblur.blur.forward import convolve
from napari_deblur.blur.kernel_bank import KernelSampler
from napari_deblur.blur.misfit import noise_with_misfit
from napari_deblur.blur.noise import estimate_noise


@pytest.fixture(scope="module")
def true() -> torch.Tensor:
    """A kernel (1, 19, 19)."""
    return torch.from_numpy(KernelSampler(19, 19, size=19).sample(np.random.default_rng(5)))[None]


def _blurry(kernel: torch.Tensor, noise: float) -> torch.Tensor:
    sharp = torch.from_numpy(skimage.data.camera()[40:320, 60:340].astype(np.float32) / 255)
    blurry = convolve(sharp[None, None], kernel, boundary="valid")
    generator = torch.Generator().manual_seed(1)
    return blurry + noise * torch.randn(blurry.shape, generator=generator)


def _spoilt(kernel: torch.Tensor, width: float) -> torch.Tensor:
    smooth = scipy.ndimage.gaussian_filter(kernel[0].numpy(), width)
    return torch.from_numpy(smooth / smooth.sum())[None]


@pytest.mark.parametrize("noise", [0.003, 0.01, 0.03])
def test_a_true_kernel_leaves_noise_as_it_is(true: torch.Tensor, noise: float) -> None:
    blurry = _blurry(true, noise)
    told = estimate_noise(blurry)
    torch.testing.assert_close(noise_with_misfit(blurry, true, told), told)


def test_noise_is_raised_the_more_a_kernel_is_too_smooth(true: torch.Tensor) -> None:
    blurry = _blurry(true, 0.0005)
    told = estimate_noise(blurry)
    raised = [
        float(noise_with_misfit(blurry, kernel, told))
        for kernel in (true, _spoilt(true, 0.5), _spoilt(true, 1), _spoilt(true, 2))
    ]
    assert raised == sorted(raised)
    assert raised[0] < 0.002
    assert raised[-1] > 0.005


def test_some_lamps_do_not_pass_for_an_error_of_the_kernel(true: torch.Tensor) -> None:
    blurry = _blurry(true, 0.001)
    told = estimate_noise(blurry)
    lamps = blurry.clone()
    lamps[..., 100:106, 90:96] = 1
    lamps[..., 180:184, 200:210] = 1
    plain = float(noise_with_misfit(blurry, true, told))
    assert float(noise_with_misfit(lamps, true, told)) < 2 * plain
