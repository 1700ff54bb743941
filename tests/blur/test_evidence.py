"""What an image says of a kernel, against sums over pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage, signal

from napari_deblur.blur.curves import random_curves
from napari_deblur.blur.edges import differences, sparse_edges, strongest_gradients
from napari_deblur.blur.evidence import EVIDENCE, kernel_evidence
from napari_deblur.blur.forward import convolve

SIZE = 7
RESIDUALS = (2, 4, 6)
OWN, KERNEL, NOISE = 7, 8, 9


def _sharp(seed: int, shape: tuple[int, int] = (56, 64)) -> torch.Tensor:
    """Rectangles of even brightness: what the image of few edges is exact for."""
    rng = np.random.default_rng(seed)
    image = np.full(shape, 0.5, np.float32)
    for _ in range(25):
        top, left = rng.integers(-8, shape[0] - 6), rng.integers(-8, shape[1] - 6)
        rows, columns = slice(max(top, 0), top + 14), slice(max(left, 0), left + 16)
        image[rows, columns] = rng.uniform(0.05, 0.95)
    return torch.from_numpy(image)[None, None]


def _kernel(seed: int = 3) -> np.ndarray:
    return np.asarray(random_curves(np.random.default_rng(seed), 1, SIZE)[0])


def _blurry(seed: int, kernel: np.ndarray) -> torch.Tensor:
    return convolve(_sharp(seed), torch.from_numpy(kernel)[None], boundary="valid")


def _correlation(first: np.ndarray, second: np.ndarray, radius: int) -> np.ndarray:
    """Sums of products of two stacks (2, h, w) at each lag, of which nothing lies outside."""
    lags = range(-radius, radius + 1)
    padded = np.pad(second, ((0, 0), (radius, radius), (radius, radius)))
    height, width = first.shape[1:]
    return np.array(
        [
            [
                (
                    first * padded[:, radius + y : radius + y + height, radius + x :][..., :width]
                ).sum()
                for x in lags
            ]
            for y in lags
        ]
    )


def test_residual_map_is_the_sum_over_pixels_of_what_the_kernel_leaves_unexplained() -> None:
    true, kernel = _kernel(3), _kernel(4)
    blurry = _blurry(0, true)
    sharp = sparse_edges(blurry, torch.from_numpy(kernel)[None], 1e-4)
    edges = strongest_gradients(sharp, 0.2)[0].numpy().astype(np.float64)
    # The kernel carries gradients beyond the border, where the blurry image has none.
    margin = SIZE // 2
    explained = np.stack([signal.convolve2d(each, kernel, mode="full") for each in edges])
    observed = np.pad(differences(blurry)[0].numpy(), ((0, 0), (margin,) * 2, (margin,) * 2))
    edges = np.pad(edges, ((0, 0), (margin,) * 2, (margin,) * 2))
    energy = np.square(edges).sum()
    expected = 3 / kernel.max() * _correlation(edges, observed - explained, margin) / energy
    found = kernel_evidence([blurry], kernel, 0.0)[RESIDUALS[0]]
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_auto_correlations_are_sums_over_pixels() -> None:
    kernel = _kernel()
    blurry = _blurry(1, kernel)
    maps = kernel_evidence([blurry], kernel, 0.0)
    gradients = differences(blurry)[0].numpy().astype(np.float64)
    own = _correlation(gradients, gradients, SIZE // 2)
    np.testing.assert_allclose(maps[OWN], own / own.max(), atol=1e-5)
    one = kernel[None].astype(np.float64)
    lags = _correlation(one, one, SIZE // 2)
    np.testing.assert_allclose(maps[KERNEL], lags / lags.max(), atol=1e-6)


def test_maps_begin_with_the_kernel_and_end_with_the_noise() -> None:
    kernel = _kernel()
    maps = kernel_evidence([_blurry(0, kernel)], kernel, 0.01**2)
    assert maps.shape == (EVIDENCE, SIZE, SIZE)
    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps[0], kernel / kernel.max(), rtol=1e-6)
    np.testing.assert_allclose(maps[NOISE], 0.3, rtol=1e-6)


def test_turned_images_and_kernels_have_turned_maps() -> None:
    true, kernel = _kernel(3), _kernel(4)
    blurry = _blurry(2, true)
    maps = kernel_evidence([blurry], kernel, 1e-6)
    across = kernel_evidence([blurry.mT.contiguous()], kernel.T.copy(), 1e-6)
    np.testing.assert_allclose(across.transpose(0, 2, 1), maps, atol=2e-3 * np.abs(maps).max())
    # Differences are taken from a corner, so that a mirror moves some by a pixel.
    left = kernel_evidence([blurry.flip(-1)], kernel[:, ::-1].copy(), 1e-6)[..., ::-1]
    for mirrored, each in zip(left, maps, strict=True):
        likeness = (mirrored * each).sum() / (np.linalg.norm(mirrored) * np.linalg.norm(each))
        assert likeness > 0.98


def test_a_frame_twice_says_what_it_says_once() -> None:
    kernel = _kernel(4)
    blurry = _blurry(0, _kernel(3))
    once, twice = (kernel_evidence([blurry] * n, kernel, 1e-6) for n in (1, 2))
    every_gradient = [0, 3, 4, OWN, KERNEL, NOISE]
    np.testing.assert_allclose(twice[every_gradient], once[every_gradient], atol=1e-4)
    # The strongest tenth of twice as many pixels may end a pixel earlier.
    np.testing.assert_allclose(twice, once, atol=0.01 * np.abs(once).max())


def test_frames_add_up() -> None:
    kernel = _kernel()
    frames = [_blurry(seed, kernel) for seed in (0, 1)]
    energies = [float(differences(frame).square().sum()) for frame in frames]
    alone = [kernel_evidence([frame], kernel, 1e-6)[OWN] for frame in frames]
    expected = sum(e * a for e, a in zip(energies, alone, strict=True)) / sum(energies)
    np.testing.assert_allclose(kernel_evidence(frames, kernel, 1e-6)[OWN], expected, atol=1e-5)


def test_the_true_kernel_leaves_little_unexplained() -> None:
    true = _kernel()
    blurry = _blurry(0, true)
    wrong = ndimage.gaussian_filter(true, 0.7)
    wrong /= wrong.sum()
    left, of_wrong = (kernel_evidence([blurry], each, 0.0) for each in (true, wrong))
    for index in RESIDUALS:
        assert np.abs(left[index]).mean() < 0.5 * np.abs(of_wrong[index]).mean()
    # Least squares from edges that are right ends near the kernel itself.
    solved = left[1] / left[1].sum()
    assert np.abs(solved - true).sum() < 0.5 * np.abs(wrong - true).sum()


@pytest.mark.parametrize("value", [0.0, 0.7])
def test_a_flat_image_has_finite_maps(value: float) -> None:
    assert np.isfinite(kernel_evidence([torch.full((1, 1, 30, 30), value)], _kernel(), 0.0)).all()
