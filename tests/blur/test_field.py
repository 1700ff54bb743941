"""The grid over an image: patches, neighbours, and weights that sum to one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_deblur.blur.field import FieldGrid, KernelField
from napari_deblur.errors import InputError, KernelError


@given(
    size=st.tuples(st.integers(16, 90), st.integers(16, 90)),
    counts=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    ramp=st.floats(0.05, 1),
)
def test_weights_sum_to_one_everywhere_and_are_zero_beyond_their_support(size, counts, ramp):
    shape = tuple(min(count, side // 16) for count, side in zip(counts, size, strict=True))
    grid = FieldGrid(size, shape)
    whole = (slice(0, size[0]), slice(0, size[1]))
    total = np.zeros(size)
    for cell in grid.cells:
        weights = grid.weights(cell, whole, ramp)
        support = grid.support(cell, ramp)
        assert weights.min() >= 0
        np.testing.assert_array_equal(grid.weights(cell, support, ramp), weights[support])
        weights_outside = weights.copy()
        weights_outside[support] = 0
        assert not weights_outside.any()
        total += weights
    np.testing.assert_allclose(total, 1, atol=1e-6)


def test_a_cell_has_all_the_weight_in_its_middle_and_shares_it_at_its_border():
    grid = FieldGrid((90, 120), (3, 4))
    column = grid.weights((1, 2), (slice(45, 46), slice(0, 120)), 1.0)[0]
    assert grid.centre((1, 2)) == (44.5, 74.5)
    assert column[74] > 0.99
    assert column[59] + column[60] == pytest.approx(1, abs=1e-3)
    assert np.abs(np.diff(column)).max() < 0.06


def test_patches_are_cells_and_half_a_cell_around_within_the_image():
    grid = FieldGrid((90, 120), (3, 4))
    assert grid.patch((0, 0)) == (slice(0, 45), slice(0, 45))
    assert grid.patch((1, 2)) == (slice(15, 75), slice(45, 105))
    assert FieldGrid((50, 60), (1, 1)).patch((0, 0)) == (slice(0, 50), slice(0, 60))


def test_neighbours_share_an_edge():
    grid = FieldGrid((90, 120), (3, 4))
    assert sorted(grid.neighbours((0, 0))) == [(0, 1), (1, 0)]
    assert sorted(grid.neighbours((1, 1))) == [(0, 1), (1, 0), (1, 2), (2, 1)]


@pytest.mark.parametrize("shape", [(0, 1), (6, 2), (2, 8)])
def test_cells_have_sixteen_pixels_a_side_or_more(shape):
    with pytest.raises(InputError, match=f"{shape[0]} x {shape[1]} does not fit 90 x 120"):
        FieldGrid((90, 120), shape)


def test_a_field_is_rows_and_columns_of_square_kernels():
    field = KernelField(np.zeros((2, 3, 5, 5), np.float32), (90, 120))
    assert field.grid == FieldGrid((90, 120), (2, 3))
    with pytest.raises(KernelError, match=r"\(2, 5, 5\)"):
        KernelField(np.zeros((2, 5, 5), np.float32), (90, 120))
    with pytest.raises(InputError, match="9 x 3"):
        KernelField(np.zeros((9, 3, 5, 5), np.float32), (90, 120))


def test_a_position_has_the_kernel_of_the_cell_that_it_lies_in():
    kernels = np.arange(6, dtype=np.float32).reshape(2, 3, 1, 1)
    field = KernelField(kernels, (64, 96))
    centres = np.array([field.grid.centre(cell) for cell in field.grid.cells])
    assert field.at(centres - (31.5, 47.5)).ravel().tolist() == [0, 1, 2, 3, 4, 5]
    corners = np.array([(-31.5, -47.5), (-0.6, -15.6), (0.6, 47.5), (40, 60)])
    assert field.at(corners).ravel().tolist() == [0, 1, 5, 5]
