"""Tiles must own every pixel once, and see a full halo wherever the image has one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_deblur.engine.tiles import overlap, plan_part, plan_tiles, spread, within
from napari_deblur.errors import InputError

PLANS = given(
    shape=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    tile=st.integers(12, 150),
    halo=st.integers(0, 60),
    align=st.sampled_from([1, 2, 8, 16]),
)


def plans(test):
    # No deadline: the machine may be shared.
    return settings(deadline=None, max_examples=60)(PLANS(test))


@plans
def test_every_pixel_is_owned_exactly_once(shape, tile, halo, align):
    owners = np.zeros(shape, int)
    for part in plan_tiles(shape, tile, halo, align=align):
        owners[part.owned] += 1
    assert (owners == 1).all()


@plans
def test_windows_hold_the_owned_part_and_a_full_halo_up_to_the_borders(shape, tile, halo, align):
    for part in plan_tiles(shape, tile, halo, align=align):
        for source, owned, length in zip(part.source, part.owned, shape, strict=True):
            assert 0 <= source.start <= max(0, owned.start - halo)
            assert min(length, owned.stop + halo) <= source.stop <= length


@plans
def test_windows_start_on_the_grid_and_are_as_large_as_each_other(shape, tile, halo, align):
    parts = plan_tiles(shape, tile, halo, align=align)
    for axis in (0, 1):
        assert all(part.source[axis].start % align == 0 for part in parts)
        sides = {part.source[axis].stop - part.source[axis].start for part in parts}
        assert max(sides) - min(sides) < align
        assert max(sides) <= max(tile + align - 1, 1) + 2 * (halo + align - 1)


@plans
def test_inner_picks_the_owned_pixels_out_of_the_window(shape, tile, halo, align):
    image = np.arange(shape[0] * shape[1]).reshape(shape)
    for part in plan_tiles(shape, tile, halo, align=align):
        np.testing.assert_array_equal(image[part.source][part.inner], image[part.owned])
        assert part.pixels == image[part.owned].size


@plans
def test_tiles_of_a_part_own_it_and_see_what_it_depends_on(shape, tile, halo, align):
    part = tuple(slice(side // 3, side // 3 + max(1, side // 4)) for side in shape)
    wanted, owners = np.zeros(shape, bool), np.zeros(shape, int)
    wanted[part] = True
    for each in plan_part(shape, part, tile, halo, align=align):
        owners[each.owned] += 1
        assert all(side.start % align == 0 for side in each.source)
        if wanted[each.owned].any():
            for source, owned, kept, length in zip(
                each.source, each.owned, part, shape, strict=True
            ):
                low, high = max(owned.start, kept.start), min(owned.stop, kept.stop)
                assert 0 <= source.start <= max(0, low - halo)
                assert min(length, high + halo) <= source.stop <= length
    assert owners.max() == 1
    assert (owners[wanted] == 1).all()


@plans
def test_the_part_that_is_everything_is_cut_as_the_whole(shape, tile, halo, align):
    whole = (slice(0, shape[0]), slice(0, shape[1]))
    assert plan_part(shape, whole, tile, halo, align=align) == plan_tiles(
        shape, tile, halo, align=align
    )


def test_tiles_are_spread_evenly_rather_than_leaving_a_sliver():
    parts = plan_tiles((64, 1040), 512, 8)
    widths = {part.source[1].stop - part.source[1].start for part in parts}
    assert len(parts) == 2
    assert widths == {528}


@pytest.mark.parametrize(("tile", "halo", "align"), [(0, 1, 1), (8, -1, 1), (8, 1, 0)])
def test_impossible_sizes_are_refused(tile, halo, align):
    with pytest.raises(InputError, match="tiles of"):
        plan_tiles((32, 32), tile, halo, align=align)


def test_a_spread_has_both_ends_and_even_distances_and_few_items_all() -> None:
    assert spread(range(9), 3) == [0, 4, 8]
    assert spread("abc", 5) == ["a", "b", "c"]
    assert spread([], 2) == []


SIDES = st.tuples(st.integers(0, 9), st.integers(1, 9)).map(lambda v: slice(v[0], v[0] + v[1]))
WINDOWS = st.tuples(SIDES, SIDES)


@given(one=WINDOWS, other=WINDOWS)
def test_an_overlap_holds_the_pixels_of_both_and_lies_within_either(one, other):
    first, second = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    first[one], second[other] = True, True
    shared = overlap(one, other)
    both = np.zeros((20, 20), bool)
    both[shared] = True
    np.testing.assert_array_equal(both, first & second)
    if both.any():
        values = np.arange(400).reshape(20, 20)
        np.testing.assert_array_equal(values[one][within(shared, one)], values[shared])
