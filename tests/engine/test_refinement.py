"""Kernels refined on the image: better than the network's, and never a worse explanation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.signal
import skimage.data
import torch

from napari_deblur.blur.alternation import energy
from napari_deblur.blur.forward import convolve
from napari_deblur.engine.layout import open_picture
from napari_deblur.engine.refinement import refine_kernel
from napari_deblur.engine.region import find_region
from napari_deblur.engine.run import deblur_steps, drain, kernel_steps
from napari_deblur.engine.simulate import shake
from napari_deblur.engine.views import look_at


def similarity(kernel, truth):
    """Normalised correlation at the best shift, which no blind method can know."""
    correlation = scipy.signal.correlate2d(kernel, truth)
    return correlation.max() / np.linalg.norm(kernel) / np.linalg.norm(truth)


def views_of(*images):
    pictures = [open_picture(image, value_range=(0, 1)) for image in images]
    frames = [(picture, find_region(None, picture.layout.size)) for picture in pictures]
    return look_at(frames, torch.device("cpu"))


def blob(size):
    """What an untrained network knows: something in the middle."""
    window = scipy.signal.windows.gaussian(size, size / 6)
    kernel = np.outer(window, window)
    return (kernel / kernel.sum()).astype(np.float32)


@pytest.fixture(scope="module")
def shaken():
    """A photograph (200, 200), float32, shaken with a kernel of up to 15 pixels."""
    sharp = skimage.data.camera()[60:260, 140:340] / np.float32(255)
    return shake(sharp, size=15, seed=5, noise=0.003)


def test_a_blob_becomes_much_like_the_true_kernel(shaken):
    blurry, truth = shaken
    refined = drain(refine_kernel(views_of(blurry), blob(15), 5))
    assert similarity(blob(15), truth) < 0.8
    assert similarity(refined, truth) > 0.85
    assert refined.dtype == np.float32
    assert refined.min() >= 0
    assert refined.sum() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("start", ["blob", "truth"])
def test_the_image_is_never_explained_worse_than_at_the_start(shaken, start):
    blurry, truth = shaken
    kernel = truth if start == "truth" else blob(15)
    refined = drain(refine_kernel(views_of(blurry), kernel, 1))
    image = [torch.from_numpy(np.asarray(blurry, np.float32))[None, None]]
    assert energy(image, refined) <= energy(image, kernel) * (1 + 1e-5)


def test_noise_is_not_taken_for_edges():
    """Were it, the blob would end at 0.69, and the true kernel at 0.66 in place of what it is."""
    sharp = skimage.data.camera()[60:260, 140:340] / np.float32(255)
    blurry, truth = shake(sharp, size=15, seed=3, noise=0.03)
    found, kept = (drain(refine_kernel(views_of(blurry), start, 5)) for start in (blob(15), truth))
    assert similarity(found, truth) > 0.73
    assert similarity(kept, truth) > 0.95


def test_frames_that_share_a_kernel_give_a_better_one_than_a_noisy_frame_alone(shaken):
    _, truth = shaken
    rng = np.random.default_rng(0)
    scenes = [skimage.data.camera()[y : y + 128, x : x + 128] for y, x in ((60, 140), (180, 300))]
    noisy = []
    for scene in scenes:
        image = torch.from_numpy(scene / np.float32(255))[None, None]
        blurred = convolve(image, torch.from_numpy(truth)[None], boundary="replicate")[0, 0]
        noisy.append((blurred.numpy() + 0.02 * rng.standard_normal(scene.shape)).astype(np.float32))
    alone = [drain(refine_kernel(views_of(each), blob(15), 3)) for each in noisy]
    pooled = drain(refine_kernel(views_of(*noisy), blob(15), 3))
    assert similarity(pooled, truth) > np.mean([similarity(each, truth) for each in alone])


def test_no_rounds_leave_the_networks_kernel(model, blurry):
    image, truth = blurry
    plain = drain(kernel_steps(image, model=model, device="cpu", refine=0))
    refined = drain(kernel_steps(image, model=model, device="cpu", refine=3))
    assert plain.settings["refine"] == 0
    assert similarity(refined.kernel, truth) > similarity(plain.kernel, truth)


def test_progress_counts_every_scale_of_every_start(shaken):
    blurry, _ = shaken
    steps = list(refine_kernel(views_of(blurry), blob(15), 1))
    assert [step.done for step in steps] == list(range(steps[-1].total + 1))
    assert {step.stage for step in steps} == {"refine"}


@pytest.mark.parametrize("paper", [False, True])
def test_progress_with_a_large_kernel_ends_where_it_said_however_few_go_on(shaken, paper):
    blurry = np.where(np.indices((96, 96)).sum(axis=0) % 64 < 8, 0, 1) if paper else shaken[0]
    small = np.asarray(blurry[:96, :96], np.float32)
    steps = list(refine_kernel(views_of(small), blob(9), 1, factor=0.5, size=19))
    assert all(after.done > before.done for before, after in itertools.pairwise(steps))
    assert steps[0].done == 0
    assert {step.total for step in steps} == {steps[-1].done}


def test_a_large_picture_is_worked_on_where_its_edges_are():
    wide = np.full((1100, 1300), 0.5, np.float32)
    wide[850:1050, 1050:1250] = skimage.data.camera()[60:260, 140:340] / np.float32(255)
    blurry, truth = shake(wide, size=15, seed=3, noise=0.003)
    refined = drain(refine_kernel(views_of(blurry), blob(15), 3))
    assert similarity(refined, truth) > 0.8


@pytest.mark.parametrize("refine", [0, 3])
def test_blur_larger_than_the_network_knows_is_looked_for_on_a_shrunk_image(model, refine):
    sharp = skimage.data.camera()[60:300, 140:380] / np.float32(255)
    blurry, truth = shake(sharp, size=25, seed=3, noise=0.003)
    result = drain(deblur_steps(blurry, model=model, device="cpu", kernel_size=27, refine=refine))
    assert result.kernel.shape == (27, 27)
    assert result.kernel.sum() == pytest.approx(1, abs=1e-5)
    if refine:
        assert similarity(result.kernel, truth) > 0.8


def test_a_given_kernel_may_be_larger_than_the_network_knows(model):
    sharp = skimage.data.camera()[60:300, 140:380] / np.float32(255)
    blurry, truth = shake(sharp, size=25, seed=3, noise=0.003)
    result = drain(deblur_steps(blurry, truth, model=model, device="cpu"))
    inner = np.s_[30:-30, 30:-30]
    before, after = (np.mean((x[inner] - sharp[inner]) ** 2) for x in (blurry, result.image))
    assert after < before / 3


def test_a_kernel_that_reaches_the_rim_is_looked_for_on_a_wider_support(model):
    """The model's own size is 15 pixels."""
    sharp = skimage.data.camera()[60:300, 140:380] / np.float32(255)
    kernel = np.zeros((25, 25), np.float32)
    kernel[12, 1:24] = 1 / 23
    batch = torch.from_numpy(sharp)[None, None]
    blurry = convolve(batch, torch.from_numpy(kernel)[None], boundary="replicate")[0, 0].numpy()

    found = drain(kernel_steps(blurry, model=model, device="cpu"))
    fixed = drain(kernel_steps(blurry, model=model, device="cpu", kernel_size=15))

    assert fixed.kernel.shape == (15, 15)
    assert found.kernel.shape[0] > 23
    assert similarity(found.kernel, kernel) > 0.8


def test_a_kernel_that_fits_keeps_the_models_size(model, shaken):
    blurry, _ = shaken
    assert drain(kernel_steps(blurry, model=model, device="cpu")).kernel.shape == (15, 15)
