import dataclasses

import pytest
import torch

from napari_deblur.networks.presets import PRESETS
from napari_deblur.networks.synthesis import SynthesisNetwork
from napari_deblur.training.recipe_files import load_recipe
from napari_deblur.training.regimen import window_of
from napari_deblur.training.transfer import first_weights, widen_guides


@pytest.fixture
def small():
    torch.manual_seed(0)
    network = SynthesisNetwork(dataclasses.replace(PRESETS["tiny"].synthesis, kernel_size=9))
    for parameter in network.parameters():  # the last layers start at zero, which would hide all
        torch.nn.init.normal_(parameter, std=0.1)
    return network


def test_a_network_for_larger_kernels_starts_as_the_smaller_one(small):
    large = SynthesisNetwork(dataclasses.replace(small.config, kernel_size=21))
    large.load_state_dict(widen_guides(small.state_dict(), large))
    blurry, kernel = torch.rand(2, 1, 32, 40), torch.rand(2, 9, 9)
    kernel /= kernel.sum(dim=(1, 2), keepdim=True)
    sigma = torch.tensor([0.01, 0.02])
    torch.testing.assert_close(
        large(blurry, kernel, sigma), small(blurry, kernel, sigma), rtol=1e-4, atol=1e-5
    )


def test_weights_of_the_same_size_stay_as_they_are(small):
    widened = widen_guides(small.state_dict(), small)
    assert all(torch.equal(widened[name], tensor) for name, tensor in small.state_dict().items())


def test_weights_for_larger_kernels_are_not_cut_to_smaller_ones(small):
    smaller = SynthesisNetwork(dataclasses.replace(small.config, kernel_size=5))
    with pytest.raises(RuntimeError, match="size mismatch"):
        smaller.load_state_dict(widen_guides(small.state_dict(), smaller))


def test_a_learned_front_end_starts_untouched_by_the_u_net_of_another(small):
    learned = SynthesisNetwork(dataclasses.replace(small.config, front_end="shrinkage-fields"))
    config = dataclasses.replace(small.config, front_end="hyper-laplacian-pair")
    other = SynthesisNetwork(config)  # the U-Net gets as many images
    torch.nn.init.normal_(other.unet.last.weight)
    learned.load_state_dict(first_weights(other.state_dict(), learned))
    blurry, kernel = torch.rand(1, 1, 32, 40), torch.full((1, 3, 3), 1 / 9)
    sigma = torch.tensor([0.01])
    alone = learned.deconvolve(blurry, kernel, sigma)[0]
    torch.testing.assert_close(learned(blurry, kernel, sigma), alone, rtol=0, atol=0)
    torch.testing.assert_close(learned.unet.encode.state_dict(), other.unet.encode.state_dict())


def test_a_learned_front_end_comes_along(small):
    config = dataclasses.replace(small.config, front_end="shrinkage-fields")
    first, second = SynthesisNetwork(config), SynthesisNetwork(config)
    weights = first_weights(first.state_dict(), second)
    assert all(torch.equal(weights[name], each) for name, each in first.state_dict().items())


def test_sharp_windows_leave_room_for_the_kernels_of_the_stage_s_own_network():
    recipe = load_recipe("general")
    sides = {"deconvolution": 85, "synthesis": 85, "analysis": 31, "joint": 31}
    for stage, side in sides.items():
        assert window_of(recipe, stage) == getattr(recipe.stage, stage).crop + side - 1
