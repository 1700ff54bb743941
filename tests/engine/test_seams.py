"""Cutting an image must not show, whatever the kernel's size."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_deblur.engine import synthesis
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
    image, kernel = shake(picture(400, 400), size=21, seed=1, noise=0.01)
    options = {"model": model, "device": "cpu", "noise": 0.01}
    monkeypatch.setattr(synthesis, "_LARGEST_BLOCK", 64)
    kept = drain(deblur_steps(image, kernel, **options)).image
    computed = []
    plain = synthesis.deblur_block

    def everything(pair, image, plan, noise, clipped=None, wanted=None):
        computed.append(image.shape)
        return plain(pair, image, plan, noise, clipped)

    monkeypatch.setattr("napari_deblur.engine.restoration.deblur_block", everything)
    whole_blocks = drain(deblur_steps(image, kernel, **options)).image
    assert len(computed) > 1
    np.testing.assert_allclose(kept, whole_blocks, rtol=0, atol=1e-5)
