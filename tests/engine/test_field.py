"""Blur that varies over the field: given and found kernels, no seams, and no harm where it is even.

The field that is found is that of the model that ships; the others take networks without training.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import skimage.color
import skimage.data
import torch

from napari_deblur.blur.camera import expose_along, expose_depths, local_kernel, random_path
from napari_deblur.blur.field import FieldGrid, KernelField
from napari_deblur.blur.kernel import delta_kernel
from napari_deblur.blur.kernel_bank import straight_motion
from napari_deblur.blur.likeness import kernel_likeness
from napari_deblur.engine import belief, plans
from napari_deblur.engine.areas import choose_kernels
from napari_deblur.engine.belief import Costs, choose_field, everywhere, explains
from napari_deblur.engine.field import choose_grid
from napari_deblur.engine.local import find_local_kernels
from napari_deblur.engine.options import Options
from napari_deblur.engine.patches import look, shrink
from napari_deblur.engine.region import find_region
from napari_deblur.engine.rolling import find_motion
from napari_deblur.engine.run import deblur_steps, drain, kernel_grid_steps
from napari_deblur.engine.simulate import shake
from napari_deblur.errors import InputError, KernelError
from napari_deblur.evaluation.alignment import align

CPU = torch.device("cpu")
SIZE = 17


def photograph(height, width):
    return skimage.data.camera()[60 : 60 + height, 140 : 140 + width] / np.float32(255)


def align_error(image, sharp):
    return align(image, sharp, crop=20, largest=3).squared_error


def error(image, sharp):
    inner = np.s_[20:-20, 20:-20]
    return np.mean((np.float64(image)[inner] - sharp[inner]) ** 2)


@pytest.fixture(scope="module")
def rolled():
    """A photograph (224, 256) by a rolling camera, sharp and blurry, and its true kernels."""
    sharp = photograph(224, 256)
    path = random_path(np.random.default_rng(5), roll=0.05, shift=5, radius=170)
    grid = FieldGrid(sharp.shape, (5, 6))
    middle = (np.array(sharp.shape) - 1) / 2
    kernels = [local_kernel(path, tuple(grid.centre(cell) - middle), SIZE) for cell in grid.cells]
    return sharp, expose_along(sharp[None], path)[0], np.reshape(kernels, (5, 6, SIZE, SIZE))


@pytest.fixture(scope="module")
def even():
    """A photograph (192, 224) shaken by one kernel of up to 13 pixels, and the kernel."""
    return shake(photograph(192, 224), size=13, seed=3, noise=0.003)


# ------------------------------------------------------------------ given kernels


def test_local_kernels_sharpen_what_one_kernel_cannot(model, rolled):
    sharp, blurry, kernels = rolled
    field = drain(deblur_steps(blurry, kernels, model=model, device="cpu"))
    one = drain(deblur_steps(blurry, kernels[2, 3], model=model, device="cpu"))
    assert field.field.grid.shape == (5, 6)
    assert one.field is None
    assert error(field.image, sharp) < 0.5 * error(one.image, sharp)
    assert error(field.image, sharp) < 0.5 * error(blurry, sharp)


def test_a_field_of_equal_kernels_is_one_kernel(even):
    blurry, kernel = even
    options = {"device": "cpu", "noise": 0.005}
    one = drain(deblur_steps(blurry, kernel, **options)).image
    kernels = np.broadcast_to(kernel, (3, 4, *kernel.shape)).copy()
    np.testing.assert_array_equal(drain(deblur_steps(blurry, kernels, **options)).image, one)

    # One that is different by next to nothing: cell by cell, and as good.
    kernels[2, 3] = np.roll(kernel, 1, axis=0) * 1e-6 + kernel
    field = drain(deblur_steps(blurry, kernels, **options)).image
    assert (field != one).any()
    sharp = photograph(192, 224)
    assert 10 * np.log10(error(field, sharp) / error(one, sharp)) < 0.1  # dB


def test_blocks_of_a_large_image_join_without_seams(rolled, monkeypatch):
    _, blurry, kernels = rolled
    options = {"device": "cpu", "noise": 0.01}
    whole = drain(deblur_steps(blurry, kernels, **options)).image
    monkeypatch.setattr(plans, "_LARGEST_BLOCK", 128)
    blocks = drain(deblur_steps(blurry, kernels, **options)).image
    assert np.sqrt(np.mean((whole - blocks) ** 2)) < 2e-3
    steps = np.abs(np.diff(blocks - whole, axis=0)).mean(axis=1)
    assert steps.max() < 2e-3


def test_colours_dtypes_and_outputs_are_as_with_one_kernel(model, rolled):
    _, blurry, kernels = rolled
    colour = np.uint16(60000 * np.stack([blurry, blurry[::-1], blurry[:, ::-1]], axis=-1))
    out = np.zeros_like(colour)
    options = {"model": model, "device": "cpu"}
    result = drain(deblur_steps(colour, kernels, channel_axis=-1, out=out, **options))
    assert result.image is out
    alone = drain(
        deblur_steps(
            colour[..., 0],
            kernels,
            value_range=(0, 65535),
            noise=result.settings["noise"],
            **options,
        )
    )
    assert np.abs(out[..., 0].astype(float) - alone.image).mean() < 100
    grey = np.repeat(colour[..., :1], 3, axis=-1)
    rgb = drain(deblur_steps(grey, kernels, noise=result.settings["noise"], **options))
    assert np.abs(rgb.image[..., 1].astype(float) - alone.image).mean() < 10


# ------------------------------------------------------------------ kernels that are found


@pytest.fixture
def less_sure(monkeypatch):
    """Of images as small as here the choice cannot be as sure as it must be."""
    monkeypatch.setattr(belief, "explains", partial(explains, sure=2.5))


def test_even_blur_gives_exactly_what_one_kernel_gives(even):
    blurry, _ = even
    options = {"device": "cpu", "kernel_size": SIZE, "refine": 3}
    grid = drain(deblur_steps(blurry, field="grid", grid=(2, 2), **options))
    one = drain(deblur_steps(blurry, **options))
    assert grid.field is None
    assert grid.settings["weights"] == one.settings["weights"]
    np.testing.assert_array_equal(grid.kernel, one.kernel)
    np.testing.assert_array_equal(grid.image, one.image)


@pytest.mark.usefixtures("less_sure")
def test_two_depths_are_told_from_one_and_each_gets_its_kernel():
    sharp = skimage.data.camera()[40:344, 80:416] / np.float32(255)
    near = np.zeros(sharp.shape, bool)
    near[:, 168:] = True
    kernels = (straight_motion(13, 45, SIZE), straight_motion(7, -45, SIZE))
    blurry = expose_depths(sharp[None], near, kernels)[0]
    found = drain(deblur_steps(blurry, field="grid", kernel_size=SIZE, device="cpu"))
    assert found.field is not None
    assert "correction" not in found.settings["weights"]
    np.testing.assert_allclose(found.field.kernels.sum(axis=(2, 3)), 1, atol=1e-5)

    one = drain(deblur_steps(blurry, found.kernel, device="cpu"))
    errors = {
        "far": [align_error(each.image[:, :168], sharp[:, :168]) for each in (found, one)],
        "near": [align_error(each.image[:, 168:], sharp[:, 168:]) for each in (found, one)],
    }
    assert min(found_ / one_ for found_, one_ in errors.values()) < 0.7, errors
    assert sum(each[0] for each in errors.values()) < sum(each[1] for each in errors.values())


@pytest.mark.usefixtures("less_sure")
def test_kernels_found_under_a_rolling_camera_sharpen_more_than_one():
    sharp = skimage.color.rgb2gray(skimage.data.astronaut())[20:330, 60:400].astype(np.float32)
    path = random_path(np.random.default_rng(1), roll=0.06, shift=5, radius=227)
    blurry = expose_along(sharp[None], path)[0]
    found = drain(deblur_steps(blurry, field="grid", grid=(3, 3), kernel_size=19, device="cpu"))
    one = drain(deblur_steps(blurry, found.kernel, device="cpu"))
    assert found.field is not None
    assert align_error(found.image, sharp) < 0.8 * align_error(one.image, sharp)


def test_cells_without_texture_get_the_kernels_of_others():
    sharp = photograph(192, 224).copy()
    sharp[:, 100:] = 0.5
    near = np.zeros(sharp.shape, bool)
    near[96:] = True
    kernels = (straight_motion(9, 0, SIZE), straight_motion(9, 90, SIZE))
    blurry = expose_depths(sharp[None], near, kernels)[0]
    result = drain(kernel_grid_steps(blurry, grid=(2, 3), device="cpu", kernel_size=SIZE, refine=3))
    assert result.evidence[:, 2].max() < 0.2 * result.evidence[:, :2].min()
    assert result.field.kernels.shape == (2, 3, SIZE, SIZE)
    np.testing.assert_allclose(result.field.kernels.sum(axis=(2, 3)), 1, atol=1e-5)


def test_an_image_without_texture_has_kernels_that_change_nothing(model):
    flat = np.full((64, 80), 0.4, np.float32)
    with pytest.warns(UserWarning, match="no texture"):
        result = drain(kernel_grid_steps(flat, grid=(2, 2), model=model, device="cpu"))
    assert not result.informative
    assert not result.varies
    assert not result.trusted.any()
    np.testing.assert_array_equal(result.field.kernels[1, 1], delta_kernel(15))


def test_progress_names_known_stages_and_never_more_than_there_is(model, even):
    blurry, _ = even
    steps = kernel_grid_steps(blurry, grid=(2, 2), model=model, device="cpu", refine=1)
    stages = [(step.stage, step.done, step.total) for step in steps]
    assert {stage for stage, _, _ in stages} == {"load", "kernel", "refine"}
    assert all(done <= total for _, done, total in stages)
    assert stages[-1][1] == stages[-1][2]


# ------------------------------------------------------------------ parts


def test_strong_cells_decide_alone_and_flat_ones_with_their_neighbours():
    sharp = photograph(192, 224).copy()
    sharp[:, 112:] = 0.5 + 0.02 * (sharp[:, 112:] - 0.5)
    kernel = straight_motion(9, 30, SIZE)
    blurry = expose_depths(sharp[None], np.ones(sharp.shape, bool), (kernel, kernel))[0]
    picture = Options(value_range=(0, 1)).open(blurry)
    grid = FieldGrid(sharp.shape, (1, 2))
    patches = look([(picture, find_region(None, sharp.shape))], grid, 512, CPU)
    start = np.stack([delta_kernel(SIZE)] * 2)
    start[:, 8, 7:10] = 1 / 3
    found = drain(find_local_kernels(start, grid, patches, 3))
    norms = np.linalg.norm(found, axis=(1, 2))
    assert (found[0] * found[1]).sum() / norms.prod() > 0.9


def _two_halves():
    """A picture of 192 x 256 pixels, and the kernels of its left and right half."""
    sharp = photograph(192, 256)
    right = np.zeros(sharp.shape, bool)
    right[:, 128:] = True
    kernels = np.stack([straight_motion(9, 0, SIZE), straight_motion(9, 90, SIZE)])
    blurry = expose_depths(sharp[None], right, (kernels[1], kernels[0]))[0]
    picture = Options(value_range=(0, 1)).open(blurry)
    return picture, kernels


def test_a_field_must_be_worse_mirrored_than_it_is_and_no_worse_than_one_kernel():
    picture, kernels = _two_halves()
    frames = [(picture, find_region(None, picture.layout.size))]
    patches = look(frames, FieldGrid(picture.layout.size, (3, 4)), 512, CPU)
    size = picture.layout.size
    field, turned = (KernelField(each[None], size) for each in (kernels, kernels[::-1]))
    one = kernels[0]
    known = Costs(patches)

    assert explains(known, field.at, one)
    assert not explains(known, field.at, one, sure=1000)
    assert not explains(known, field.at, one, at_most=0.5)
    assert not explains(known, turned.at, one)
    assert not explains(known, everywhere(one), one)
    # A freer field that is no cheaper is not taken, nor one that is not believed.
    assert choose_field(known, [everywhere(one), field.at, field.at], one) == 1
    assert choose_field(known, [everywhere(one), turned.at], one) is None


def test_a_part_is_explained_once_with_a_kernel(monkeypatch):
    picture, kernels = _two_halves()
    frames = [(picture, find_region(None, picture.layout.size))]
    grid = FieldGrid(picture.layout.size, (2, 2))
    costs = Costs(look(frames, grid, 512, CPU, around=0))
    asked = []
    explain = belief.energy
    monkeypatch.setattr(belief, "energy", lambda *a, **k: asked.append(a) or explain(*a, **k))
    first = [costs.of(everywhere(kernel)) for kernel in kernels]
    assert len(asked) == 8
    assert not (first[0] == first[1]).any()
    halves = KernelField(np.stack([kernels, kernels]), picture.layout.size)
    mixed = costs.of(halves.at)
    assert len(asked) == 8
    np.testing.assert_array_equal(mixed, np.where([1, 0, 1, 0], *first))


def test_parts_share_the_kernels_of_areas_and_others_choose_for_one():
    picture, kernels = _two_halves()
    grid = FieldGrid(picture.layout.size, (3, 4))
    parts = look([(picture, find_region(None, picture.layout.size))], grid, 512, CPU, around=0)
    shown = [each for each in parts if each.cell != (1, 3)]  # a cell that shows nothing
    for seen, own in ((parts, 1), (parts, 0), (shown, 1)):
        chosen = choose_kernels(Costs(seen), grid.shape, kernels, own=own)
        np.testing.assert_array_equal(chosen[:, 0], kernels[[0] * 3])
        np.testing.assert_array_equal(chosen[:, 3], kernels[[1] * 3])
    # What is alone of its kind gets its way only where it is asked.
    lead = np.subtract(*(Costs(parts).of(everywhere(k)) for k in kernels))
    surest = parts[int(np.argmax(lead))]
    odd = [each if each.cell != (1, 0) else replace(surest, cell=(1, 0)) for each in parts]
    assert (choose_kernels(Costs(odd), grid.shape, kernels, own=0)[1, 0] == kernels[0]).all()
    assert (choose_kernels(Costs(odd), grid.shape, kernels, own=100)[1, 0] == kernels[1]).all()


def test_a_still_camera_is_found_to_roll_as_it_did(rolled):
    _, blurry, kernels = rolled
    picture = Options(value_range=(0, 1)).open(blurry)
    frames = [(picture, find_region(None, blurry.shape))]
    parts = [
        look(frames, FieldGrid(blurry.shape, each), 256, CPU, around=0) for each in ((3, 3), (3, 4))
    ]
    start = kernels.mean(axis=(0, 1))
    motion = drain(find_motion(start, 170.0, *parts, rounds=3))
    grid = FieldGrid(blurry.shape, kernels.shape[:2])
    places = np.array([grid.centre(cell) for cell in grid.cells]) - (np.array(blurry.shape) - 1) / 2
    truth = kernels.reshape(-1, SIZE, SIZE)
    before, after = (
        np.mean([kernel_likeness(*pair) for pair in zip(found, truth, strict=True)])
        for found in ([start] * len(truth), motion.kernels(places))
    )
    assert after > before + 0.05


def test_a_patch_knows_where_it_is_at_every_scale():
    picture = Options(value_range=(0, 1)).open(photograph(200, 240))
    grid = FieldGrid((200, 240), (2, 2))
    patches = look([(picture, find_region(None, (200, 240)))], grid, 512, CPU)
    assert [each.cell for each in patches] == grid.cells
    assert patches[0].image.shape == (1, 1, 150, 180)
    assert patches[0].position == (-25.0, -30.0)
    assert patches[3].position == (25.0, 30.0)
    assert shrink(patches[3], 0.5).position == (12.5, 15.0)
    apart = look([(picture, find_region(None, (200, 240)))], grid, 512, CPU, around=0)
    assert apart[3].image.shape == (1, 1, 100, 120)
    assert apart[3].position == (50.0, 60.0)
    small = look([(picture, find_region(None, (200, 240)))], grid, 64, CPU)
    assert small[0].image.shape == (1, 1, 64, 64)


def test_the_grid_suits_image_and_blur():
    assert choose_grid((100, 100), 15) == (1, 1)
    assert choose_grid((480, 640), 15) == (4, 6)
    assert choose_grid((480, 640), 61) == (2, 3)
    assert choose_grid((6000, 9000), 15) == (6, 6)


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("options", "error_type", "message"),
    [
        ({"field": "varying"}, InputError, "field 'varying'"),
        ({"grid": (2, 2)}, InputError, "field='grid'"),
        ({"field": "grid", "grid": (2, 0)}, InputError, r"\(2, 0\)"),
        ({"field": "grid", "grid": "2x2"}, InputError, "'2x2'"),
        ({"field": "grid", "grid": (2, 30)}, InputError, "2 x 30 does not fit"),
        ({"field": "grid", "kernel": np.ones((3, 3))}, InputError, "leave one of the two out"),
        ({"kernel": np.ones((2, 2, 3, 4))}, KernelError, r"\(2, 2, 3, 4\)"),
        ({"kernel": np.ones((2, 2, 4, 4))}, KernelError, "4x4"),
        ({"kernel": np.ones((2, 30, 3, 3))}, InputError, "2 x 30 does not fit"),
    ],
)
def test_what_does_not_go_together_is_named_before_any_work(
    model, even, options, error_type, message
):
    with pytest.raises(error_type, match=message):
        drain(deblur_steps(even[0], **{"model": model, "device": "cpu", **options}))


def test_images_of_different_sizes_share_no_field(model, even):
    with pytest.raises(InputError, match="64 x 64 and 192 x 224"):
        drain(kernel_grid_steps(even[0], even[0][:64, :64], model=model, device="cpu"))
