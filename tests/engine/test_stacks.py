"""Axes decide which images a file holds."""

from __future__ import annotations

import numpy as np
import pytest

from napari_deblur.engine.stacks import Stack, find_slices
from napari_deblur.errors import InputError
from napari_deblur.files.image_file import ImageFile, TiffMetadata


def test_every_axis_but_y_x_and_s_counts_images() -> None:
    slices = find_slices((2, 3, 20, 4, 30), "TZYSX")
    assert [each.label for each in slices] == ["T0_Z0", "T0_Z1", "T0_Z2", "T1_Z0", "T1_Z1", "T1_Z2"]
    array = np.arange(2 * 3 * 20 * 4 * 30).reshape(2, 3, 20, 4, 30)
    assert np.array_equal(array[slices[4].index], array[1, 1])


def test_an_image_is_its_only_slice() -> None:
    for shape, axes in (((20, 30), "YX"), ((20, 30, 3), "YXS")):
        (only,) = find_slices(shape, axes)
        assert only.label == ""
        assert np.empty(shape)[only.index].shape == shape


def test_axes_must_fit() -> None:
    for shape, axes in (((20, 30), "ZYX"), ((20, 30), "ZT")):
        with pytest.raises(InputError, match="Axes"):
            find_slices(shape, axes)


def test_slices_share_one_scale_and_channels_do_not() -> None:
    array = np.zeros((2, 2, 16, 16), np.float32)
    array[0, 0, 0, 0], array[1, 0, 0, 0], array[0, 1, 0, 0] = 5, 50, 3
    stack = Stack(array, "TCYX", find_slices(array.shape, "TCYX"))
    labels = [each.label for each in stack.slices]
    ranges = dict(zip(labels, stack.value_ranges(), strict=True))
    assert ranges["T0_C0"] == ranges["T1_C0"] == (0, 50)
    assert ranges["T0_C1"] == ranges["T1_C1"] == (0, 3)


def test_channels_of_one_exposure_stay_together() -> None:
    array = np.zeros((2, 4, 16, 17), np.float32)
    array[1, 3, 0, 0] = 7
    stack = Stack.of(ImageFile(array, "TCYX", TiffMetadata()), channels="C")
    assert [each.label for each in stack.slices] == ["T0", "T1"]
    assert (stack.channel_axis, stack.channel_number, stack.counted_shape) == (0, 1, (2,))
    assert stack.value_ranges()[0] == (0, 7)
    (one,) = Stack.of(ImageFile(array, "TCYX", TiffMetadata()), only="T1_C3").slices
    assert stack.plane(one).max() == 7


def test_columns_first_planes_are_turned() -> None:
    array = np.arange(20 * 30).reshape(20, 30)
    stack = Stack(array, "XY", find_slices(array.shape, "XY"))
    assert np.array_equal(stack.plane(stack.slices[0]), array.T)
    assert np.shares_memory(stack.plane(stack.slices[0]), array)


def test_planar_colour_has_its_channel_axis_first() -> None:
    array = np.zeros((2, 3, 16, 17), np.uint8)
    stack = Stack(array, "ZSYX", find_slices(array.shape, "ZSYX"))
    assert stack.channel_axis == 0
    assert stack.value_ranges()[0] == (0, 0)
    assert Stack(array, None, find_slices((16, 17, 3), None)).channel_axis is None
