"""The learned deconvolution against dense linear algebra and plain loops."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve, correlate

from napari_deblur.blur import forward
from napari_deblur.blur.deconvolution import data_term
from napari_deblur.networks import shrinkage
from napari_deblur.networks.shrinkage import ShrinkageFields

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Image = NDArray[np.float64]

SHAPE = (10, 13)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(3)


@pytest.fixture
def fields() -> ShrinkageFields:
    """Two stages, every parameter off its first value."""
    fields = ShrinkageFields(stages=2, filter_size=3, channels=20).double()
    for parameter in fields.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    for stage in fields.stages:  # made in float32
        stage.basis -= stage.basis.mean(dim=1, keepdim=True)
    return fields


def some_kernel(side: int) -> torch.Tensor:
    kernel = torch.rand(1, side, side, dtype=torch.float64)
    return kernel / kernel.sum()


def matrix_of(apply: Callable[[Image], Image]) -> Image:
    """Write a linear map of small images as a matrix, column by column."""
    columns = [apply(unit.reshape(SHAPE)).ravel() for unit in np.eye(SHAPE[0] * SHAPE[1])]
    return np.stack(columns, axis=1)


def test_a_stage_solves_its_normal_equations(fields: ShrinkageFields) -> None:
    """Oracle: dense matrices of circular correlations, and responses shrunk pixel by pixel."""
    stage = fields.stages[0]
    kernel, sigma = some_kernel(5), torch.tensor([0.02], dtype=torch.float64)
    blurry, estimate = torch.rand(2, 1, 1, *SHAPE, dtype=torch.float64)
    with torch.no_grad():
        found = stage(estimate, data_term(blurry, kernel), sigma, torch.float64)[0, 0].numpy()
        weight = float(stage.weight(sigma))
        bank = (stage.mixture @ stage.get_buffer("basis")).view(-1, 3, 3).numpy()
    expand, bias, contract = (
        each.detach().numpy() for each in (stage.expand, stage.bias, stage.contract)
    )
    image = estimate[0, 0].numpy()
    responses = np.stack([correlate(image, each, mode="wrap") for each in bank])
    hidden = np.maximum(np.einsum("hf,fyx->hyx", expand, responses) + bias[:, None, None], 0)
    wanted = np.einsum("fh,hyx->fyx", contract, hidden)
    blur = matrix_of(lambda x: convolve(x, kernel[0].numpy(), mode="wrap"))
    maps = [matrix_of(lambda x, f=each: correlate(x, f, mode="wrap")) for each in bank]
    left = weight * blur.T @ blur + sum(m.T @ m for m in maps) + 1e-6 * np.eye(len(blur))
    right = weight * blur.T @ blurry.numpy().ravel() + sum(
        m.T @ w.ravel() for m, w in zip(maps, wanted, strict=True)
    )
    expected = np.linalg.solve(left, right).reshape(SHAPE)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9)


def test_filters_do_not_see_the_mean() -> None:
    basis = ShrinkageFields(1, 5, 48).stages[0].get_buffer("basis")
    assert basis.shape == (24, 25)
    torch.testing.assert_close(basis @ basis.T, torch.eye(24))
    torch.testing.assert_close(basis.sum(dim=1), torch.zeros(24), rtol=0, atol=1e-5)


def test_strips_leave_no_trace(fields: ShrinkageFields, monkeypatch: pytest.MonkeyPatch) -> None:
    blurry, kernel = torch.rand(2, 1, 31, 24, dtype=torch.float64), some_kernel(7).expand(2, 7, 7)
    sigma = torch.tensor([0.01, 0.02], dtype=torch.float64)
    whole = fields(blurry, kernel, sigma)[-1]
    whole.sum().backward()
    gradients = [parameter.grad.clone() for parameter in fields.parameters()]
    fields.zero_grad()
    monkeypatch.setattr(shrinkage, "_STRIP", 100)
    strips = fields(blurry, kernel, sigma)[-1]
    strips.sum().backward()
    torch.testing.assert_close(strips, whole, rtol=1e-10, atol=1e-12)
    for parameter, gradient in zip(fields.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-8, atol=1e-10)


def test_in_half_precision_responses_alone_are_rounded() -> None:
    """Bright images, as the mean is what half precision would spoil."""
    fields, kernel = ShrinkageFields(5, 5, 64), some_kernel(9).float()
    scene = 0.8 + 0.1 * torch.rand(1, 1, 12, 12)
    scene = torch.nn.functional.interpolate(scene, scale_factor=8)
    blurry, sigma = forward.convolve(scene, kernel, boundary="valid"), torch.tensor([0.003])
    with torch.no_grad():
        exact = fields(blurry, kernel, sigma)[-1]
        with torch.autocast("cpu", torch.bfloat16):
            rounded = fields(blurry, kernel, sigma)[-1]
    assert rounded.dtype == torch.float32
    assert 0 < float((rounded - exact).abs().max()) < 2e-3


def test_images_of_a_batch_and_channels_do_not_touch_each_other(fields: ShrinkageFields) -> None:
    blurry = torch.rand(2, 3, 20, 18, dtype=torch.float64)
    kernel = torch.cat((some_kernel(5), some_kernel(5)))
    sigma = torch.tensor([0.01, 0.03], dtype=torch.float64)
    together = fields(blurry, kernel, sigma)[-1]
    alone = fields(blurry[1:, 2:], kernel[1:], sigma[1:])[-1]
    torch.testing.assert_close(together[1:, 2:], alone, rtol=1e-9, atol=1e-11)


def test_more_noise_is_followed_less(fields: ShrinkageFields) -> None:
    blurry, kernel = torch.rand(1, 1, 40, 40, dtype=torch.float64), some_kernel(5)
    errors = [
        (forward.convolve(fields(blurry, kernel, sigma)[-1], kernel, boundary="valid") - b)
        .square()
        .mean()
        for b in [blurry[..., 2:-2, 2:-2]]
        for sigma in torch.tensor([[0.001], [0.05]], dtype=torch.float64)
    ]
    assert errors[0] < errors[1]


def test_before_it_has_learned_it_deblurs_already() -> None:
    """It starts as soft thresholding of filter responses, a fair prior for piecewise scenes."""
    scene = torch.zeros(1, 1, 80, 80)
    scene[..., 20:60, 30:50], scene[..., 40:, :25] = 0.8, 0.4
    kernel = some_kernel(9).float()
    blurry = forward.convolve(scene, kernel, boundary="valid")
    sharp = scene[..., 4:-4, 4:-4]
    with torch.no_grad():
        found = ShrinkageFields(5, 5, 64)(blurry, kernel, torch.tensor([0.002]))[-1]
    assert (found - sharp).square().mean() < 0.25 * (blurry - sharp).square().mean()


def test_stages_learn_to_do_better_than_the_solution_that_they_start_from() -> None:
    fields = ShrinkageFields(2, 3, 16)
    scene = (torch.rand(6, 1, 8, 8) > 0.5).float()
    scene = torch.nn.functional.interpolate(scene, scale_factor=6)
    kernel = some_kernel(7).float().expand(6, 7, 7)
    blurry = forward.convolve(scene, kernel, boundary="valid")
    blurry, sharp = blurry + 0.02 * torch.randn_like(blurry), scene[..., 3:-3, 3:-3]
    sigma = torch.full((6,), 0.02)
    optimizer = torch.optim.Adam(fields.parameters(), lr=1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        loss = (fields(blurry, kernel, sigma)[-1] - sharp).square().mean()
        loss.backward()
        optimizer.step()
    first, *_, last = fields(blurry, kernel, sigma)
    assert (last - sharp).square().mean() < 0.7 * (first - sharp).square().mean()
