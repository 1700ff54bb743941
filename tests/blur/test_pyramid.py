"""Scales from coarse to fine."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_deblur.blur.pyramid import COARSEST_SIDE, RATIO, odd_side, plan_scales
from napari_deblur.errors import KernelError


@given(st.integers(1, 120).map(lambda n: 2 * n + 1))
def test_scales_widen_by_one_ratio_up_to_full_size(size: int) -> None:
    scales = plan_scales(size)
    assert scales[-1].factor == 1
    assert scales[-1].kernel_size == size
    for coarse, fine in itertools.pairwise(scales):
        assert coarse.factor == pytest.approx(fine.factor * RATIO)
        assert coarse.kernel_size <= fine.kernel_size
    for scale in scales:
        assert scale.kernel_size % 2 == 1
        assert scale.kernel_size >= size * scale.factor - 1e-9
    if size >= COARSEST_SIDE:
        assert COARSEST_SIDE <= size * scales[0].factor < COARSEST_SIDE / RATIO + 1e-9


@pytest.mark.parametrize(("length", "side"), [(0.5, 3), (3, 3), (3.01, 5), (4.9, 5), (31, 31)])
def test_odd_side_is_the_next_odd_number(length: float, side: int) -> None:
    assert odd_side(length) == side


def test_even_kernels_are_refused() -> None:
    with pytest.raises(KernelError, match="odd"):
        plan_scales(30)
