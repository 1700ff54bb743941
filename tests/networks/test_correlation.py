"""Block-wise correlation against the direct sum, full-image transforms, finite differences."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from napari_deblur.errors import InputError
from napari_deblur.networks import blockwise, correlation
from napari_deblur.networks.correlation import (
    CrossCorrelation,
    append_flips,
    correlate,
    standardise,
)


def direct_sum(first: Tensor, second: Tensor, radius: int) -> Tensor:
    """C_ij(s, t) = sum_xy f_i(x - s, y - t) f_j(x, y), term by term, zero outside."""
    height, width = first.shape[-2:]
    shape = (first.shape[0], first.shape[1], second.shape[1], 2 * radius + 1, 2 * radius + 1)
    result = torch.zeros(shape, dtype=first.dtype)
    for s in range(-radius, radius + 1):
        for t in range(-radius, radius + 1):
            for x in range(max(0, s), min(height, height + s)):
                for y in range(max(0, t), min(width, width + t)):
                    product = first[:, :, None, x - s, y - t] * second[:, None, :, x, y]
                    result[..., s + radius, t + radius] += product
    return result


def full_image(first: Tensor, second: Tensor, radius: int) -> Tensor:
    """The formulation of the authors' code: one transform of the whole image per channel."""
    height, width = first.shape[-2:]
    size = (height + max(height, radius + 1), width + max(width, radius + 1))
    product = (
        torch.fft.rfft2(first, s=size).conj()[:, :, None] * torch.fft.rfft2(second, s=size)[:, None]
    )
    lags = torch.fft.irfft2(product, s=size).roll((radius, radius), (-2, -1))
    return lags[..., : 2 * radius + 1, : 2 * radius + 1]


def upper(maps: Tensor) -> Tensor:
    rows, columns = torch.triu_indices(maps.shape[1], maps.shape[1])
    return maps[:, rows, columns]


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(7)


@pytest.mark.parametrize(
    ("shape", "radius", "block"),
    [
        ((2, 3, 13, 17), 3, 5),
        ((1, 2, 9, 8), 2, 1),
        ((2, 2, 5, 7), 9, None),  # lags reach beyond the image
        ((1, 1, 11, 6), 0, 4),
        ((1, 2, 1, 12), 2, None),
    ],
)
def test_equals_the_direct_sum(
    rng: torch.Generator, shape: tuple[int, ...], radius: int, block: int | None
) -> None:
    maps = torch.randn(shape, generator=rng, dtype=torch.float64)
    whitened = standardise(maps)
    expected = upper(direct_sum(whitened, whitened, radius))
    torch.testing.assert_close(CrossCorrelation(radius, block)(maps), expected, rtol=0, atol=1e-13)


def test_two_stacks_equal_the_direct_sum(rng: torch.Generator) -> None:
    first = torch.randn(2, 3, 12, 9, generator=rng, dtype=torch.float64)
    second = torch.randn(2, 2, 12, 9, generator=rng, dtype=torch.float64)
    expected = direct_sum(first, second, 4)
    torch.testing.assert_close(correlate(first, second, 4, 5), expected, rtol=0, atol=1e-12)


def test_float32_equals_the_full_image_transform(rng: torch.Generator) -> None:
    maps = torch.rand(1, 4, 121, 150, generator=rng)
    whitened = standardise(maps.double())
    expected = upper(full_image(whitened, whitened, 10))
    result = CrossCorrelation(10)(maps)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result.double(), expected, rtol=0, atol=2e-6)


def test_the_result_does_not_depend_on_blocks_chunks_or_groups(
    rng: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = torch.randn(3, 3, 40, 33, generator=rng, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(3, 6, 11, 11, generator=rng, dtype=torch.float64)

    def result_and_gradient(block: int | None) -> tuple[Tensor, Tensor]:
        result = CrossCorrelation(5, block)(maps)
        (gradient,) = torch.autograd.grad((result * weights).sum(), maps)
        return result.detach(), gradient

    expected = result_and_gradient(64)
    for block in (None, 3, 10, 17):
        torch.testing.assert_close(result_and_gradient(block), expected, rtol=1e-10, atol=1e-13)
    monkeypatch.setattr(blockwise, "_CHUNK_VALUES", 1)  # one block at a time
    monkeypatch.setattr(correlation, "_GROUP_VALUES", 1)  # one image at a time
    torch.testing.assert_close(result_and_gradient(10), expected, rtol=1e-10, atol=1e-13)


def test_gradients_equal_finite_differences(rng: torch.Generator) -> None:
    first = torch.randn(2, 2, 6, 5, generator=rng, dtype=torch.float64, requires_grad=True)
    second = torch.randn(2, 3, 6, 5, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(CrossCorrelation(2, 3), (first,))
    assert torch.autograd.gradcheck(lambda a, b: correlate(a, b, 3, 2), (first, second))


def test_auto_correlation_at_lag_zero_is_one(rng: torch.Generator) -> None:
    maps = 0.01 * torch.rand(1, 3, 50, 41, generator=rng) + 5
    at_zero = CrossCorrelation(4)(maps)[0, [0, 3, 5], 4, 4]
    torch.testing.assert_close(at_zero, torch.ones(3), rtol=0, atol=1e-4)


def test_a_constant_channel_correlates_to_zero_with_a_finite_gradient() -> None:
    maps = torch.full((1, 2, 20, 20), 0.5, requires_grad=True)
    result = CrossCorrelation(3)(maps)
    result.sum().backward()
    assert result.abs().max() == 0
    assert maps.grad is not None
    assert maps.grad.isfinite().all()


def test_a_shift_shows_at_its_lag() -> None:
    """f_1 lies 2 below and 1 left of f_0, so C_01 peaks at s = 2, t = -1 (paper's sign)."""
    first, second = torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 16)
    first[0, 0, 5, 8] = 1
    second[0, 0, 7, 7] = 1
    lags = correlate(first, second, 3)[0, 0, 0]
    assert divmod(int(lags.argmax()), 7) == (3 + 2, 3 - 1)


def test_flips_are_the_correlations_of_the_rotated_maps(rng: torch.Generator) -> None:
    maps = torch.rand(2, 3, 21, 18, generator=rng, dtype=torch.float64)
    layer = CrossCorrelation(5, 6)
    both = append_flips(layer(maps))
    assert both.shape == (2, 12, 11, 11)
    torch.testing.assert_close(both[:, 6:], layer(maps.flip((-2, -1))), rtol=0, atol=1e-13)


def test_stays_in_float32_under_autocast(rng: torch.Generator) -> None:
    maps = torch.rand(1, 2, 30, 30, generator=rng)
    expected = CrossCorrelation(4)(maps)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = CrossCorrelation(4)(maps)
    torch.testing.assert_close(result, expected, rtol=0, atol=0)
    assert CrossCorrelation(4)(maps.bfloat16()).dtype == torch.float32


def test_the_largest_intermediate_does_not_grow_with_the_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[int] = []
    original = torch.fft.rfft2

    def watched(blocks: Tensor, *args: object, **kwargs: object) -> Tensor:
        spectra = original(blocks, *args, **kwargs)  # type: ignore[arg-type]
        sizes.append(spectra.numel())
        return spectra

    monkeypatch.setattr(torch.fft, "rfft2", watched)
    monkeypatch.setattr(blockwise, "_CHUNK_VALUES", 40_000)
    CrossCorrelation(5, 22)(torch.rand(1, 3, 512, 301))
    assert sum(sizes) > 1_000_000
    assert max(sizes) <= 40_000


@pytest.mark.parametrize(("radius", "block"), [(-1, None), (3, 0)])
def test_names_an_impossible_size(radius: int, block: int | None) -> None:
    with pytest.raises(InputError, match=str(radius if radius < 0 else block)):
        CrossCorrelation(radius, block)


def test_names_stacks_that_do_not_match() -> None:
    with pytest.raises(InputError, match=r"\(1, 1, 8, 8\) and \(1, 1, 8, 9\)"):
        correlate(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 9), 2)
