"""Köhler's protocol finds scale, shift and frame, and its multi-scale SSIM is Wang's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io
import skimage.data
from numpy.typing import NDArray

from napari_deblur.errors import FileError, InputError
from napari_deblur.evaluation import kohler
from napari_deblur.evaluation.methods import find_method


@pytest.fixture(scope="module")
def truth() -> NDArray[np.float64]:
    """A sharp RGB image of 200 x 210 px on the scale 0-255."""
    return np.moveaxis(skimage.data.astronaut()[100:300, 100:310], -1, 0).astype(np.float64)


def test_the_best_frame_counts_after_scaling_and_shifting(truth: NDArray[np.float64]) -> None:
    rng = np.random.default_rng(8)
    noise = rng.normal(0, 4, truth.shape)
    estimate = np.clip(0.5 * np.roll(truth, (3, -2), axis=(1, 2)) + noise, 0, 255)
    wrong = truth[:, ::-1]
    scores, shift = kohler.score_frames(estimate / 255, [wrong, truth])
    assert shift == (-3, 2)

    # By hand: round, scale by least squares against the frame, move back, zero the rest, luma.
    image = np.rint(estimate)
    scaled = image * (np.sum(truth * image) / np.sum(image**2))
    moved, covered = np.zeros_like(truth), np.zeros_like(truth)
    moved[:, :-3, 2:], covered[:, :-3, 2:] = scaled[:, 3:, :-2], truth[:, :-3, 2:]
    difference = np.tensordot([0.299, 0.587, 0.114], moved - covered, axes=1)
    assert scores["psnr"] == pytest.approx(10 * np.log10(255**2 / np.mean(difference**2)))
    assert scores["mssim"] > kohler.score_frames(estimate / 255, [wrong])[0]["mssim"]


def test_multiscale_ssim_is_one_for_equal_images_and_falls_with_noise(
    truth: NDArray[np.float64],
) -> None:
    rng = np.random.default_rng(9)
    noise = rng.normal(0, 1, truth[0].shape)
    values = [kohler.multiscale_ssim(truth[0] + level * noise, truth[0]) for level in (0, 5, 20)]
    assert values[0] == pytest.approx(1)
    assert values[0] > values[1] > values[2] > 0
    with pytest.raises(InputError, match="176 px"):
        kohler.multiscale_ssim(np.zeros((175, 400)), np.zeros((175, 400)))


def test_frames_of_the_authors_mat_files_are_read(
    tmp_path: Path, truth: NDArray[np.float64]
) -> None:
    skimage.io.imsave(tmp_path / "Blurry2_6.png", np.moveaxis(truth, 0, -1).astype(np.uint8))
    frames = np.stack([truth[:, ::-1], truth], axis=-1).astype(np.uint8)
    scipy.io.savemat(tmp_path / "GroundTruth2_6.mat", {"GroundTruth": np.moveaxis(frames, 0, 2)})
    cases = kohler.find_cases(tmp_path)
    (row,) = kohler.evaluate(cases, find_method("blurry"))
    assert (row.name, row.scores["psnr"]) == ("2_6", np.inf)
    with pytest.raises(InputError, match="known-kernel"):
        next(kohler.evaluate(cases, find_method("wiener"), known_kernel=True))


def test_missing_ground_truth_is_named(tmp_path: Path) -> None:
    skimage.io.imsave(
        tmp_path / "Blurry1_3.png", np.zeros((20, 20, 3), np.uint8), check_contrast=False
    )
    with pytest.raises(FileError, match=r"GroundTruth1_3"):
        kohler.find_cases(tmp_path)


def _as_the_authors(estimate: np.ndarray, frames: list[np.ndarray]) -> float:
    """PSNR by their eval_image.m, spelled out: every whole shift is tried, no transform is used."""
    image = np.rint(estimate * 255)
    best = -np.inf
    for frame in frames:
        scaled = image * (np.sum(frame * image) / np.sum(image * image))
        truth, moving = frame.mean(axis=0), scaled.mean(axis=0)
        shifts = [(dy, dx) for dy in range(-6, 7) for dx in range(-6, 7)]
        fits = [np.sum(truth * np.roll(moving, shift, axis=(0, 1))) for shift in shifts]
        dy, dx = shifts[int(np.argmax(fits))]
        rows, columns = np.arange(truth.shape[0]) - dy, np.arange(truth.shape[1]) - dx
        inside = ((rows >= 0) & (rows < truth.shape[0]))[:, None] & (
            (columns >= 0) & (columns < truth.shape[1])
        )
        moved = np.roll(scaled, (dy, dx), axis=(1, 2)) * inside
        difference = np.tensordot([0.299, 0.587, 0.114], moved - frame * inside, axes=1)
        best = max(best, 10 * np.log10(255**2 / np.mean(difference**2)))
    return float(best)


def test_a_playback_of_a_known_trajectory_scores_as_by_the_authors_program(
    truth: NDArray[np.float64],
) -> None:
    """Frames along a camera's path, their mean as the blurry image, dimmed as by another lens."""
    path = [(0, 0), (1, 0), (2, 1), (2, 3), (1, 4), (-1, 4)]
    frames = [np.roll(truth, shift, axis=(1, 2)) for shift in path]
    blurry = 0.8 * np.mean(frames, axis=0) / 255
    scores, _ = kohler.score_frames(blurry, frames)
    assert scores["psnr"] == pytest.approx(_as_the_authors(blurry, frames))
    # A restoration that ends at any point of the path is right, however bright.
    for shift in path:
        restored = np.roll(truth, shift, axis=(1, 2)) / 255
        assert kohler.score_frames(restored, frames)[0]["psnr"] == np.inf
    assert kohler.score_frames(0.5 * frames[2] / 255, frames)[0]["psnr"] > 45


def test_the_frame_that_the_authors_lack_does_not_count(
    tmp_path: Path, truth: NDArray[np.float64]
) -> None:
    """Of image 1, trajectory 3 they leave out frame 30 and all beyond 198."""
    small = np.moveaxis(truth[:, :176, :176], 0, -1).astype(np.uint8)
    frames = np.repeat(small[::-1, ..., None], 31, axis=3)
    frames[..., 29] = small
    for name in ("1_3", "1_4"):
        skimage.io.imsave(tmp_path / f"Blurry{name}.png", small)
        scipy.io.savemat(tmp_path / f"GroundTruth{name}.mat", {"GroundTruth": frames})
    rows = list(kohler.evaluate(kohler.find_cases(tmp_path), find_method("blurry")))
    assert rows[0].scores["psnr"] < 30
    assert rows[1].scores["psnr"] == np.inf
