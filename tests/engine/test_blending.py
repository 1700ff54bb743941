"""Blocks that fade into each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_deblur.engine.blending import Blender, fade_blocks
from napari_deblur.engine.tiles import plan_tiles

sizes = st.tuples(st.integers(16, 160), st.integers(16, 160))


@given(size=sizes, tile=st.integers(4, 90), halo=st.integers(0, 60), align=st.sampled_from([1, 8]))
def test_weights_sum_to_one_up_to_the_borders_and_every_pixel_is_given_out_once(
    size, tile, halo, align
):
    blocks = fade_blocks(plan_tiles(size, tile, halo, align=align), halo)
    image = np.random.default_rng(0).random((2, *size), np.float32) + 1
    blended = np.zeros_like(image)
    times = np.zeros(size, int)
    blender = Blender(size[1])
    for block in blocks:
        window, values = blender.add(block, image[:, *block.counts])
        blended[:, *window] = values
        times[window] += 1
        assert image[:, *block.source][:, *block.counted].shape == image[:, *block.counts].shape
    assert (times == 1).all()
    np.testing.assert_allclose(blended, image, rtol=3e-7)


def test_neighbours_fade_evenly_over_as_much_as_the_halo():
    blocks = fade_blocks(plan_tiles((40, 600), 200, 90), 90)
    left, right = (block.weights()[0] for block in blocks[:2])
    shared = blocks[0].counts[1].stop - blocks[1].counts[1].start
    assert shared == 90
    np.testing.assert_allclose(left[-shared:] + right[:shared], 1, atol=1e-6)
    np.testing.assert_allclose(left[-shared:], right[:shared][::-1], atol=1e-6)
    assert np.abs(np.diff(left[-shared:])).max() < 1.6 / shared
    assert (left[:-shared] == 1).all()


@pytest.mark.parametrize("size", [(50, 50), (50, 400), (400, 50)])
def test_an_image_of_one_block_on_an_axis_has_no_weights_on_it(size):
    for block in fade_blocks(plan_tiles(size, 100, 30), 30):
        weights = block.weights()
        for axis in (0, 1):
            if size[axis] == 50:
                np.testing.assert_array_equal(np.ptp(weights, axis=axis), 0)
