"""Edges-only deconvolution and the choice of gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_deblur.blur.boundaries import crop_padding, pad_for_deconvolution
from napari_deblur.blur.deconvolution import data_term, gradient_data_step
from napari_deblur.blur.edges import (
    differences,
    sparse_edges,
    strongest_gradients,
    strongest_of_all,
)
from napari_deblur.blur.forward import convolve
from napari_deblur.errors import InputError


def _steps() -> torch.Tensor:
    """A piecewise constant image: what the penalty is made for."""
    image = torch.full((1, 1, 72, 80), 0.2)
    image[..., 20:50, 18:60] = 0.8
    image[..., 30:40, 30:70] = 0.5
    return image


def test_piecewise_constant_image_is_recovered_from_its_blur() -> None:
    kernel = torch.zeros(1, 9, 9)
    kernel[0, 4, 1:8] = 1 / 7
    sharp = _steps()
    blurry = convolve(sharp, kernel, boundary="replicate")

    latent = sparse_edges(blurry, kernel, 4e-4)

    error, before = ((x - sharp).square().mean() for x in (latent, blurry))
    assert error < before / 20


def _step_by_step(blurry: torch.Tensor, kernel: torch.Tensor, sparsity: float) -> torch.Tensor:
    """The splitting as its formula has it."""
    image = pad_for_deconvolution(blurry, kernel)
    term = data_term(image, kernel)
    beta = 2 * sparsity
    while beta < 1e5:
        down, across = torch.roll(image, -1, -2) - image, torch.roll(image, -1, -1) - image
        edge = down.square() + across.square() > sparsity / beta
        image = gradient_data_step(term, down * edge, across * edge, 1 / beta)
        beta *= 2
    return crop_padding(image, (blurry.shape[-2], blurry.shape[-1]), kernel.shape[-1])


@pytest.mark.parametrize("shape", [(1, 1, 41, 64), (2, 3, 30, 25)])
def test_rounds_without_allocations_give_what_the_formula_gives(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(4)
    blurry = torch.from_numpy(rng.random(shape)).cumsum(-1) % 1
    kernel = torch.from_numpy(rng.random((shape[0], 7, 7)))
    kernel /= kernel.sum(dim=(1, 2), keepdim=True)
    before = blurry.clone()
    latent = sparse_edges(blurry, kernel, 2e-3)
    torch.testing.assert_close(latent, _step_by_step(blurry, kernel, 2e-3), rtol=0, atol=1e-11)
    torch.testing.assert_close(blurry, before, rtol=0, atol=0)


def test_a_larger_penalty_leaves_fewer_edges() -> None:
    rng = np.random.default_rng(0)
    noisy = _steps() + 0.05 * torch.from_numpy(rng.standard_normal((1, 1, 72, 80))).float()
    delta = torch.ones(1, 1, 1)
    counts = [
        int((differences(sparse_edges(noisy, delta, sparsity)).abs() > 1e-3).sum())
        for sparsity in (1e-3, 1e-2, 1e-1)
    ]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]


def test_differences_are_the_neighbours_below_and_right_minus_the_pixel() -> None:
    image = torch.arange(12.0).square().view(1, 1, 3, 4)
    down, across = differences(image)[0]
    torch.testing.assert_close(down, image[0, 0, 1:, :-1] - image[0, 0, :-1, :-1])
    torch.testing.assert_close(across, image[0, 0, :-1, 1:] - image[0, 0, :-1, :-1])


@pytest.mark.parametrize("share", [0.05, 0.3, 1.0])
def test_the_given_share_of_gradients_is_kept_and_the_strongest_of_them(share: float) -> None:
    image = torch.rand(2, 1, 41, 51, generator=torch.Generator().manual_seed(1))
    kept = strongest_gradients(image, share)
    strength = differences(image).square().sum(dim=1)
    chosen = kept.abs().sum(dim=1) > 0
    assert abs(float(chosen.float().mean()) - share) < 1e-3
    if share < 1:
        for each, mask in zip(strength, chosen, strict=True):
            assert each[mask].min() > each[~mask].max()


def test_a_flat_image_keeps_no_gradient() -> None:
    assert not strongest_gradients(torch.full((1, 1, 20, 20), 0.5), 0.2).any()


def test_impossible_parameters_are_refused_with_what_is_allowed() -> None:
    image = torch.rand(1, 1, 20, 20)
    with pytest.raises(InputError, match="sparsity is 0"):
        sparse_edges(image, torch.ones(1, 1, 1), 0)
    for share in (0.0, 1.5):
        with pytest.raises(InputError, match="at most 1"):
            strongest_gradients(image, share)


def test_gradients_of_several_images_compete_and_flat_ones_lose() -> None:
    rng = np.random.default_rng(3)
    busy, flat = (torch.from_numpy(rng.random((1, 1, 30, 30))) * scale for scale in (1.0, 0.01))
    alone = strongest_gradients(busy, 0.2)
    torch.testing.assert_close(strongest_of_all([busy], 0.2)[0], alone)
    first, second = strongest_of_all([busy, flat], 0.2)
    assert not second.any()
    kept = (first.square().sum(dim=1) > 0).double().mean()
    assert kept == pytest.approx(0.4, abs=0.01)
