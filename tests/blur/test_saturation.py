"""Clipped light: found where it is cut off, predicted from what was not, left alone elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_deblur.blur.clipping import clipping_level
from napari_deblur.blur.deconvolution import hyper_laplacian
from napari_deblur.blur.forward import convolve
from napari_deblur.blur.saturation import fill_clipped, is_cut_off
from napari_deblur.errors import InputError


@pytest.fixture(scope="module")
def night() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A dim scene with lamps six times as bright as white: sharp, unclipped blurry, kernel."""
    rng = np.random.default_rng(4)
    sharp = np.kron(rng.random((12, 12)), np.ones((10, 10))).astype(np.float32) * 0.5
    for row, column in ((30, 40), (60, 85), (90, 30), (40, 95)):
        sharp[row : row + 4, column : column + 4] = 6.0
    kernel = np.zeros((11, 11), np.float32)
    kernel[np.arange(2, 9), np.arange(2, 9)] = 1 / 7
    batch = torch.from_numpy(sharp)[None, None]
    weights = torch.from_numpy(kernel)[None]
    return batch, convolve(batch, weights, boundary="replicate"), weights


def _mean_square(values: torch.Tensor) -> float:
    return float(values[..., 12:-12, 12:-12].square().mean())


def test_predictions_come_near_the_light_that_was_cut_off(
    night: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    _, unclipped, kernel = night
    blurry = unclipped.clamp(max=1)
    clipped = unclipped > 1
    filled = fill_clipped(blurry, kernel, clipped)
    assert _mean_square(filled - unclipped) < _mean_square(blurry - unclipped) / 2
    assert torch.equal(filled[~clipped], blurry[~clipped])
    assert (filled >= blurry).all()


def test_the_scene_around_lamps_deconvolves_better_from_a_filled_image(
    night: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    sharp, unclipped, kernel = night
    blurry = unclipped.clamp(max=1)
    filled = fill_clipped(blurry, kernel, unclipped > 1)
    dim = torch.where(sharp <= 1, 1.0, 0.0)
    plain, better = (
        _mean_square((hyper_laplacian(each, kernel) - sharp) * dim) for each in (blurry, filled)
    )
    assert better < plain / 2


def test_lamps_are_cut_off_and_a_white_page_is_not(
    night: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    sharp, unclipped, kernel = night
    assert is_cut_off(unclipped.clamp(max=1), kernel, unclipped >= 1)
    page = torch.where(sharp > 0.2, 1.0, 0.0)
    blurry = convolve(page, kernel, boundary="replicate")
    blurry = (blurry + 0.004 * torch.randn(blurry.shape, generator=torch.manual_seed(0))).clamp(
        0, 1
    )
    assert (blurry >= 0.998).float().mean() > 0.05
    assert not is_cut_off(blurry, kernel, blurry >= 0.998)


def test_without_clipped_pixels_nothing_changes(
    night: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    _, unclipped, kernel = night
    none = torch.zeros_like(unclipped, dtype=torch.bool)
    assert torch.equal(fill_clipped(unclipped, kernel, none), unclipped)
    assert not is_cut_off(unclipped, kernel, none)


def test_an_image_that_is_clipped_everywhere_stays_finite() -> None:
    white = torch.ones(1, 1, 40, 40)
    kernel = torch.full((1, 5, 5), 1 / 25)
    filled = fill_clipped(white, kernel, torch.ones_like(white, dtype=torch.bool))
    torch.testing.assert_close(filled, white, atol=1e-4, rtol=0)


def test_shapes_and_rounds_that_do_not_fit_are_refused() -> None:
    blurry, kernel = torch.ones(1, 1, 40, 40), torch.full((1, 5, 5), 1 / 25)
    with pytest.raises(InputError, match="clipped has shape"):
        fill_clipped(blurry, kernel, torch.ones(1, 1, 40, 39, dtype=torch.bool))
    with pytest.raises(InputError, match="rounds is 0"):
        fill_clipped(blurry, kernel, blurry > 0, rounds=0)


@pytest.mark.parametrize(("white", "dtype"), [(255, np.uint8), (4095, np.uint16), (1.0, float)])
def test_level_lies_just_below_a_plateau_in_any_units(white: float, dtype: type) -> None:
    light = np.random.default_rng(0).normal(0.6, 0.25, (200, 200)).clip(0.0, 1.0)
    values = (light * white).astype(dtype)
    level = clipping_level(values)
    assert 0.99 * white < level < white
    # A normal variable is above 1.6 standard deviations in 5.5 % of all cases.
    assert np.mean(values >= level) == pytest.approx(0.055, abs=0.01)


def test_a_scene_that_fades_out_has_no_level() -> None:
    light = np.random.default_rng(0).normal(0.5, 0.12, (200, 200))
    assert clipping_level(light) == np.inf
    assert clipping_level((light.clip(0, 1) * 255).astype(np.uint8)) == np.inf


def test_some_hot_pixels_are_no_clipped_scene() -> None:
    light = np.random.default_rng(0).normal(0.3, 0.05, (200, 200))
    light.flat[:4] = 1
    assert clipping_level(light) == np.inf


@pytest.mark.parametrize("values", [np.zeros((5, 5)), np.zeros(0), np.full((4, 4), 7, np.uint8)])
def test_a_flat_image_has_no_level(values: np.ndarray) -> None:
    assert clipping_level(values) == np.inf
