"""Random kernels: their size, centre and mass; that a seed fixes them; that they differ."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_deblur.blur.kernel import centroid, delta_kernel, kernel_support
from napari_deblur.blur.kernel_bank import (
    SIZE_CLASSES,
    KernelSampler,
    camera_shake,
    defocus,
    gaussian,
    straight_motion,
)
from napari_deblur.errors import KernelError

FAMILIES = ("shake", "straight", "defocused", "gaussian", "curves")


def _only(family: str) -> dict[str, float]:
    return {name: float(name == family) for name in FAMILIES}


def _spread(kernel: np.ndarray) -> tuple[float, float]:
    """Variances along rows and columns."""
    axis = np.arange(len(kernel)) - len(kernel) // 2
    return float(kernel.sum(axis=1) @ axis**2), float(kernel.sum(axis=0) @ axis**2)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("sizes", SIZE_CLASSES)
@settings(max_examples=12)
@given(seed=st.integers(0, 2**32))
def test_every_kernel_is_valid_centred_and_within_its_class(
    family: str, sizes: tuple[int, int], seed: int
) -> None:
    smallest, largest = sizes
    sampler = KernelSampler(smallest, largest, size=largest + 2, **_only(family))
    kernel = sampler.sample(np.random.default_rng(seed))
    assert kernel.shape == (largest + 2, largest + 2)
    assert kernel.dtype == np.float32
    assert kernel.min() >= 0
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    assert max(map(abs, centroid(kernel))) < 0.01
    assert kernel_support(kernel, fraction=0) <= largest
    # What is fainter than a hundredth of the peak may lie outside.
    assert kernel_support(kernel) >= 0.75 * smallest - 2


def test_camera_shake_fills_the_side_that_was_drawn() -> None:
    rng = np.random.default_rng(1)
    for side in (1, 3, 9, 31):
        supports = [
            kernel_support(camera_shake(rng, size_range=(side, side)), fraction=0)
            for _ in range(20)
        ]
        assert max(supports) == side
        assert np.mean(supports) >= side - 0.3  # an end passed in no time may be invisible


def test_sizes_are_spread_over_the_class() -> None:
    kernels = KernelSampler(3, 31, size=31, **_only("shake")).sample_many(
        np.random.default_rng(2), 600
    )
    supports = [kernel_support(kernel, fraction=0) for kernel in kernels]
    counts = np.bincount(supports, minlength=33)[3:33:2]
    assert counts.min() > 15  # 40 each on average
    assert counts.max() < 80


def test_same_seed_same_kernels_other_seed_others() -> None:
    sampler = KernelSampler(5, 21, size=21)
    first, again, other = (
        sampler.sample_many(np.random.default_rng(seed), 40) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max(axis=(1, 2)).min() > 0.001


def test_families_come_as_often_as_asked() -> None:
    discs = KernelSampler(9, 9, size=9, shake=1, straight=0, defocused=3, gaussian=0)
    kernels = discs.sample_many(np.random.default_rng(5), 400)
    symmetric = np.isclose(kernels, kernels[:, ::-1], atol=1e-6).all(axis=(1, 2))
    assert 0.68 < symmetric.mean() < 0.82


def test_shake_is_curved_and_its_speed_varies() -> None:
    """A path of constant speed along a line has neither; most of ours have both."""
    kernels = KernelSampler(31, 31, size=31, **_only("shake")).sample_many(
        np.random.default_rng(6), 200
    )
    axis = np.arange(31) - 15
    row, column = axis[:, None], axis[None, :]
    rr, cc, rc = ((kernels * w).sum(axis=(1, 2)) for w in (row**2, column**2, row * column))
    gap = np.sqrt((rr - cc) ** 2 / 4 + rc**2)
    elongation = ((rr + cc) / 2 - gap) / ((rr + cc) / 2 + gap)
    assert np.quantile(elongation, 0.9) > 0.2  # widely two-dimensional
    assert np.quantile(elongation, 0.1) < 0.05  # nearly straight
    turned = kernels[:, ::-1, ::-1]
    overlap = (kernels * turned).sum(axis=(1, 2)) / (kernels**2).sum(axis=(1, 2))
    assert np.median(overlap) < 0.6  # not symmetric under rotation by 180 degrees


@pytest.mark.parametrize("angle", [0, 30, 45, 90, 120, -60])
def test_straight_motion_has_the_spread_and_direction_of_a_line(angle: float) -> None:
    length = 15.0
    kernel = straight_motion(length, angle, 21)
    axis = np.arange(21) - 10.0
    rows, columns = _spread(kernel)
    # Linear rasterisation adds up to a quarter of a pixel squared in each direction.
    assert rows == pytest.approx(length**2 / 12 * np.sin(np.deg2rad(angle)) ** 2, abs=0.6)
    assert columns == pytest.approx(length**2 / 12 * np.cos(np.deg2rad(angle)) ** 2, abs=0.6)
    mixed = float(axis @ kernel @ axis)
    assert mixed == pytest.approx(-(length**2) / 24 * np.sin(np.deg2rad(2 * angle)), abs=0.5)


@pytest.mark.parametrize("radius", [2.0, 4.3, 10.5])
def test_disc_is_even_and_has_the_spread_of_a_disc(radius: float) -> None:
    kernel = defocus(radius, 21)
    assert _spread(kernel)[0] == pytest.approx(radius**2 / 4 + 1 / 12, rel=0.02, abs=0.1)
    assert kernel[10, 10] == pytest.approx(1 / (np.pi * radius**2), rel=0.02)


def test_tiny_disc_is_one_pixel() -> None:
    np.testing.assert_array_equal(defocus(0, 5), delta_kernel(5))
    np.testing.assert_array_equal(defocus(0.3, 5), delta_kernel(5))


@pytest.mark.parametrize("sigma", [0.7, 1.0, 2.5])
def test_gaussian_has_its_variance_plus_that_of_a_pixel(sigma: float) -> None:
    assert _spread(gaussian(sigma, 31))[1] == pytest.approx(sigma**2 + 1 / 12, rel=0.02)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: straight_motion(12, 0, 11), "length is 12"),
        (lambda: straight_motion(-1, 0, 11), "length is -1"),
        (lambda: straight_motion(3, 0, 10), "odd"),
        (lambda: defocus(6, 11), "radius is 6"),
        (lambda: defocus(-1, 11), "radius is -1"),
        (lambda: gaussian(0, 11), "sigma is 0"),
        (lambda: gaussian(float("nan"), 11), "sigma is nan"),
        (lambda: gaussian(1, 4), "odd"),
        (lambda: camera_shake(np.random.default_rng(0), size_range=(9, 5)), "9 to 5"),
        (lambda: camera_shake(np.random.default_rng(0), size_range=(0, 5)), "0 to 5"),
        (lambda: camera_shake(np.random.default_rng(0), size_range=(4, 4)), "odd number"),
        (lambda: KernelSampler(1, 31, size=21), "largest is 31"),
        (lambda: KernelSampler(1, 21, size=22), "odd"),
        (lambda: KernelSampler(1, 21, size=21, shake=-1), "frequencies"),
        (lambda: KernelSampler(1, 21, 21, 0, 0, 0, 0), "frequencies"),
    ],
)
def test_impossible_kernels_are_refused_in_one_line(make: object, words: str) -> None:
    with pytest.raises(KernelError, match=words) as caught:
        make()  # type: ignore[operator]
    assert "\n" not in str(caught.value)
