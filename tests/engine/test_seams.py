"""Cutting an image must not show, whatever the kernel's size."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from napari_deblur.engine import plans, synthesis
from napari_deblur.engine.run import deblur_steps, drain
from napari_deblur.engine.simulate import shake


@pytest.fixture(autouse=True)
def _in_float32(monkeypatch):
    # bfloat16's own rounding is larger than what is looked for.
    monkeypatch.setattr("napari_deblur.engine.pair.convolution_dtype", lambda _: torch.float32)


def picture(height, width):
    scene = np.random.default_rng(2).random((-(-height // 8), -(-width // 8)), np.float32)
    return np.kron(scene, np.ones((8, 8), np.float32))[:height, :width]


@pytest.mark.parametrize("side", [61, 171])
def test_tiles_give_what_the_whole_image_gives_with_long_kernels(model, side):
    image, kernel = shake(picture(230, 262), size=side, seed=1, noise=0.01)
    options = {"model": model, "device": "cpu", "noise": 0.01}
    whole = drain(deblur_steps(image, kernel, tile=512, **options)).image
    tiled = drain(deblur_steps(image, kernel, tile=64, **options)).image
    assert np.abs(whole - image).max() > 0.1
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-5)


def test_what_is_kept_of_a_block_does_not_depend_on_the_rest_being_computed(model, monkeypatch):
    image, kernel = shake(picture(300, 700), size=21, seed=1, noise=0.01)
    options = {"model": model, "device": "cpu", "noise": 0.01}
    monkeypatch.setattr(plans, "_LARGEST_BLOCK", 64)
    kept = drain(deblur_steps(image, kernel, **options)).image
    computed = []
    plain = synthesis.start_block

    def everything(pair, image, *rest, clipped, wanted):
        computed.append(image.shape)
        return plain(pair, image, *rest, clipped=clipped)

    monkeypatch.setattr("napari_deblur.engine.restoration.start_block", everything)
    whole_blocks = drain(deblur_steps(image, kernel, **options)).image
    assert len(computed) > 1
    np.testing.assert_allclose(kept, whole_blocks, rtol=0, atol=1e-5)


def watch_blocks(monkeypatch):
    """The blocks that images will be cut into, in a list that fills."""
    blocks = []
    plan = plans.plan_blocks

    def planned(*arguments):
        found = plan(*arguments)
        blocks.extend(found.blocks)
        return found

    monkeypatch.setattr("napari_deblur.engine.restoration.plan_blocks", planned)
    return blocks


@pytest.mark.parametrize(("side", "block"), [(21, 64), (45, 192)])
def test_no_step_shows_where_blocks_of_a_long_sharp_deconvolution_meet(monkeypatch, side, block):
    scene = picture(150, 1750) * 0.8 + 0.1
    image, kernel = shake(scene, size=side, seed=1, noise=0.002)
    options = {"model": "default", "device": "cpu", "noise": 0.002}
    whole = drain(deblur_steps(image, kernel, **options)).image
    monkeypatch.setattr(plans, "_LARGEST_BLOCK", block)
    blocks = watch_blocks(monkeypatch)
    cut = drain(deblur_steps(image, kernel, **options)).image
    borders = [block.owned[1].stop for block in blocks[:-1]]
    assert borders
    steps = np.diff(cut - whole, axis=1)
    for border in borders:
        at, around = steps[:, border - 1], steps[:, border - 21 : border + 20]
        assert abs(at.mean()) < 1e-3
        # Pixels differ a little on their own, there as nearby.
        assert np.abs(at).mean() < 1.8 * np.abs(around).mean()


@pytest.mark.parametrize(("side", "noise", "inside"), [(25, 0.01, 5e-4), (45, 0.002, 5e-3)])
def test_blocks_differ_from_the_whole_by_a_thousandth_where_they_meet(
    monkeypatch, side, noise, inside
):
    image, kernel = shake(picture(150, 1750) * 0.8 + 0.1, size=side, seed=1, noise=noise)
    options = {"model": "default", "device": "cpu", "noise": noise}
    whole = drain(deblur_steps(image, kernel, **options)).image
    monkeypatch.setattr(plans, "_LARGEST_BLOCK", 192)
    blocks = watch_blocks(monkeypatch)
    difference = drain(deblur_steps(image, kernel, **options)).image - whole

    def rms(columns):
        return np.sqrt(np.square(difference[:, columns]).mean())

    seams = [
        slice(right.counts[1].start, left.counts[1].stop)
        for left, right in itertools.pairwise(blocks)
    ]
    assert seams
    for seam in seams:
        assert rms(seam) < 1e-3
    # Some kernels from the borders there is next to nothing, unless the deconvolution rings far.
    assert rms(slice(300, 350)) < inside
    # A Fourier transform takes the opposite border for a neighbour; a block has another one.
    assert 5e-3 < rms(slice(0, 25)) < 3e-2
