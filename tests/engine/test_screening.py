"""Kernels bred from random curves."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import torch

from napari_deblur.blur.alternation import Schedule, resize_kernel
from napari_deblur.blur.curves import random_curves
from napari_deblur.blur.forward import convolve
from napari_deblur.blur.likeness import kernel_likeness
from napari_deblur.blur.pyramid import plan_scales
from napari_deblur.engine.progress import drain
from napari_deblur.engine.screening import STEPS, screen_curves, screening_scale
from napari_deblur.engine.views import Views

SCALES = plan_scales(45)
LAST = screening_scale(SCALES) + 1
SCHEDULE = Schedule()


@pytest.fixture(scope="module")
def case():
    """Views of a photograph blurred along a curve of up to 45 pixels, and that curve."""
    truth = random_curves(np.random.default_rng(5), 1, 45)
    sharp = torch.from_numpy(skimage.data.camera().astype(np.float32) / 255)[None, None]
    blurry = convolve(sharp, torch.from_numpy(truth), boundary="valid")
    return Views([blurry], None, 0.0), truth[0]


@pytest.fixture(scope="module")
def found(case):
    views, _ = case
    return drain(screen_curves(views, SCALES, LAST, SCHEDULE, 0.1))


@pytest.mark.parametrize("size", [33, 55, 79, 171])
def test_the_scale_is_the_first_where_a_kernel_shows_its_shape(size):
    scales = plan_scales(size)
    number = screening_scale(scales)
    assert 9 <= scales[number].kernel_size <= 15
    assert all(each.kernel_size < 9 for each in scales[:number])


def test_the_true_curve_comes_out_first_without_any_start(case, found):
    views, truth = case
    scale = SCALES[LAST]
    small = resize_kernel(truth, scale.factor, scale.kernel_size)
    assert found[0].shape == small.shape
    assert kernel_likeness(found[0], small) > 0.8
    costs = [views.at(scale).energy(each, 0.1) for each in found]
    assert costs == sorted(costs)


def test_no_two_that_come_out_are_alike(found):
    pairs = [(i, j) for i in range(len(found)) for j in range(i)]
    assert all(kernel_likeness(found[i], found[j]) < 0.93 for i, j in pairs)


def test_steps_are_as_many_as_announced(case):
    views, _ = case
    tiny = Views([views.images[0][..., :96, :96]], None, 0.0)
    scales = plan_scales(33)
    steps = screen_curves(tiny, scales, screening_scale(scales), Schedule(rounds=1), 0.1)
    assert sum(1 for _ in steps) == STEPS
