"""Arrays become working images and come back with shape, dtype, range and alpha kept."""

from __future__ import annotations

import dask.array
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_deblur.engine.arrays import as_source
from napari_deblur.engine.layout import image_layout, open_picture
from napari_deblur.errors import InputError

WHOLE = (slice(None), slice(None))
KINDS = [
    ((16, 17), None),
    ((16, 17, 1), None),
    ((16, 17, 3), None),
    ((16, 17, 4), None),
    ((16, 17, 5), -1),
    ((2, 16, 17), 0),
    ((16, 3, 17), 1),
]
DTYPES = [np.uint8, np.uint16, np.int16, np.uint32, np.int64, np.uint64, np.float16, np.float32]


def through(array, **options):
    """Into a working image and back, in two windows."""
    layout = image_layout(array, **options)
    out = np.zeros_like(array)
    for window in ((slice(0, 9), slice(None)), (slice(9, None), slice(None))):
        layout.write(out, window, layout.read(array, window), array)
    return out


@settings(deadline=None, max_examples=120)
@given(data=st.data(), kind=st.sampled_from(KINDS), dtype=st.sampled_from([*DTYPES, ">u2", ">f4"]))
def test_there_and_back_keeps_shape_dtype_and_values(data, kind, dtype):
    shape, axis = kind
    dtype = np.dtype(dtype)
    elements = st.floats(-1000, 1000, width=16) if dtype.kind == "f" else hnp.from_dtype(dtype)
    array = data.draw(hnp.arrays(dtype, shape, elements=elements, fill=elements))
    result = through(array, channel_axis=axis)
    assert result.shape == shape
    assert result.dtype == dtype
    span = float(array.max()) - float(array.min())
    # Exact up to the 24 bits of the working image's float32.
    np.testing.assert_allclose(
        result.astype(np.float64), array.astype(np.float64), rtol=2**-50, atol=span * 2**-23
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int8])
def test_small_integers_come_back_exactly(dtype):
    info = np.iinfo(dtype)
    array = np.random.default_rng(0).integers(info.min, info.max, (40, 30), dtype, endpoint=True)
    np.testing.assert_array_equal(through(array), array)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([[0, 255]], np.uint8), (0, 255)),
        (np.array([[20, 100]], np.uint8), (0, 255)),
        (np.array([[3, 60]], np.uint8), (3, 60)),
        (np.array([[100, 4095]], np.uint16), (100, 4095)),
        (np.array([[100, 60000]], np.uint16), (0, 65535)),
        (np.array([[-5, 900]], np.int16), (-5, 900)),
        (np.array([[0.1, 0.8]], np.float32), (0, 1)),
        (np.array([[0.0, 0.0625]], np.float32), (0, 0.0625)),
        (np.array([[-2.0, 7.0]], np.float64), (-2, 7)),
    ],
)
def test_working_range_is_the_nominal_one_only_where_data_fill_it(array, expected):
    layout = image_layout(np.tile(array, (16, 8)))
    assert (layout.low, layout.high) == expected
    working = layout.read(np.tile(array, (16, 8)), WHOLE)
    assert working.min() >= 0
    assert working.max() <= 1
    assert working.dtype == np.float32


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([[0, 255]], np.uint8), (0, 255)),
        (np.array([[100, 4095]], np.uint16), (0, 65535)),
        (np.array([[-5, 900]], np.int16), (-32768, 32767)),
        (np.array([[5, 2**64 - 1]], np.uint64), (0, 2**64 - 2048)),
        (np.array([[0.0, 1.0]], np.float32), (0, 1)),
        (np.array([[0.0, 7.0]], np.float16), (0, 65504)),
    ],
)
def test_overshoot_is_clipped_to_what_the_dtype_can_hold(array, expected):
    layout = image_layout(np.tile(array, (16, 8)))
    restored = layout.restore(np.full((1, 1, 2), [-1e9, 1e9], np.float32))
    assert restored.dtype == array.dtype
    assert (int(restored[0, 0, 0]), int(restored[0, 0, 1])) == expected


def test_alpha_is_not_part_of_the_image_and_comes_back_untouched():
    array = np.random.default_rng(0).integers(0, 256, (16, 20, 4), np.uint8)
    array[..., 3] = 255 - array[..., 3]
    layout = image_layout(array)
    assert layout.channels == 3
    out = np.zeros_like(array)
    layout.write(out, WHOLE, np.zeros((3, 16, 20), np.float32), array)
    np.testing.assert_array_equal(out[..., 3], array[..., 3])
    assert not out[..., :3].any()


def test_four_channels_on_a_named_axis_are_four_channels():
    assert image_layout(np.ones((16, 20, 4)), channel_axis=-1).channels == 4


def test_a_given_value_range_is_used_for_every_slice():
    layout = image_layout(np.full((16, 16), 5, np.uint16), value_range=(0, 10))
    assert layout.read(np.full((16, 16), 5, np.uint16), WHOLE).mean() == pytest.approx(0.5)


def test_lazy_arrays_are_read_in_windows_only():
    class Lazy:
        shape, dtype, ndim = (5000, 8000), np.dtype(np.uint16), 2
        largest = 0

        def __getitem__(self, key):
            pairs = zip(key, self.shape, strict=True)
            block = np.zeros([len(range(*part.indices(n))) for part, n in pairs], "u2")
            self.largest = max(self.largest, block.size)
            return block

    lazy = Lazy()
    assert as_source(lazy) is lazy
    layout = image_layout(lazy)
    assert layout.read(lazy, (slice(100, 200), slice(0, 300))).shape == (1, 100, 300)
    assert lazy.largest < 5000 * 8000 / 2


def unknown_sides():
    image = dask.array.ones((40, 40))
    return image[image[:, 0] > 0]


def test_tensors_are_arrays():
    source = as_source(torch.ones(20, 40))
    assert image_layout(source).size == (20, 40)


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        ("photo.png", {}, "not an image: str"),
        (None, {}, "not an image: NoneType"),
        ([[1, 2], [3]], {}, "not an image: list"),
        (5.0, {}, "0 dimensions"),
        (np.ones(64), {}, "1 dimensions"),
        (np.ones((16, 16, 16, 3)), {}, "4 dimensions"),
        (np.ones((0, 16)), {}, "empty"),
        (np.ones((15, 40)), {}, "15 x 40 pixels"),
        (np.ones((40, 40, 3)), {"channel_axis": 0}, "40 x 3 pixels"),
        (np.ones((40, 40, 2)), {}, "2 values on its last axis"),
        (np.ones((20, 40, 40)), {}, "40 values on its last axis"),
        (np.ones((20, 40)), {"channel_axis": 0}, "does not go with a 2-D image"),
        (np.ones((20, 40, 3)), {"channel_axis": 3}, "channel_axis 3 is not an axis"),
        (np.ones((20, 40), bool), {}, "dtype bool"),
        (np.ones((20, 40), complex), {}, "dtype complex128"),
        (np.ones((20, 40), object), {}, "dtype object"),
        (np.full((20, 40), "a"), {}, "dtype <U1"),
        (np.ones((20, 40)), {"value_range": (2, 1)}, "value range 2 to 1"),
        (np.ones((20, 40)), {"value_range": (0, np.nan)}, "value range 0 to nan"),
        (np.ones((20, 40)), {"value_range": (1,)}, r"value range \(1,\) cannot be used"),
        (np.ones((20, 40)), {"value_range": "ab"}, "value range 'ab' cannot be used"),
        (np.ones((20, 40)), {"value_range": (0, 1e-320)}, "does not go with an image"),
        (np.ones((20, 40, 3)), {"channel_axis": "c"}, "channel_axis 'c' is not an axis"),
        (np.ones((20, 40, 3)), {"channel_axis": 1.5}, "channel_axis 1.5 is not an axis"),
        (np.ma.masked_array(np.ones((20, 40)), mask=np.eye(20, 40)), {}, "masked array"),
        (torch.ones(20, 40, requires_grad=True), {}, "not an image: Tensor"),
        (unknown_sides(), {}, "not known before it is computed"),
    ],
)
def test_bad_input_is_named_on_one_line(image, options, message):
    with pytest.raises(InputError, match=message) as caught:
        image_layout(as_source(image), **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_named_with_its_place(bad):
    image = np.zeros((3, 20, 40), np.float32)
    image[1, 7, 30] = bad
    with pytest.raises(InputError, match=rf"holds {bad} at row 7, column 30"):
        image_layout(image, channel_axis=0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_alpha_must_be_finite_as_well_because_it_is_part_of_the_result(bad):
    image = np.zeros((20, 40, 4), np.float32)
    image[7, 30, 3] = bad
    with pytest.raises(InputError, match=rf"holds {bad} in its alpha channel at row 7, column 30"):
        image_layout(image)
    image[7, 30, 3] = 5  # alpha does not count for the range either
    assert (image_layout(image).floor, image_layout(image).ceiling) == (0, 1)


# ------------------------------------------------------------------ gamma, saturation


def test_gamma_makes_values_linear_and_is_undone():
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)
    picture = open_picture(image, gamma=2.2)
    working = picture.read(WHOLE)
    np.testing.assert_allclose(working[0], (image / 255.0) ** 2.2, atol=1e-6)
    out = np.empty_like(image)
    picture.write(out, WHOLE, working)
    np.testing.assert_array_equal(out, image)


def test_with_a_gamma_black_is_zero_even_in_dim_images():
    image = np.linspace(1000, 3000, 256).reshape(16, 16).astype(np.uint16)
    assert open_picture(image).layout.low == 1000
    assert open_picture(image, gamma=2.2).layout.low == 0


@pytest.mark.parametrize("gamma", [1.0, 2.2])
def test_pixels_from_the_level_up_are_clipped_whatever_the_gamma(gamma):
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)
    picture = open_picture(image, gamma=gamma, saturation=200)
    clipped = picture.layout.clipped(picture.read(WHOLE))
    assert clipped is not None
    np.testing.assert_array_equal(clipped[0], image >= 200)


def test_a_plateau_is_found_and_can_be_ignored():
    light = np.random.default_rng(0).normal(0.6, 0.3, (64, 64)).clip(0, 1)
    image = np.round(light * 4095).astype(np.uint16)
    found = open_picture(image, saturation=None).layout
    assert 4060 < found.saturation < 4095
    ignored = open_picture(image, saturation=np.inf)
    assert ignored.layout.clipped(ignored.read(WHOLE)) is None


def test_a_level_below_all_values_is_refused():
    with pytest.raises(InputError, match="saturation 5 is not above"):
        open_picture(np.arange(10, 266, dtype=np.uint16).reshape(16, 16), saturation=5)
