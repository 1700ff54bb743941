"""Each widget, docked with the real manifest, runs with the real worker on each kind of layer."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image

from napari_deblur.plugin.metadata import KEY
from napari_deblur.plugin.run import State

pytestmark = pytest.mark.gui


def test_deblur_gives_a_layer_like_the_source(dock, finished, any_layer):
    viewer, widget = dock("Deblur")
    viewer.add_layer(any_layer)
    finished(widget)
    result = viewer.layers[f"{any_layer.name} deblurred"]
    source = any_layer.data[0] if any_layer.multiscale else any_layer.data
    assert result.data.shape == tuple(source.shape)
    assert result.data.dtype == source.dtype
    assert result.rgb == any_layer.rgb
    np.testing.assert_allclose(result.extent.world, any_layer.extent.world)
    assert np.ptp(result.data) > 0
    assert "Done" in widget.status
    assert f"kernel of {any_layer.name}" in viewer.layers


def test_estimate_adds_a_kernel_layer_and_updates_it_in_place(dock, finished, any_layer):
    viewer, widget = dock("Estimate blur kernel")
    viewer.add_layer(any_layer)
    finished(widget)
    about = viewer.layers[f"kernel of {any_layer.name}"].metadata[KEY]
    assert 1 <= about["support"] <= about["size"] == 15
    assert widget._run.text == "Update kernel"
    before = list(viewer.layers)
    finished(widget)
    assert list(viewer.layers) == before


def test_kernel_map_lies_upon_the_image(dock, finished, any_layer):
    viewer, widget = dock("Kernel map")
    viewer.add_layer(any_layer)
    widget._rows.value, widget._columns.value = 2, 3
    finished(widget)
    mosaic = viewer.layers[f"kernel map of {any_layer.name}"]
    assert mosaic.metadata[KEY]["kernels"].shape == (2, 3, 15, 15)
    shown = [list(layer.extent.world[:, -2:].T) for layer in (mosaic, any_layer)]
    if any_layer.name not in ("yxt", "singletons"):
        np.testing.assert_allclose(shown[0], shown[1], atol=0.1 * np.ptp(shown[1]))


def test_shake_gives_the_truth_along(dock, finished, any_layer):
    viewer, widget = dock("Simulate camera shake")
    viewer.add_layer(any_layer)
    widget._size.value = 9
    finished(widget)
    shaken = viewer.layers[f"{any_layer.name} shaken"]
    assert viewer.layers[f"true kernel of {any_layer.name} shaken"].metadata[KEY]["size"] == 9
    source = any_layer.data[0] if any_layer.multiscale else any_layer.data
    assert np.ptp(np.asarray(shaken.data, float) - np.asarray(source, float)) > 0


@pytest.mark.parametrize(
    "title", ["Deblur", "Estimate blur kernel", "Kernel map", "Simulate camera shake"]
)
def test_every_widget_can_be_cancelled(dock, qtbot, make_layer, title):
    viewer, widget = dock(title)
    viewer.add_layer(make_layer("tyx"))
    widget._run.native.click()
    widget._cancel.native.click()
    assert widget.state is State.CANCELLING
    qtbot.waitUntil(lambda: widget.state is State.IDLE, timeout=30_000)
    assert widget.status == "Cancelled; nothing was changed."
    assert [layer.name for layer in viewer.layers] == ["tyx"]
    assert widget._run.enabled


@pytest.mark.parametrize("planes", ["pooled", "shown"])
def test_a_stack_can_share_one_kernel(dock, finished, make_layer, planes):
    viewer, widget = dock("Estimate blur kernel")
    viewer.add_layer(make_layer("tyx"))
    widget._planes.value = planes
    finished(widget)
    kernel = viewer.layers["kernel of tyx"]
    assert kernel.data.shape == (15, 15)
    np.testing.assert_allclose(kernel.scale, (0.2, 0.2))


def test_deblur_takes_a_kernel_layer_for_each_plane(dock, finished, make_layer):
    viewer, widget = dock("Deblur")
    layer = viewer.add_layer(make_layer("tyx"))
    kernels = np.zeros((3, 5, 5), np.float32)
    kernels[:, 2, 2] = 1
    viewer.add_image(kernels, name="drawn")
    widget.source.image.value = layer
    widget._kernel.value = viewer.layers["drawn"]
    finished(widget)
    assert "kernel of tyx" not in viewer.layers
    about = viewer.layers["tyx deblurred"].metadata[KEY]
    assert about["parameters"]["kernel"] == {"layer": "drawn"}


def test_an_estimated_kernel_is_taken_for_its_image_and_for_no_other(dock, finished, make_layer):
    viewer, estimate = dock("Estimate blur kernel")
    layer, other = viewer.add_layer(make_layer("yx uint8")), viewer.add_layer(make_layer("rgb"))
    _, deblur = dock("Deblur", viewer)
    deblur.source.image.value = estimate.source.image.value = layer
    assert deblur._kernel.value == "each"
    finished(estimate)
    assert deblur._kernel.value == viewer.layers["kernel of yx uint8"]
    deblur._kernel.value = "each"
    finished(estimate)
    assert deblur._kernel.value == "each", "a choice by hand is left alone"
    deblur._kernel.value = viewer.layers["kernel of yx uint8"]
    deblur.source.image.value = other
    assert deblur._kernel.value == "each"


def test_a_new_widget_takes_what_is_selected_and_of_a_result_its_source(dock, finished, make_layer):
    viewer, deblur = dock("Deblur")
    viewer.add_layer(make_layer("rgb"))
    layer = viewer.add_layer(make_layer("yx uint8"))
    viewer.layers.selection.active = layer
    deblur.source.image.value = layer
    finished(deblur)
    viewer.layers.selection.active = viewer.layers["yx uint8 deblurred"]
    _, estimate = dock("Estimate blur kernel", viewer)
    assert estimate.source.image.value == layer
    viewer.layers.selection.active = viewer.layers["rgb"]
    _, shake = dock("Simulate camera shake", viewer)
    assert shake.source.image.value == viewer.layers["rgb"]


def test_of_a_sample_the_shaken_picture_is_taken(dock):
    viewer, _ = dock("Simulate camera shake")
    viewer.open_sample("napari-deblur", "fluorescence")
    _, deblur = dock("Deblur", viewer)
    assert deblur.source.image.value == viewer.layers["cells shaken"]
    assert deblur._truth.value == viewer.layers["cells"]


def test_docks_take_little_room_whatever_they_show(dock, make_layer):
    viewer, deblur = dock("Deblur")
    layer = viewer.add_layer(make_layer("yx uint8"))
    deblur._advanced.open()
    before = deblur.native.minimumSizeHint()
    assert before.height() <= 150, "several of them are not higher than the screen"
    layer.name = "a_name_without_any_space_" * 10
    deblur._engine.folder.value = "/nowhere/" + "in_a_folder_" * 20
    assert "in_a_folder_in_a_folder" in deblur.status
    deblur.native.layout().activate()
    assert deblur.native.minimumSizeHint().width() <= before.width()


def test_where_there_is_no_blur_to_see_that_is_said(dock, finished):
    viewer, widget = dock("Deblur")
    viewer.add_image(np.full((48, 48), 7, np.uint8), name="blank")
    finished(widget)
    assert "no blur was found" in widget.status


def test_the_truth_is_asked_for_only_where_there_could_be_one(dock, finished, make_layer):
    viewer, widget = dock("Deblur")
    layer = viewer.add_layer(make_layer("yx uint8"))
    finished(widget)
    assert not widget._truth.native.isVisibleTo(widget.native)
    viewer.add_image(layer.data // 2, name="sharp")
    widget.source.image.value = layer
    assert widget._truth.native.isVisibleTo(widget.native)
    assert [each.name for each in widget._truth.choices if each is not None] == ["sharp"]


def test_the_model_can_be_left_to_the_size_of_the_blur(dock, finished, make_layer):
    viewer, widget = dock("Deblur")
    viewer.add_layer(make_layer("yx uint8"))
    widget._engine.model.value = "auto"
    finished(widget)
    about = viewer.layers["yx uint8 deblurred"].metadata[KEY]
    assert about["parameters"]["model"] == "auto"
    assert sum(about["found"]["size_chances"]) == pytest.approx(1, abs=1e-3)
    assert f"with {about['model']}" in widget.status
    assert "--model=auto" in about["command_line"]
    assert "model='auto'" in about["python"]


@pytest.mark.parametrize("mark", ["rectangle", "labels", "view"])
def test_kernel_from_a_part_of_the_image(dock, finished, make_layer, mark):
    viewer, widget = dock("Estimate blur kernel")
    viewer.add_layer(make_layer("yx float"))
    if mark == "rectangle":
        marks = viewer.add_shapes([[4, 4], [4, 40], [36, 40], [36, 4]], shape_type="rectangle")
    elif mark == "labels":
        painted = np.zeros((48, 48), int)
        painted[8:40, 8:40] = np.triu(np.ones((32, 32), int))
        marks = viewer.add_labels(painted)
    widget._where.value = "current view" if mark == "view" else marks
    finished(widget)
    region = viewer.layers["kernel of yx float"].metadata[KEY]["parameters"]["region"]
    expected = {"rectangle": {"layer": "Shapes"}, "labels": {"layer": "painted"}}
    assert region == expected.get(mark, region)


def test_what_is_drawn_after_the_shapes_were_chosen_counts(dock, make_layer):
    viewer, widget = dock("Estimate blur kernel")
    viewer.add_layer(make_layer("yx float"))
    shapes = viewer.add_shapes(ndim=2, name="drawn")
    widget._where.value = shapes
    assert not widget._run.enabled
    assert "draw" in widget.status
    shapes.add_rectangles([[4, 4], [36, 40]])
    assert widget._run.enabled
    shapes.data = []
    assert not widget._run.enabled
    viewer.layers.remove(shapes)
    assert widget._run.enabled


def test_preview_deblurs_the_view_in_its_place(dock, finished, make_layer):
    viewer, widget = dock("Deblur")
    layer = viewer.add_layer(make_layer("tyx"))
    viewer.dims.set_point(0, 12.0)  # the second frame
    layer.corner_pixels = np.array([[0, 10, 12], [0, 33, 39]])
    widget._preview.value = True
    finished(widget)
    preview = viewer.layers["tyx deblurred (preview)"]
    assert preview.data.shape == (1, 24, 28)
    np.testing.assert_allclose(preview.translate, [12, 1 + 10 * 0.2, -1 + 12 * 0.2])
    finished(widget)
    assert sum("preview" in each.name for each in viewer.layers) == 1


def test_level_of_a_multiscale_layer_can_be_chosen(dock, finished, make_layer):
    viewer, widget = dock("Deblur")
    viewer.add_layer(make_layer("multiscale"))
    widget.source.level_field.value = 1
    finished(widget)
    result = viewer.layers["multiscale deblurred"]
    assert result.data.shape == (32, 36)
    np.testing.assert_allclose(result.scale, (1, 1))
    assert result.metadata[KEY]["source"]["level"] == 1


def test_with_a_truth_layer_quality_is_shown(dock, finished, make_layer):
    viewer, widget = dock("Simulate camera shake")
    viewer.add_layer(make_layer("yx uint8"))
    widget._size.value = 5
    finished(widget)
    _, deblur = dock("Deblur", viewer)
    deblur.source.image.value = viewer.layers["yx uint8 shaken"]
    assert deblur._truth.value is not None, "the truth is suggested"
    finished(deblur)
    quality = viewer.layers["yx uint8 shaken deblurred"].metadata[KEY]["quality"]
    assert "PSNR" in deblur.status
    assert np.isfinite(quality["psnr_before"])


def test_a_result_is_compared_with_the_truth_that_was_chosen_for_it(dock, qtbot, make_layer):
    viewer, deblur = dock("Deblur")
    blurry, other = viewer.add_layer(make_layer("yx uint8")), viewer.add_layer(make_layer("rgb"))
    viewer.add_image(blurry.data // 2, name="sharp")
    deblur.source.image.value = blurry
    deblur._truth.value = viewer.layers["sharp"]
    deblur._run.native.click()
    deblur.source.image.value = other  # as nobody need wait for the end
    qtbot.waitUntil(lambda: deblur.state is State.IDLE, timeout=60_000)
    about = viewer.layers["yx uint8 deblurred"].metadata[KEY]
    assert about["parameters"]["truth"] == {"layer": "sharp"}
    assert "quality" in about
    assert "PSNR" in deblur.status


def test_a_result_can_be_copied_as_command_and_code(dock, finished, make_layer, qapp):
    viewer, widget = dock("Deblur")
    viewer.add_layer(make_layer("yx uint8"))
    assert not widget._copying.command.enabled
    finished(widget)
    widget._copying.command.native.click()
    assert qapp.clipboard().text().startswith("napari-deblur deblur 'yx uint8.tif' -o")
    widget._copying.python.native.click()
    code = qapp.clipboard().text()
    before = viewer.layers["yx uint8 deblurred"].data
    exec(code, {"viewer": viewer})
    again = [layer for layer in viewer.layers if layer.name.startswith("yx uint8 deblurred")]
    assert len(again) == 2
    np.testing.assert_array_equal(again[1].data, before)


def test_wrong_values_disable_run_and_say_why(dock, make_layer):
    viewer, widget = dock("Deblur")
    assert not widget._run.enabled
    assert "Open Sample" in widget._run.tooltip
    viewer.add_layer(make_layer("yx uint8"))
    assert widget._run.enabled, widget._run.tooltip
    widget._engine.tile.value = 10
    assert not widget._run.enabled
    assert "64" in widget._engine.tile.tooltip
    assert "border" in widget._engine.tile.native.styleSheet()
    widget._engine.tile.value = 0
    assert widget._run.enabled
    assert "border" not in widget._engine.tile.native.styleSheet()
    widget._engine.folder.value = "/nowhere"
    assert not widget._run.enabled
    assert "analysis.safetensors" in widget._run.tooltip


@pytest.mark.parametrize(("text", "noise"), [("", None), ("0", 0.0), ("2.5e-3", 0.0025)])
def test_noise_is_measured_where_none_is_given(dock, finished, make_layer, text, noise):
    viewer, widget = dock("Deblur")
    viewer.add_layer(make_layer("yx float"))
    widget._noise.value = text
    finished(widget)
    about = viewer.layers["yx float deblurred"].metadata[KEY]
    assert about["parameters"]["noise"] == noise
    assert ("measured" in widget.status) == (noise is None)


@pytest.mark.parametrize("text", ["much", "-1", "nan", "inf"])
def test_what_is_no_noise_is_refused(dock, make_layer, text):
    viewer, widget = dock("Deblur")
    viewer.add_layer(make_layer("yx float"))
    widget._noise.value = text
    assert not widget._run.enabled
    assert repr(text) in widget._noise.tooltip


def test_what_is_wrong_is_seen_after_a_result_too(dock, finished, make_layer):
    viewer, widget = dock("Deblur")
    viewer.add_layer(make_layer("yx float"))
    finished(widget)
    done = widget.status
    assert not widget._engine.tile.native.isVisibleTo(widget.native)
    widget._engine.tile.value = 10
    assert widget._engine.tile.native.isVisibleTo(widget.native), "the group opens"
    assert "64" in widget.status
    widget._engine.tile.value = 0
    assert widget.status == done


def test_a_mask_is_refused_before_the_run(dock, make_layer):
    viewer, widget = dock("Simulate camera shake")
    viewer.add_image(np.ones((40, 40), bool), name="mask")
    assert not widget._run.enabled
    assert "bool" in widget._run.tooltip


def test_too_small_an_image_is_refused_before_the_run(dock):
    viewer, widget = dock("Estimate blur kernel")
    viewer.add_image(np.zeros((12, 40)), name="strip")
    assert not widget._run.enabled
    assert "16 x 16" in widget._run.tooltip


def test_a_kernel_stack_of_another_length_is_refused(dock, make_layer):
    viewer, widget = dock("Deblur")
    layer = viewer.add_layer(make_layer("tyx"))
    viewer.add_image(np.ones((2, 5, 5)), name="two")
    widget.source.image.value = layer
    widget._kernel.value = viewer.layers["two"]
    assert not widget._run.enabled
    assert "one for each plane" in widget._run.tooltip


def test_an_error_of_the_engine_is_said_and_leaves_nothing(dock, qtbot):
    viewer, widget = dock("Deblur")
    frames = np.zeros((2, 32, 32))
    frames[1, 5, 7] = np.nan
    viewer.add_image(frames, name="holes", contrast_limits=(0, 1))
    widget._run.native.click()
    qtbot.waitUntil(lambda: widget.state is State.IDLE, timeout=30_000)
    assert "plane T1: " in widget.status
    assert "finite" in widget.status
    assert [layer.name for layer in viewer.layers] == ["holes"]


def test_a_result_too_large_for_the_memory_goes_to_a_file(dock, finished, make_layer, monkeypatch):
    monkeypatch.setattr("napari_deblur.plugin.scratch._SHARE", 0.0)
    viewer, widget = dock("Deblur")
    viewer.add_layer(make_layer("tyx"))
    finished(widget)
    result = viewer.layers["tyx deblurred"].data
    assert isinstance(result, np.memmap)
    assert np.ptp(result, axis=(1, 2)).min() > 0
    assert sum(layer.name.startswith("tyx deblurred") for layer in viewer.layers) == 1


def test_kernel_layers_are_not_offered_as_images(dock, finished, make_layer):
    viewer, widget = dock("Estimate blur kernel")
    viewer.add_layer(make_layer("yx uint8"))
    finished(widget)
    offered = [layer.name for layer in widget.source.image.choices if isinstance(layer, Image)]
    assert offered == ["yx uint8"]
