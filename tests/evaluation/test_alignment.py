"""Alignment equals the exhaustive search that it replaces."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.interpolate
from numpy.typing import NDArray

from napari_deblur.errors import InputError
from napari_deblur.evaluation.alignment import align, squared_errors


def exhaustive(
    estimate: NDArray[np.float64], sharp: NDArray[np.float64], crop: int, largest: int
) -> NDArray[np.float64]:
    """The published search, one interpolated image per shift (a spline of degree one)."""
    height, width = sharp.shape
    rows, columns = np.arange(height), np.arange(width)
    surface = scipy.interpolate.RectBivariateSpline(rows, columns, estimate, kx=1, ky=1)
    shifts = np.arange(-largest * 4, largest * 4 + 1) / 4
    truth = sharp[crop:-crop, crop:-crop]
    return np.array(
        [
            [
                np.sum((surface(rows[crop:-crop] + dy, columns[crop:-crop] + dx) - truth) ** 2)
                for dx in shifts
            ]
            for dy in shifts
        ]
    )


@pytest.mark.parametrize(("crop", "largest"), [(4, 2), (3, 3), (5, 1)])
def test_squared_errors_equal_the_exhaustive_search(crop: int, largest: int) -> None:
    rng = np.random.default_rng(3)
    estimate, sharp = rng.uniform(0, 255, (2, 21, 26))
    expected = exhaustive(estimate, sharp, crop, largest)
    measured = squared_errors(estimate, sharp, crop=crop, largest=largest)
    np.testing.assert_allclose(measured, expected, rtol=1e-10)


def test_the_best_shift_and_its_error_are_those_of_the_exhaustive_search() -> None:
    rng = np.random.default_rng(5)
    sharp = rng.uniform(0, 255, (40, 33))
    estimate = np.roll(sharp, (2, -1), axis=(0, 1))
    estimate = 0.75 * estimate + 0.25 * np.roll(estimate, 1, axis=1)
    estimate += rng.normal(0, 1, sharp.shape)
    found = align(estimate, sharp, crop=6, largest=4)
    errors = exhaustive(estimate, sharp, 6, 4)
    row, column = np.unravel_index(errors.argmin(), errors.shape)
    assert found.shift == (row / 4 - 4, column / 4 - 4)
    assert found.squared_error == pytest.approx(errors.min(), rel=1e-9)


def test_channels_share_one_shift_and_their_errors_add() -> None:
    rng = np.random.default_rng(7)
    estimate, sharp = rng.uniform(0, 255, (2, 3, 24, 25))
    together = squared_errors(estimate, sharp, crop=5, largest=3)
    apart = [squared_errors(e, s, crop=5, largest=3) for e, s in zip(estimate, sharp, strict=True)]
    np.testing.assert_allclose(together, np.sum(apart, axis=0), rtol=1e-10)


def test_equal_images_need_no_shift() -> None:
    flat = np.full((40, 40), 17.0)
    found = align(flat, flat, crop=15, largest=10)
    assert found.shift == (0.0, 0.0)
    assert found.squared_error == 0.0


def test_without_shifts_the_images_are_compared_in_place() -> None:
    rng = np.random.default_rng(11)
    estimate, sharp = rng.uniform(0, 255, (2, 20, 20))
    found = align(estimate, sharp, crop=0, largest=0)
    assert found.squared_error == pytest.approx(np.sum((estimate - sharp) ** 2))


@pytest.mark.parametrize(
    ("shapes", "crop", "largest"),
    [(((9, 9), (9, 8)), 2, 1), (((9, 9), (9, 9)), 1, 2), (((30, 31), (30, 31)), 15, 5)],
)
def test_impossible_requests_are_refused(
    shapes: tuple[tuple[int, int], tuple[int, int]], crop: int, largest: int
) -> None:
    with pytest.raises(InputError):
        align(np.zeros(shapes[0]), np.zeros(shapes[1]), crop=crop, largest=largest)
