"""A layer is cut into planes by its labels, its lengths and its levels."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image

from napari_deblur.errors import InputError
from napari_deblur.plugin.plane_source import PlaneSource
from napari_deblur.plugin.slices import level_names, view_layer


@pytest.mark.parametrize(
    ("shape", "options", "spatial", "channels", "stack"),
    [
        ((20, 30), {}, (0, 1), None, ()),
        ((5, 20, 30), {}, (1, 2), None, (5,)),
        ((2, 3, 4, 20, 30), {"axis_labels": tuple("tzcyx")}, (3, 4), 2, (2, 3)),
        ((20, 30, 3), {"rgb": True}, (0, 1), 2, ()),
        ((6, 20, 30, 4), {"rgb": True}, (1, 2), 3, (6,)),
        ((20, 30, 7), {"axis_labels": ("y", "x", "t")}, (0, 1), None, (7,)),
        ((20, 30), {"axis_labels": ("x", "y")}, (1, 0), None, ()),
        ((20, 30, 1), {}, (0, 1), None, (1,)),
        ((1, 1, 20, 30), {}, (2, 3), None, (1, 1)),
    ],
)
def test_axes_are_found(shape, options, spatial, channels, stack):
    view = view_layer(Image(np.zeros(shape), **{"rgb": False} | options))
    assert (view.spatial, view.channel_axis, view.stack_shape) == (spatial, channels, stack)


def test_a_channel_axis_can_be_named():
    view = view_layer(Image(np.zeros((2, 3, 20, 30))), channel_axis=1)
    assert view.stack_shape == (2,)
    assert view.plane((1,)).shape == (3, 20, 30)
    assert view.engine_channel_axis == 0


def test_every_plane_is_visited_once_from_the_shown_one_on(any_layer):
    view = view_layer(any_layer)
    everything = list(view.indices())
    begun = list(view.indices(everything[-1]))
    assert begun[0] == everything[-1]
    assert sorted(begun) == sorted(everything)
    assert len(everything) == view.count


def test_planes_go_back_to_where_they_came_from(any_layer):
    view = view_layer(any_layer)
    out = np.zeros(view.shape, view.dtype)
    for index in view.indices():
        view.part(out, index)[...] = view.plane(index)
    source = any_layer.data[0] if any_layer.multiscale else any_layer.data
    np.testing.assert_array_equal(out, np.asarray(source))


def test_columns_first_layers_give_rows_first_planes():
    data = np.arange(20 * 30).reshape(20, 30)
    view = view_layer(Image(data, axis_labels=("x", "y")))
    np.testing.assert_array_equal(view.plane(()), data.T)


def test_a_lazy_layer_is_read_one_plane_at_a_time():
    import dask.array as da

    read = []

    def block(block_info):
        read.append(block_info[None]["chunk-location"][0])
        return np.ones((1, 20, 30))

    data = da.map_blocks(block, chunks=((1,) * 4, (20,), (30,)), dtype=float, meta=np.ones(0))
    view = view_layer(Image(data, contrast_limits=(0, 1)))
    read.clear()
    assert view.plane((2,)).shape == (20, 30)
    assert read == [2]


def test_a_plane_source_reads_what_is_indexed(any_layer):
    view = view_layer(any_layer)
    index = next(view.indices())
    source = PlaneSource(view, index)
    plane = view.plane(index)
    assert (source.shape, source.dtype, source.ndim) == (plane.shape, plane.dtype, plane.ndim)
    key = tuple(
        slice(None) if axis == view.plane_channel_axis else slice(3, 11 + axis)
        for axis in range(plane.ndim)
    )
    np.testing.assert_array_equal(source[key], plane[key])


def test_levels_have_names_and_the_finest_is_taken(make_layer):
    layer = make_layer("multiscale")
    assert level_names(layer)[0].startswith("64 x 72 (finest)")
    assert view_layer(layer).size == (64, 72)
    coarse = view_layer(layer, level=1)
    assert coarse.size == (32, 36)
    assert coarse.factors == (2.0, 2.0)
    with pytest.raises(InputError, match="has 2"):
        view_layer(layer, level=2)


def test_the_shown_plane_is_found_in_the_layers_pixels():
    view = view_layer(Image(np.zeros((5, 4, 20, 30))))
    assert view.index_at((2.4, 9.0, 3, 3)) == (2, 3)


@pytest.mark.parametrize("axis", [2, 5, -4])
def test_a_channel_axis_that_cannot_be_is_refused(axis):
    layer = Image(np.zeros((3, 20, 30)), axis_labels=("t", "y", "x"))
    if axis == 2:
        layer = Image(np.zeros((20, 30)), name="flat")
    with pytest.raises(InputError, match="channel axis"):
        view_layer(layer, channel_axis=axis)
