"""The folded U-Net is the plain one, number for number."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from napari_deblur.networks.config import Guidance, SynthesisConfig
from napari_deblur.networks.fold import fold
from napari_deblur.networks.frontend import count_candidates
from napari_deblur.networks.presets import PRESETS
from napari_deblur.networks.unet import GuidedUNet

TINY = PRESETS["tiny"].synthesis


def make_unet(config: SynthesisConfig, entering: int, seed: int = 0) -> GuidedUNet:
    """A U-Net in float64 with guides and biases that have something to say."""
    torch.manual_seed(seed)
    unet = GuidedUNet(config, entering).double().eval()
    with torch.no_grad():
        for layer in unet.modules():
            if isinstance(layer, nn.Linear):
                layer.weight.normal_(std=layer.in_features**-0.5)
                layer.bias.normal_(std=0.3)
            elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                layer.bias.normal_(std=0.1)
    return unet


def make_kernel(side: int) -> Tensor:
    kernel = torch.rand(side, side, dtype=torch.float64) ** 8
    return kernel / kernel.sum()


def compare(config: SynthesisConfig, entering: int, size: tuple[int, int], batch: int = 1) -> None:
    unet, kernel = make_unet(config, entering), make_kernel(config.kernel_size)
    image = torch.rand(batch, entering, *size, dtype=torch.float64)
    with torch.inference_mode():
        expected = unet(image, kernel.expand(batch, -1, -1))
        folded = fold(unet, kernel)(image)
    assert float(expected.abs().max()) > 1e-3
    torch.testing.assert_close(folded, expected, rtol=0, atol=1e-10)


def entering(config: SynthesisConfig) -> int:
    images = 1 + count_candidates(config.front_end)
    return images * config.image_channels + config.noise_input


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_folds_to_the_same_numbers_in_float64(name: str) -> None:
    config = PRESETS[name].synthesis
    side = 2**config.downsamplings
    compare(config, entering(config), (2 * side, 3 * side))


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("guidance", get_args(Guidance))
@pytest.mark.parametrize("guided", [1, 3])
def test_every_guidance_folds(guidance: Guidance, guided: int, residual: bool) -> None:
    config = replace(
        TINY,
        channels=(6, 8, 10),
        guidance=guidance,
        block_convolutions=3,
        guided_convolutions=guided,
        residual_blocks=residual,
    )
    compare(config, 4, (16, 20), batch=2)


def test_a_network_of_one_level_and_a_residual_first_block_fold() -> None:
    compare(replace(TINY, channels=(5,), residual_blocks=True), 5, (7, 9), batch=3)


def test_images_of_a_single_coarsest_pixel_fold() -> None:
    compare(replace(TINY, channels=(4, 4, 4, 4)), 2, (8, 8))


def test_the_network_and_the_image_stay_as_they_were() -> None:
    config = replace(TINY, channels=(5, 6), residual_blocks=True, block_convolutions=2)
    unet, kernel = make_unet(config, 5), make_kernel(config.kernel_size)
    before = {name: values.clone() for name, values in unet.state_dict().items()}
    image = torch.rand(1, 5, 8, 8, dtype=torch.float64)
    kept = image.clone()
    fold(unet, kernel)(image)
    assert torch.equal(image, kept)
    for name, values in unet.state_dict().items():
        assert torch.equal(values, before[name]), name


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)], ids=str
)
def test_lower_precision_stays_close_to_float64(dtype: torch.dtype, tolerance: float) -> None:
    config = PRESETS["compact"].synthesis
    unet, kernel = make_unet(config, entering(config)), make_kernel(config.kernel_size)
    image = torch.rand(1, entering(config), 32, 40, dtype=torch.float64)
    exact = fold(unet, kernel)(image)
    rounded = fold(unet, kernel, dtype)(image)
    assert rounded.dtype == dtype
    error = (rounded.double() - exact).square().mean().sqrt() / exact.square().mean().sqrt()
    assert float(error) < tolerance
