"""The synthesis network: sizes, guidance, front ends and unrolled iterations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from napari_deblur.blur.deconvolution import hyper_laplacian
from napari_deblur.blur.forward import convolve
from napari_deblur.blur.noise import estimate_noise
from napari_deblur.errors import InputError, KernelError
from napari_deblur.networks.config import FrontEnd, SynthesisConfig
from napari_deblur.networks.frontend import candidates, pull_to_data
from napari_deblur.networks.guides import KernelGuide
from napari_deblur.networks.presets import PRESETS
from napari_deblur.networks.synthesis import SynthesisNetwork

TINY = PRESETS["tiny"].synthesis
PLAIN = replace(TINY, front_end="none", noise_input=False)


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def some_kernels(count: int, side: int) -> Tensor:
    kernels = torch.rand(count, side, side)
    return kernels / kernels.sum(dim=(1, 2), keepdim=True)


def disturb(network: nn.Module) -> None:
    """Move every parameter off its initial value, zeros included."""
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(5)


@pytest.mark.parametrize("front_end", get_args(FrontEnd))
@pytest.mark.parametrize(("height", "width", "side"), [(16, 16, 15), (33, 47, 5), (20, 17, 1)])
def test_any_size_comes_back_as_it_was(front_end: Any, height: int, width: int, side: int) -> None:
    network = SynthesisNetwork(replace(TINY, front_end=front_end))
    disturb(network)
    result = network(torch.rand(2, 1, height, width), some_kernels(2, side))
    assert result.shape == (2, 1, height, width)
    assert result.dtype == torch.float32
    assert result.isfinite().all()


def test_padding_does_not_shift_the_image() -> None:
    """The far part of a larger image does not change the near corner's result much."""
    network = SynthesisNetwork(replace(PLAIN, channels=(4, 4)))
    image, kernel = torch.rand(1, 1, 41, 41), some_kernels(1, 5)
    whole = network(torch.nn.functional.pad(image, (0, 1, 0, 1), mode="reflect"), kernel)
    torch.testing.assert_close(network(image, kernel), whole[..., :41, :41])


@pytest.mark.parametrize("front_end", [each for each in get_args(FrontEnd) if each != "none"])
def test_untrained_it_equals_the_best_deconvolution(front_end: Any) -> None:
    network = SynthesisNetwork(replace(TINY, front_end=front_end))
    blurry, kernel = torch.rand(2, 1, 40, 37), some_kernels(2, 7)
    sigma = torch.tensor([0.01, 0.02])
    best = network.deconvolve(blurry, kernel, sigma)[0]
    torch.testing.assert_close(network(blurry, kernel, sigma), best, rtol=0, atol=0)


def test_a_learned_deconvolution_has_no_formula() -> None:
    with pytest.raises(InputError, match="'shrinkage-fields' is learned"):
        candidates("shrinkage-fields", torch.rand(1, 1, 8, 8), some_kernels(1, 3), torch.ones(1))


def test_the_hyper_laplacian_weight_falls_with_the_noise() -> None:
    blurry, kernel = torch.rand(2, 1, 40, 37), some_kernels(2, 7)
    sigma = torch.tensor([0.01, 0.02])
    (result,) = candidates("hyper-laplacian", blurry, kernel, sigma)
    expected = hyper_laplacian(blurry, kernel, torch.tensor([2000.0, 500.0]))
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)


# ------------------------------------------------------------------ guidance


@pytest.mark.parametrize(
    ("guidance", "terms"), [("additive", 1), ("multiplicative", 1), ("both", 2)]
)
def test_guides_have_the_terms_that_they_are_asked_for(guidance: Any, terms: int) -> None:
    config = replace(PLAIN, guidance=guidance)
    guide = KernelGuide(config, 6)
    disturb(guide)
    ((multiplier, bias),) = guide(some_kernels(3, 15))
    assert (multiplier is not None) == (guidance != "additive")
    assert (bias is not None) == (guidance != "multiplicative")
    for term in (multiplier, bias):
        assert term is None or term.shape == (3, 6)
    hidden = config.guide_channels
    expected = (15 * 15 * hidden + hidden) + (hidden * hidden + hidden)
    assert parameters(guide) == expected + (hidden + 1) * 6 * terms


def test_ablations_differ_by_their_guides_alone() -> None:
    sizes = {
        guidance: parameters(SynthesisNetwork(replace(PLAIN, guidance=guidance)))
        for guidance in ("none", "additive", "multiplicative", "both")
    }
    layers, channels, hidden = 5, 8, 8
    term = layers * (hidden + 1) * channels
    trunk = layers * ((15 * 15 + 1) * hidden + (hidden + 1) * hidden)
    assert sizes["additive"] == sizes["multiplicative"] == sizes["none"] + trunk + term
    assert sizes["both"] == sizes["none"] + trunk + 2 * term


def test_multipliers_start_at_one_and_biases_at_zero() -> None:
    """A fresh guided network does what the same network without guides does."""
    guided = SynthesisNetwork(PLAIN)
    bare = SynthesisNetwork(replace(PLAIN, guidance="none"))
    bare.load_state_dict(guided.state_dict(), strict=False)
    blurry, kernel = torch.rand(1, 1, 32, 32), some_kernels(1, 9)
    torch.testing.assert_close(guided(blurry, kernel), bare(blurry, kernel))


@pytest.mark.parametrize("guidance", ["additive", "multiplicative", "both", "none"])
def test_only_a_guided_network_sees_the_kernel(guidance: Any) -> None:
    network = SynthesisNetwork(replace(PLAIN, guidance=guidance))
    disturb(network)
    blurry = torch.rand(1, 1, 24, 24)
    one, other = (network(blurry, some_kernels(1, 15)) for _ in range(2))
    assert torch.equal(one, other) == (guidance == "none")


def test_modulation_is_equation_one() -> None:
    """A block of one convolution equals relu(conv(x) (1 + m(k)) + b(k)), in float64."""
    network = SynthesisNetwork(PLAIN).double()
    disturb(network)
    block = network.unet.encode[0]
    maps, kernel = torch.rand(2, 1, 9, 9).double(), some_kernels(2, 15).double()
    ((multiplier, bias),) = block.guide(kernel)
    r = block.convolutions[0](maps)
    expected = (r * (1 + multiplier[:, :, None, None]) + bias[:, :, None, None]).relu()
    torch.testing.assert_close(block(maps, kernel), expected)


def test_a_smaller_kernel_equals_the_same_kernel_padded_with_zeros() -> None:
    network = SynthesisNetwork(PLAIN)
    disturb(network)
    blurry, kernel = torch.rand(1, 1, 24, 24), some_kernels(1, 7)
    padded = torch.nn.functional.pad(kernel, (4, 4, 4, 4))
    torch.testing.assert_close(network(blurry, kernel), network(blurry, padded))


# ------------------------------------------------------------------ the paper's network


def test_paper_has_the_parameters_that_its_text_implies() -> None:
    conv = 128 * 128 * 9 + 128
    first, last = 3 * 128 * 9 + 128, 128 * 3 * 9 + 3
    encoder = first + 2 * conv + 4 * (conv + 3 * conv)  # strided convolution, then a block
    decoder = 4 * ((128 * 128 * 25 + 128) + conv + (256 * 128 + 128) + 3 * conv)
    guide = (85 * 85 * 128 + 128) + (128 * 128 + 128) + (128 * 256 + 256)
    network = SynthesisNetwork(PRESETS["paper"].synthesis)
    assert parameters(network) == encoder + decoder + 9 * guide + last
    with torch.inference_mode():
        result = network(torch.rand(1, 3, 20, 35), some_kernels(1, 85))
    assert result.shape == (1, 3, 20, 35)
    assert 0.01 < float(result.std()) < 10  # activations neither vanish nor explode


# ------------------------------------------------------------------ iterations


def dense_data_step(blurry: Tensor, prior: Tensor, kernel: Tensor, weight: float) -> Tensor:
    """Solve the normal equations of weight |k * x - b|² + |x - z|² on a torus, as a matrix."""
    height, width = blurry.shape
    side = kernel.shape[0]
    matrix = torch.zeros(height * width, height * width, dtype=torch.float64)
    for row in range(height):
        for column in range(width):
            for i in range(side):
                for j in range(side):
                    x = (row - i + side // 2) % height
                    y = (column - j + side // 2) % width
                    matrix[row * width + column, x * width + y] += kernel[i, j]
    normal = weight * matrix.T @ matrix + torch.eye(height * width, dtype=torch.float64)
    right = weight * matrix.T @ blurry.flatten() + prior.flatten()
    return torch.linalg.solve(normal, right).view(height, width)


def test_the_data_step_solves_its_normal_equations() -> None:
    """In an image whose unexplained part vanishes near the borders, where boundaries differ."""
    kernel = some_kernels(1, 3).double()
    scene = torch.zeros(1, 1, 17, 18, dtype=torch.float64)
    scene[..., 6:11, 6:12] = torch.rand(5, 6).double()
    blurry = convolve(scene, kernel, boundary="replicate")
    prior = torch.zeros_like(scene)
    sigma, strength = torch.tensor([0.1], dtype=torch.float64), torch.tensor(0.02).double()
    result = pull_to_data(prior, blurry, kernel, sigma, strength)
    expected = dense_data_step(blurry[0, 0], prior[0, 0], kernel[0], 2.0)
    torch.testing.assert_close(result[0, 0], expected, rtol=0, atol=2e-3)


def test_the_data_step_explains_more_of_the_blurry_image_up_to_its_borders() -> None:
    kernel = torch.zeros(1, 5, 5)
    kernel[0, 2] = torch.tensor([0.1, 0.2, 0.4, 0.2, 0.1])
    blurry = convolve(torch.rand(1, 1, 40, 40), kernel, boundary="replicate")

    def unexplained(image: Tensor) -> Tensor:
        return (blurry - convolve(image, kernel, boundary="replicate")).square()

    before = unexplained(blurry)
    after = unexplained(
        pull_to_data(blurry, blurry, kernel, torch.tensor([0.01]), torch.tensor(1e-3))
    )
    assert after[..., 4:-4, 4:-4].mean() < 0.5 * before[..., 4:-4, 4:-4].mean()
    for border in (after[..., :4], after[..., -4:]):
        assert border.mean() < 0.7 * before.mean()


def test_iterations_share_the_network_and_learn_a_strength_each() -> None:
    once, thrice = SynthesisNetwork(TINY), SynthesisNetwork(replace(TINY, iterations=3))
    assert parameters(thrice) == parameters(once) + 2
    disturb(thrice)
    thrice(torch.rand(1, 1, 24, 24), some_kernels(1, 5)).square().mean().backward()
    for name, parameter in thrice.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert all(strength.grad.abs() > 0 for strength in thrice.log_strengths)


# ------------------------------------------------------------------ precision, noise, errors


@pytest.mark.parametrize("iterations", [1, 2])
def test_bf16_autocast_leaves_the_transforms_in_float32(iterations: int) -> None:
    network = SynthesisNetwork(replace(TINY, iterations=iterations))  # untrained: transforms only
    blurry, kernel = torch.rand(1, 1, 30, 30), some_kernels(1, 7)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = network(blurry, kernel)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, network(blurry, kernel))


@pytest.mark.parametrize("sigma", [0.005, 0.03])
def test_the_noise_of_a_smooth_image_is_found(sigma: float) -> None:
    ramp = torch.linspace(0, 1, 200)[None, None, None].expand(2, 1, 150, 200)
    estimated = estimate_noise(ramp + sigma * torch.randn(2, 1, 150, 200))
    torch.testing.assert_close(estimated, torch.full((2,), sigma), rtol=0.05, atol=0)


def test_the_noise_level_is_an_input_where_it_is_switched_on() -> None:
    blurry, kernel = torch.rand(1, 1, 24, 24), some_kernels(1, 5)
    for noise_input in (False, True):
        network = SynthesisNetwork(replace(PLAIN, noise_input=noise_input))
        low, high = (network(blurry, kernel, torch.tensor([s])) for s in (0.01, 0.05))
        assert torch.equal(low, high) != noise_input


def test_a_step_of_training_lowers_the_loss() -> None:
    network = SynthesisNetwork(TINY)
    kernel = some_kernels(2, 7)
    sharp = nn.functional.interpolate(torch.rand(2, 1, 8, 8), size=(48, 48))
    blurry = convolve(sharp, kernel, boundary="replicate")
    blurry = blurry + 0.02 * torch.randn_like(blurry)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    losses = []
    for _ in range(25):
        optimiser.zero_grad()
        loss = (network(blurry, kernel, torch.full((2,), 0.02)) - sharp).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


def test_wrong_shapes_are_named() -> None:
    network = SynthesisNetwork(TINY)
    with pytest.raises(InputError, match=r"\(1, 3, 20, 20\).*\(B, 1, H, W\)"):
        network(torch.rand(1, 3, 20, 20), some_kernels(1, 5))
    for kernel in (some_kernels(1, 17), some_kernels(1, 4), some_kernels(2, 5), torch.rand(5, 5)):
        with pytest.raises(KernelError, match="at most 15 px"):
            network(torch.rand(1, 1, 20, 20), kernel)


def test_the_configuration_is_kept() -> None:
    config = SynthesisConfig.from_dict(TINY.to_dict())
    assert SynthesisNetwork(config).config == TINY
