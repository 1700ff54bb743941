"""Least-squares kernels against dense linear algebra, and their cleaning."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import scipy.signal
import torch

from napari_deblur.blur.kernel_step import clean_kernel, normal_equations, solve_kernel


def _gradients(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((2, 30, 34))


def _dense_solution(latent: np.ndarray, blurry: np.ndarray, size: int, ridge: float) -> np.ndarray:
    """Solve min |latent * k - blurry|^2 / E + ridge |k|^2, k >= 0, a column for each kernel pixel.

    Zero outside the latent image, and everything counts that its blur reaches, as in the
    correlations: so the blurry gradients are padded with zeros.
    """
    radius = size // 2
    columns = []
    for index in range(size * size):
        kernel = np.zeros(size * size)
        kernel[index] = 1
        moved = [scipy.signal.convolve2d(each, kernel.reshape(size, size)) for each in latent]
        columns.append(np.stack(moved).ravel())
    matrix = np.stack(columns, axis=1)
    target = np.pad(blurry, ((0, 0), (radius, radius), (radius, radius))).ravel()
    scale = np.sqrt((latent**2).sum())
    stacked = np.concatenate([matrix / scale, np.sqrt(ridge) * np.eye(size * size)])
    solution, _ = scipy.optimize.nnls(stacked, np.append(target / scale, np.zeros(size * size)))
    return (solution / solution.sum()).reshape(size, size)


def test_solution_is_that_of_dense_non_negative_least_squares() -> None:
    rng = np.random.default_rng(0)
    latent, blurry = _gradients(rng), _gradients(rng)
    expected = _dense_solution(latent, blurry, 5, 0.1)

    equations = normal_equations(torch.from_numpy(latent)[None], torch.from_numpy(blurry)[None], 5)
    found = solve_kernel(equations, 0.1)[0].numpy()

    assert (expected == 0).any()  # the sign matters here
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("size", [5, 9])
def test_images_smaller_than_the_kernel_have_all_its_lags(size: int) -> None:
    rng = np.random.default_rng(3)
    latent, blurry = rng.standard_normal((2, 2, 3, 40))

    equations = normal_equations(
        torch.from_numpy(latent)[None], torch.from_numpy(blurry)[None], size
    )

    for found, moving in ((equations.auto, latent), (equations.cross, blurry)):
        full = sum(scipy.signal.correlate(m, s) for m, s in zip(moving, latent, strict=True))
        padded = np.pad(full, 2 * size)
        middle = [length // 2 for length in padded.shape]
        radius = found.shape[-1] // 2
        rows, columns = (slice(m - radius, m + radius + 1) for m in middle)
        np.testing.assert_allclose(found[0].numpy(), padded[rows, columns], atol=1e-10)


def test_the_true_kernel_comes_back_from_true_gradients() -> None:
    rng = np.random.default_rng(1)
    kernel = rng.random((7, 7))
    kernel /= kernel.sum()
    latent = np.zeros((2, 60, 60))
    latent[:, 10:-10, 10:-10] = rng.standard_normal((2, 40, 40))
    blurry = np.stack([scipy.signal.convolve2d(each, kernel, mode="same") for each in latent])

    equations = normal_equations(torch.from_numpy(latent)[None], torch.from_numpy(blurry)[None], 7)

    np.testing.assert_allclose(solve_kernel(equations, 0.0)[0].numpy(), kernel, atol=2e-3)


def test_images_of_a_batch_are_solved_alone() -> None:
    rng = np.random.default_rng(2)
    latent, blurry = (torch.from_numpy(rng.standard_normal((3, 2, 20, 25))) for _ in range(2))
    together = solve_kernel(normal_equations(latent, blurry, 5))
    for index in range(3):
        alone = solve_kernel(
            normal_equations(latent[index : index + 1], blurry[index : index + 1], 5)
        )
        torch.testing.assert_close(together[index], alone[0])


def test_specks_noise_and_negative_values_go_and_the_heaviest_piece_stays() -> None:
    raw = np.full((11, 11), -0.3)
    raw[5, 3:8] = 1
    raw[1, 1] = 0.2  # an isolated speck of 0.2 / 5.2 of the whole
    raw[9, 9] = 0.01  # noise: 1 % of the peak
    cleaned = clean_kernel(raw)
    expected = np.zeros((11, 11), np.float32)
    expected[5, 3:8] = 0.2
    np.testing.assert_allclose(cleaned, expected, atol=1e-7)
    assert cleaned.dtype == np.float32


def test_a_piece_that_holds_enough_is_no_speck() -> None:
    raw = np.zeros((11, 11))
    raw[4:6, 2:4] = 1
    raw[5, 8:10] = 1
    assert np.count_nonzero(clean_kernel(raw)) == 6


@pytest.mark.parametrize("position", [(0, 0), (2, 9), (10, 5)])
def test_centroid_comes_to_the_middle_by_whole_pixels(position: tuple[int, int]) -> None:
    raw = np.zeros((11, 11))
    raw[position] = 4
    cleaned = clean_kernel(raw)
    assert cleaned[5, 5] == 1


@pytest.mark.parametrize("raw", [np.zeros((5, 5)), -np.ones((5, 5)), np.full((5, 5), np.nan)])
def test_nothing_positive_gives_the_kernel_that_changes_nothing(raw: np.ndarray) -> None:
    cleaned = clean_kernel(raw)
    assert cleaned[2, 2] == 1
    assert cleaned.sum() == 1
