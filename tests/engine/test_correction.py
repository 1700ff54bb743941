"""The last step to a kernel, with the network that ships."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage import data

import napari_deblur
from napari_deblur.blur.forward import convolve
from napari_deblur.blur.kernel import delta_kernel
from napari_deblur.blur.kernel_bank import camera_shake
from napari_deblur.blur.likeness import kernel_likeness
from napari_deblur.engine import correction
from napari_deblur.engine.run import deblur_steps, drain, kernel_steps
from napari_deblur.errors import InputError, KernelError
from napari_deblur.weights.registry import correction_entry

SIZE = 25


def _blurred(kernel: np.ndarray, seed: int) -> np.ndarray:
    sharp = torch.from_numpy(data.camera()[:280, 100:380].astype(np.float32) / 255)[None, None]
    blurry = convolve(sharp, torch.from_numpy(kernel)[None], boundary="valid")[0, 0].numpy()
    noise = np.random.default_rng(seed).standard_normal(blurry.shape)
    return (blurry + 0.003 * noise).astype(np.float32)


def _smoothed(kernel: np.ndarray) -> np.ndarray:
    """The kernel as seen by a measurement of too little resolution."""
    binomial = np.array([1, 2, 1], np.float32) / 4
    once = np.apply_along_axis(np.convolve, 0, kernel, binomial, "same")
    return np.apply_along_axis(np.convolve, 1, once, binomial, "same").astype(np.float32)


def test_kernels_that_are_too_smooth_come_nearer_to_the_truth() -> None:
    gains = []
    for seed in range(4):
        true = camera_shake(np.random.default_rng(seed), size_range=(SIZE, SIZE))
        measured = _smoothed(true)
        corrected = napari_deblur.correct_kernel(_blurred(true, seed), measured)
        gains.append(kernel_likeness(corrected, true) - kernel_likeness(measured, true))
    assert np.mean(gains) > 0.01
    assert min(gains) > 0


def test_result_is_a_kernel_with_room_for_strokes_that_were_cut_off() -> None:
    true = camera_shake(np.random.default_rng(5), size_range=(SIZE, SIZE))
    corrected = napari_deblur.correct_kernel(_blurred(true, 5), true)
    assert corrected.shape == (SIZE + 8, SIZE + 8)
    assert corrected.dtype == np.float32
    assert corrected.min() >= 0
    assert corrected.sum() == pytest.approx(1, abs=1e-5)


def test_turned_and_mirrored_images_have_their_kernels_turned_and_mirrored() -> None:
    true = camera_shake(np.random.default_rng(6), size_range=(SIZE, SIZE))
    blurry = _blurred(true, 6)
    upright = napari_deblur.correct_kernel(blurry, true)
    for change in (np.rot90, np.fliplr, np.transpose):
        other = napari_deblur.correct_kernel(change(blurry).copy(), change(true).copy())
        assert kernel_likeness(other, change(upright)) > 0.998


def test_without_a_network_a_found_kernel_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    true = camera_shake(np.random.default_rng(7), size_range=(SIZE, SIZE))
    blurry = _blurred(true, 7)
    corrected = napari_deblur.estimate_kernel(blurry, refine=1)
    monkeypatch.setattr(correction, "correction_entry", lambda: None)
    plain = napari_deblur.estimate_kernel(blurry, refine=1)
    assert 0.5 < kernel_likeness(corrected, plain) < 0.9999


def test_kernels_that_are_not_refined_are_not_corrected(monkeypatch: pytest.MonkeyPatch) -> None:
    blurry = _blurred(camera_shake(np.random.default_rng(8), size_range=(SIZE, SIZE)), 8)
    first = napari_deblur.estimate_kernel(blurry, refine=0)
    monkeypatch.setattr(correction, "correction_entry", lambda: None)
    np.testing.assert_array_equal(first, napari_deblur.estimate_kernel(blurry, refine=0))


def test_a_result_names_the_correction_network_only_where_it_corrected(model, blurry) -> None:
    image, kernel = blurry
    options = {"model": model, "device": "cpu", "kernel_size": 9}
    for steps in (kernel_steps, deblur_steps):
        weights = drain(steps(image, **options, refine=1)).settings["weights"]
        assert weights["correction"] == correction_entry().sha256
        weights = drain(steps(image, **options, refine=0)).settings["weights"]
        assert set(weights) == {"analysis", "synthesis"}
    weights = drain(deblur_steps(image, kernel, model=model, device="cpu")).settings["weights"]
    assert set(weights) == {"analysis", "synthesis"}


def test_what_is_no_kernel_is_refused() -> None:
    blurry = _blurred(delta_kernel(3), 9)
    with pytest.raises(KernelError, match="odd"):
        napari_deblur.correct_kernel(blurry, np.ones((4, 4)))
    with pytest.raises(InputError):
        napari_deblur.correct_kernel(blurry[0], delta_kernel(3))
