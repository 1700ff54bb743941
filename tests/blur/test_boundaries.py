"""Padding: the image untouched, the torus smooth, the blur model obeyed beyond the border."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import torch

from napari_deblur.blur.boundaries import crop_padding, pad_for_deconvolution, taper_edges
from napari_deblur.blur.deconvolution import data_term, gradient_data_step
from napari_deblur.blur.forward import convolve
from napari_deblur.blur.kernel_bank import KernelSampler
from napari_deblur.errors import InputError, KernelError


@pytest.fixture(scope="module")
def kernel() -> torch.Tensor:
    sampler = KernelSampler(13, 15, size=15, straight=0, defocused=0, gaussian=0)
    return torch.from_numpy(sampler.sample(np.random.default_rng(3)))[None]


@pytest.fixture(scope="module")
def sharp() -> torch.Tensor:
    return torch.from_numpy(skimage.data.camera()[200:320, 150:280] / np.float32(255))[None, None]


@pytest.fixture(scope="module")
def blurry(sharp: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    return convolve(sharp, kernel, boundary="valid")


@pytest.mark.parametrize("shape", [(40, 51), (5, 90), (1, 1)])
def test_padding_keeps_the_image_where_cropping_finds_it(
    shape: tuple[int, int], kernel: torch.Tensor
) -> None:
    image = torch.rand(2, 3, *shape)
    padded = pad_for_deconvolution(image, kernel)
    assert all(p >= s + 14 and p % 2 == 0 for p, s in zip(padded.shape[-2:], shape, strict=True))
    found = crop_padding(padded, shape, 15)
    # Tapering reaches half a kernel into nothing but the continuation, up to rounding.
    inner = found[..., 15:-15, 15:-15]
    torch.testing.assert_close(inner, image[..., 15:-15, 15:-15], rtol=0, atol=1e-5)


def test_padded_image_has_no_jump_around_the_torus(
    blurry: torch.Tensor, kernel: torch.Tensor
) -> None:
    padded = pad_for_deconvolution(blurry, kernel)
    for axis in (-2, -1):
        jumps = (torch.roll(padded, -1, axis) - padded).abs()
        seam = jumps.select(axis, -1)
        assert seam.max() <= 1.2 * jumps.max()
    plain = torch.nn.functional.pad(blurry, (7, 7, 7, 7), mode="replicate")
    seam = (plain[..., 0, :] - plain[..., -1, :]).abs().max()
    assert (padded[..., 0, :] - padded[..., -1, :]).abs().max() < seam / 2


def test_prediction_takes_the_ringing_from_the_rim(
    sharp: torch.Tensor, blurry: torch.Tensor, kernel: torch.Tensor
) -> None:
    def error_at_the_rim(rounds: int) -> float:
        padded = pad_for_deconvolution(blurry, kernel, rounds=rounds)
        zero = torch.zeros_like(padded)
        restored = gradient_data_step(data_term(padded, kernel), zero, zero, 300.0)
        found = crop_padding(restored, (blurry.shape[-2], blurry.shape[-1]), 15)
        error = (found - sharp[..., 7:-7, 7:-7]).square()
        error[..., 15:-15, 15:-15] = 0
        return float(error.mean())

    assert error_at_the_rim(5) < 0.75 * error_at_the_rim(0)


def test_many_rounds_solve_for_the_pixels_that_were_not_seen() -> None:
    rng = np.random.default_rng(2)
    image, kernel = rng.random((6, 7)), rng.random((3, 3))
    kernel /= kernel.sum()
    batch = (torch.from_numpy(image)[None, None], torch.from_numpy(kernel)[None])
    found = pad_for_deconvolution(*batch, rounds=400)[0, 0].numpy()

    height, width = found.shape
    torus = [np.fft.fftfreq(length) * 2 * np.pi for length in found.shape]
    gradient = sum(np.meshgrid(*(2 - 2 * np.cos(each) for each in torus), indexing="ij"))
    power = np.abs(np.fft.fft2(kernel, (height, width))) ** 2
    share = gradient / 10 / (power + gradient / 10)
    unit = np.eye(height * width).reshape(-1, height, width)
    cost = np.fft.ifft2(share * np.fft.fft2(unit)).real.reshape(height * width, -1)
    seen = np.zeros((height, width), bool)
    seen[1:7, 1:8] = True
    seen = seen.ravel()
    system, known = cost[np.ix_(~seen, ~seen)], cost[np.ix_(~seen, seen)] @ image.ravel()
    expected = np.linalg.solve(system, -known)
    np.testing.assert_allclose(found.ravel()[~seen], expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(found.ravel()[seen], image.ravel())


def test_taper_weights_are_those_of_the_projected_auto_correlation() -> None:
    """MATLAB's edgetaper by hand, for one row and one column at a time."""
    rng = np.random.default_rng(0)
    kernel, image = rng.random((5, 5)), rng.random((16, 20))
    kernel /= kernel.sum()
    weights = []
    for axis, length in ((1, 16), (0, 20)):
        power = np.abs(np.fft.fft(kernel.sum(axis=axis), length - 1)) ** 2
        correlation = np.real(np.fft.ifft(power))
        weights.append(1 - np.append(correlation, correlation[0]) / correlation.max())
    weight = np.outer(*weights)
    spectrum = np.fft.fft2(np.roll(np.pad(kernel, ((0, 11), (0, 15))), (-2, -2), (0, 1)))
    blurred = np.real(np.fft.ifft2(np.fft.fft2(image) * spectrum))
    expected = weight * image + (1 - weight) * blurred
    tapered = taper_edges(torch.from_numpy(image)[None, None], torch.from_numpy(kernel)[None])
    np.testing.assert_allclose(tapered[0, 0], expected, atol=1e-12)


def test_shapes_that_do_not_fit_are_refused(kernel: torch.Tensor) -> None:
    with pytest.raises(InputError, match="B, C, H, W"):
        pad_for_deconvolution(torch.zeros(8, 8), kernel)
    with pytest.raises(KernelError, match="odd"):
        pad_for_deconvolution(torch.zeros(1, 1, 8, 8), torch.ones(1, 4, 4))
