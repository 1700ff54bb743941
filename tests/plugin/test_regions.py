"""What is drawn in the viewer becomes a window or a mask of the image."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image, Labels, Points, Shapes

from napari_deblur.errors import InputError
from napari_deblur.plugin.regions import check_marks, region_of, visible_region, whole_region
from napari_deblur.plugin.slices import view_layer


@pytest.fixture
def image() -> Image:
    return Image(np.zeros((60, 80)), name="picture", scale=(0.5, 0.5), translate=(10, 20))


def box(top: float, left: float, bottom: float, right: float) -> np.ndarray:
    return np.array([[top, left], [top, right], [bottom, right], [bottom, left]])


def test_a_rectangle_in_world_coordinates_is_a_window(image):
    # Rows 10 to 40 and columns 20 to 60 of the image.
    shapes = Shapes([box(15, 30, 30, 50) - 0.25], shape_type="rectangle")
    region = region_of(shapes, image, view_layer(image))
    assert region.mask is None
    assert region.window == (slice(10, 40), slice(20, 60))


def test_selected_shapes_go_before_the_others(image):
    shapes = Shapes([box(10, 20, 20, 30), box(20, 40, 35, 55)], shape_type="rectangle")
    both = region_of(shapes, image, view_layer(image))
    assert both.mask is not None
    shapes.selected_data = {1}
    one = region_of(shapes, image, view_layer(image))
    assert one.mask is None
    assert abs(one.rows.start - 20) <= 1


def test_an_ellipse_is_a_mask_of_its_area(image):
    shapes = Shapes([box(10, 20, 40, 60)], shape_type="ellipse")
    region = region_of(shapes, image, view_layer(image))
    assert region.mask is not None
    assert region.mask.sum() == pytest.approx(np.pi * 30 * 40, rel=0.05)
    whole = region.within((60, 80))
    assert isinstance(whole, np.ndarray)
    assert whole.shape == (60, 80)
    assert whole.sum() == region.mask.sum()


def test_shapes_and_labels_agree_on_a_turned_image():
    image = Image(np.zeros((60, 80)), rotate=30, scale=(2, 2), translate=(5, 5))
    view = view_layer(image)
    corners = np.array([image.data_to_world(point) for point in box(12, 15, 44, 66)])
    shapes = Shapes([corners], shape_type="polygon")
    painted = np.zeros((60, 80), int)
    painted[12:44, 15:66] = 3
    labels = Labels(painted, rotate=30, scale=(2, 2), translate=(5, 5))
    by_shape, by_label = (region_of(marks, image, view) for marks in (shapes, labels))
    assert by_label.window == (slice(12, 44), slice(15, 66))
    masks = [region.within((60, 80)) for region in (by_shape, by_label)]
    full = np.zeros((2, 60, 80), bool)
    for target, mask in zip(full, masks, strict=True):
        target[mask] = True
    assert (full[0] != full[1]).sum() < 200


def test_labels_of_another_resolution_and_a_stack_are_understood():
    image = Image(np.zeros((4, 64, 64)))
    painted = np.zeros((4, 32, 32), int)
    painted[1, 8:24, 8:24] = 1
    labels = Labels(painted, scale=(1, 2, 2), translate=(0, 0.5, 0.5))
    region = region_of(labels, image, view_layer(image))
    assert region.mask is None
    assert region.window == (slice(16, 48), slice(16, 48))


def test_the_whole_and_the_view(image):
    view = view_layer(image)
    assert whole_region(view).size == (60, 80)
    image.corner_pixels = np.array([[5, 6], [39, 49]])
    assert visible_region(image, view).window == (slice(5, 40), slice(6, 50))


def test_the_view_of_a_coarse_level_is_given_in_the_chosen_one():
    finest = np.zeros((64, 64))
    image = Image([finest, finest[::2, ::2]])
    assert image.data_level == 1
    image.corner_pixels = np.array([[4, 4], [27, 29]])
    assert visible_region(image, view_layer(image)).window == (slice(8, 56), slice(8, 60))


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        (Shapes([box(10, 20, 12, 22)], shape_type="rectangle"), "16 x 16"),
        (Shapes([box(500, 500, 600, 600)], shape_type="rectangle"), "empty"),
        (Labels(np.zeros((60, 80), int)), "empty"),
        (Points([[3, 3]]), "Shapes or a Labels"),
    ],
)
def test_useless_marks_are_refused(image, marks, message):
    with pytest.raises(InputError, match=message):
        region_of(marks, image, view_layer(image))


def test_what_marks_a_huge_image_is_checked_without_looking_at_its_pixels(monkeypatch):
    monkeypatch.setattr("napari_deblur.plugin.regions.polygon2mask", None)  # fails when called
    image = Image(np.broadcast_to(np.uint8(0), (40_000, 40_000)), contrast_limits=(0, 1))
    shapes = Shapes([box(5, 5, 39_000, 39_000)], shape_type="polygon")
    check_marks(shapes, image, view_layer(image))


def test_regions_are_the_same_whatever_part_is_looked_at_together(image, monkeypatch):
    shapes = Shapes([box(10, 20, 40, 60)], shape_type="ellipse")
    labels = Labels(np.triu(np.ones((60, 80), int)), scale=(0.5, 0.5), translate=(10, 20))
    view = view_layer(image)
    whole = [region_of(marks, image, view).within(view.size) for marks in (shapes, labels)]
    monkeypatch.setattr("napari_deblur.plugin.regions._BAND", 7 * 80)
    parts = [region_of(marks, image, view).within(view.size) for marks in (shapes, labels)]
    np.testing.assert_array_equal(parts, whole)
