"""Random curves, and kernels bent at random."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_deblur.blur.curves import bend, random_curves
from napari_deblur.blur.kernel_bank import straight_motion
from napari_deblur.blur.likeness import kernel_likeness


@pytest.mark.parametrize("size", [3, 9, 15])
def test_curves_are_thin_connected_kernels_of_half_the_support_or_more(size: int) -> None:
    curves = random_curves(np.random.default_rng(0), 100, size)
    assert curves.shape == (100, size, size)
    assert curves.min() >= 0
    np.testing.assert_allclose(curves.sum(axis=(1, 2)), 1, atol=1e-5)
    for curve in curves:
        assert ndimage.label(curve, np.ones((3, 3)))[1] == 1
        rows, columns = (np.flatnonzero(curve.sum(axis=axis)) for axis in (1, 0))
        assert max(np.ptp(rows), np.ptp(columns)) + 1 >= 0.5 * size


def test_curves_lie_around_the_middle() -> None:
    curves = random_curves(np.random.default_rng(1), 200, 15)
    centres = np.array([ndimage.center_of_mass(curve) for curve in curves])
    assert np.median(np.abs(centres - 7)) < 0.01


def test_no_two_of_a_few_curves_are_alike_and_the_same_chance_draws_the_same() -> None:
    first, again = (random_curves(np.random.default_rng(2), 10, 11) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    pairs = [(i, j) for i in range(10) for j in range(i)]
    assert max(kernel_likeness(first[i], first[j]) for i, j in pairs) < 0.97


def test_bent_kernels_are_like_the_straight_one_and_less_so_the_more_they_are_bent() -> None:
    lines = np.repeat(straight_motion(9, 20, 15)[None], 30, axis=0)
    likeness = []
    for pixels in (0.0, 0.5, 2.0):
        bent = bend(np.random.default_rng(0), lines, pixels)
        np.testing.assert_allclose(bent.sum(axis=(1, 2)), 1, atol=1e-5)
        likeness.append(np.mean([kernel_likeness(each, lines[0]) for each in bent]))
    assert likeness[0] == pytest.approx(1, abs=1e-4)
    assert 0.8 < likeness[1] < 0.98
    assert likeness[2] < likeness[1] - 0.1
