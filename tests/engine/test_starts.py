"""Starts of the search for a kernel, and which of their ends go on."""

from __future__ import annotations

import numpy as np
import pytest

from napari_deblur.blur.alternation import Schedule
from napari_deblur.blur.edges import sparse_edges
from napari_deblur.blur.kernel_bank import straight_motion
from napari_deblur.blur.pyramid import plan_scales
from napari_deblur.engine.starts import (
    best_and_different,
    count_going_on,
    few_starts,
    first_of,
    going_on,
    many_starts,
)

NETWORK = straight_motion(20, 30, 31)


def test_a_kernel_the_network_saw_whole_starts_from_nothing_and_from_it_either_way_up() -> None:
    scales = plan_scales(31)
    nothing, network, turned = few_starts(NETWORK, scales, Schedule())
    assert (nothing.scale, scales[network.scale].factor) == (0, pytest.approx(0.25))
    np.testing.assert_array_equal(turned.kernel, network.kernel[::-1, ::-1])


@pytest.mark.parametrize("size", [15, 35, 79, 171])
@pytest.mark.parametrize("paper", [None, 1.0])
def test_every_start_has_the_size_of_its_scale_and_ends_where_all_are_compared(
    size: int, paper: float | None
) -> None:
    scales = plan_scales(size)
    last = first_of(scales, 0.175)
    paths = many_starts(NETWORK, 14 / size, scales, Schedule(), last, paper)
    for path in paths:
        assert path.kernel.shape == (scales[path.scale].kernel_size,) * 2
        assert path.kernel.sum() == pytest.approx(1, abs=1e-6)
        assert path.scale <= last
    believers = [path for path in paths if path.schedule.latent is not sparse_edges]
    assert bool(believers) == (paper is not None)


@pytest.mark.parametrize("paper", [None, 0.0])
@pytest.mark.parametrize("kept", [1, 3, 8])
def test_what_goes_on_is_as_many_as_announced(kept: int, paper: float | None) -> None:
    paths = going_on([NETWORK] * kept, 4, Schedule(), paper)
    assert len(paths) == count_going_on(kept, paper)
    assert {path.scale for path in paths} == {4}


def test_what_goes_on_is_unlike_what_is_better_and_costs_little_more() -> None:
    line, moved = NETWORK, np.roll(NETWORK, 2, axis=0)
    other, third, fourth = (straight_motion(*each, 31) for each in ((20, 120), (6, 0), (9, 60)))
    kernels = [other, moved, third, line, fourth]
    costs = [2.03, 2.01, 2.04, 2.0, 2.2]
    assert best_and_different(kernels, costs, 5) == [3, 0, 2]
    assert best_and_different(kernels, costs, 2) == [3, 0]
