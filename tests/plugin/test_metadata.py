"""A result lies where its source lies and looks as it looks, for every kind of layer."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image, Layer

from napari_deblur.plugin.metadata import (
    derived_attributes,
    kernel_attributes,
    mosaic_attributes,
    spread,
)
from napari_deblur.plugin.slices import view_layer


def corners(layer: Layer, shape: tuple[int, ...]) -> np.ndarray:
    """World coordinates of all corners of an array of this shape in a layer's pixels."""
    grid = np.indices([2] * len(shape)).reshape(len(shape), -1).T * (np.array(shape) - 1)
    return np.array([layer.data_to_world(point) for point in grid])


def test_all_attributes_are_carried_over(any_layer):
    view = view_layer(any_layer)
    attributes = derived_attributes(any_layer, view, name="result")
    result = Image(np.zeros(view.shape, view.dtype), **attributes)
    for name in ("scale", "translate", "rotate", "shear"):
        np.testing.assert_allclose(getattr(result, name), getattr(any_layer, name), err_msg=name)
    np.testing.assert_allclose(result.affine.affine_matrix, any_layer.affine.affine_matrix)
    for name in ("units", "axis_labels", "gamma", "blending", "opacity", "rgb", "ndim"):
        assert getattr(result, name) == getattr(any_layer, name), name
    if not any_layer.rgb:
        assert result.colormap.name == any_layer.colormap.name
        assert result.contrast_limits == any_layer.contrast_limits
    np.testing.assert_allclose(
        corners(result, view.shape[: view.ndim]), corners(any_layer, view.shape[: view.ndim])
    )


def test_a_coarser_level_has_larger_pixels(make_layer):
    layer = make_layer("multiscale")
    attributes = derived_attributes(layer, view_layer(layer, level=1), name="result")
    np.testing.assert_allclose(attributes["scale"], (1.0, 1.0))


@pytest.mark.parametrize("kind", ["tyx", "turned", "affine", "rgb", "yxt"])
def test_a_part_lies_where_it_was_cut_out(make_layer, kind):
    layer = make_layer(kind)
    view = view_layer(layer)
    offset = np.zeros(view.ndim)
    offset[list(view.spatial)] = (5, 9)
    part = Image(
        np.zeros(view.shape, view.dtype),
        **derived_attributes(layer, view, name="part", offset=offset),
    )
    point = np.ones(view.ndim)
    np.testing.assert_allclose(part.data_to_world(point), layer.data_to_world(point + offset))


def test_a_kernel_pixel_is_an_image_pixel_beside_the_image(any_layer):
    view = view_layer(any_layer)
    data = spread(view, np.ones((9, 9), np.float32))
    kernel = Image(data, **kernel_attributes(any_layer, view, data, name="kernel"))
    rows, columns = view.spatial if kernel.ndim == view.ndim else (0, 1)
    first, down, right = np.zeros((3, kernel.ndim))
    down[rows] = right[columns] = 1
    world = [np.asarray(kernel.data_to_world(point)) for point in (first, down, right)]
    start, image_down, image_right = np.zeros((3, view.ndim))
    start[view.spatial[1]] = image_down[view.spatial[1]] = view.size[1] + 4
    image_right[view.spatial[1]] = view.size[1] + 5
    image_down[view.spatial[0]] = 1
    expected = [
        np.asarray(any_layer.data_to_world(point))[-kernel.ndim :]
        for point in (start, image_down, image_right)
    ]
    np.testing.assert_allclose(world, expected)
    assert kernel.blending != "additive"
    assert kernel.units == any_layer.units[-kernel.ndim :]


@pytest.mark.parametrize("kind", ["yx uint8", "turned", "multiscale", "tyx", "rgb"])
def test_a_mosaic_covers_the_image(make_layer, kind):
    layer = make_layer(kind)
    view = view_layer(layer)
    pixel = 2.0
    shape = tuple(round(side / pixel) for side in view.size)
    mosaic = Image(np.zeros(shape), **mosaic_attributes(layer, view, name="map", pixel=pixel))
    # From the outer corner of the first pixel to that of the last one.
    low = mosaic.data_to_world((-0.5, -0.5))
    high = mosaic.data_to_world([side - 0.5 for side in shape])
    ends = np.zeros((2, view.ndim))
    ends[0, list(view.spatial)] = -0.5
    ends[1, list(view.spatial)] = [side - 0.5 for side in view.size]
    np.testing.assert_allclose(low, layer.data_to_world(ends[0])[-2:])
    np.testing.assert_allclose(high, layer.data_to_world(ends[1])[-2:])
