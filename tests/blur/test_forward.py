"""The forward model against direct sums and the noise against its statistics."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import torch

from napari_deblur.blur.forward import Sensor, convolve, expose, shake
from napari_deblur.blur.kernel import delta_kernel
from napari_deblur.blur.spectra import fast_length, gradient_power, kernel_spectrum
from napari_deblur.errors import InputError, KernelError


def _random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape)


@pytest.mark.parametrize(("height", "width", "side"), [(20, 31, 7), (9, 9, 9), (16, 13, 1)])
@pytest.mark.parametrize("shared", [False, True])
def test_valid_convolution_equals_the_direct_sum(
    height: int, width: int, side: int, shared: bool
) -> None:
    image, kernel = _random(3, 2, height, width), _random(1 if shared else 3, side, side, seed=1)
    blurred = convolve(torch.from_numpy(image), torch.from_numpy(kernel), boundary="valid")
    for item in range(3):
        for channel in range(2):
            expected = scipy.signal.convolve2d(
                image[item, channel], kernel[0 if shared else item], mode="valid"
            )
            np.testing.assert_allclose(blurred[item, channel], expected, atol=1e-12)


@pytest.mark.parametrize(("height", "width", "side"), [(12, 17, 5), (4, 6, 11)])
def test_replicating_convolution_equals_the_direct_sum(height: int, width: int, side: int) -> None:
    image, kernel = _random(2, 1, height, width), _random(2, side, side, seed=1)
    blurred = convolve(torch.from_numpy(image), torch.from_numpy(kernel), boundary="replicate")
    for item in range(2):
        padded = np.pad(image[item, 0], side // 2, mode="edge")
        expected = scipy.signal.convolve2d(padded, kernel[item], mode="valid")
        np.testing.assert_allclose(blurred[item, 0], expected, atol=1e-12)


def test_convolution_is_computed_in_float32_under_autocast() -> None:
    image, kernel = torch.rand(1, 1, 24, 24), torch.rand(1, 5, 5)
    plain = convolve(image, kernel, boundary="valid")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = convolve(image.bfloat16(), kernel, boundary="valid")
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, convolve(image.bfloat16().float(), kernel, boundary="valid"))
    assert (inside - plain).abs().max() < 0.1


def test_convolution_is_differentiable_in_image_and_kernel() -> None:
    image = torch.rand(2, 1, 7, 6, dtype=torch.float64, requires_grad=True)
    kernel = torch.rand(2, 3, 3, dtype=torch.float64, requires_grad=True)
    for boundary in ("valid", "replicate"):
        assert torch.autograd.gradcheck(
            lambda x, k, b=boundary: convolve(x, k, boundary=b), (image, kernel)
        )


@pytest.mark.parametrize(
    ("image", "kernel", "boundary", "error", "words"),
    [
        ((8, 8), (1, 3, 3), "valid", InputError, "B, C, H, W"),
        ((1, 1, 0, 8), (1, 3, 3), "valid", InputError, "not empty"),
        ((1, 1, 8, 8), (3, 3), "valid", KernelError, "B, m, m"),
        ((1, 1, 8, 8), (1, 4, 4), "valid", KernelError, "odd"),
        ((3, 1, 8, 8), (2, 3, 3), "valid", InputError, "2 kernels for 3 images"),
        ((1, 1, 8, 8), (1, 9, 9), "valid", InputError, "at least the kernel's 9x9"),
        ((1, 1, 8, 8), (1, 3, 3), "reflect", InputError, "'reflect'"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    image: tuple[int, ...],
    kernel: tuple[int, ...],
    boundary: str,
    error: type[Exception],
    words: str,
) -> None:
    with pytest.raises(error, match=words):
        convolve(torch.zeros(image), torch.zeros(kernel), boundary=boundary)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"noise_sigma": -0.1}, "noise_sigma is -0.1"),
        ({"noise_sigma": float("nan")}, "noise_sigma is nan"),
        ({"photons": 0}, "photons is 0"),
        ({"gain": 0}, "gain is 0"),
        ({"bits": 0}, "bits is 0"),
        ({"bits": 17}, "bits is 17"),
    ],
)
def test_impossible_sensors_are_refused(setting: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Sensor(**setting)  # type: ignore[arg-type]


def test_a_perfect_sensor_changes_nothing() -> None:
    image = torch.rand(2, 3, 4, 5) * 3 - 1
    assert torch.equal(expose(image, Sensor()), image)


def test_noise_has_the_variance_of_photons_and_electronics() -> None:
    level, sensor = 0.4, Sensor(noise_sigma=0.02, photons=500.0)
    read = expose(torch.full((200_000,), level), sensor, torch.Generator().manual_seed(1))
    assert float(read.mean()) == pytest.approx(level, abs=5e-4)
    assert float(read.var()) == pytest.approx(level / 500 + 0.02**2, rel=0.02)


def test_saturation_brightens_then_clips_and_bits_round() -> None:
    image = torch.tensor([-0.1, 0.0, 0.3, 0.5, 0.9])
    read = expose(image, Sensor(gain=1.5))
    torch.testing.assert_close(read, torch.tensor([0.0, 0.0, 0.45, 0.75, 1.0]))
    coarse = expose(image, Sensor(bits=1))
    torch.testing.assert_close(coarse, torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0]))
    fine = expose(image.clamp(0, 1), Sensor(bits=8))
    torch.testing.assert_close(fine * 255, torch.round(fine * 255))
    assert not Sensor(noise_sigma=1).saturates


def test_shaken_image_is_fixed_by_its_seed() -> None:
    image = _random(3, 20, 22)
    kernel, sensor = np.ones((5, 5)), Sensor(noise_sigma=0.01)
    first, again, other = (
        shake(image, kernel, sensor, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01
    assert first.shape == image.shape
    assert first.dtype == np.float32
    padded = np.pad(image, ((0, 0), (2, 2), (2, 2)), mode="edge")
    mean = np.stack([scipy.signal.convolve2d(c, np.ones((5, 5)) / 25, "valid") for c in padded])
    assert np.std(first - mean) == pytest.approx(0.01, rel=0.1)


def test_shake_wants_channels_first() -> None:
    with pytest.raises(InputError, match="C, H, W"):
        shake(_random(8, 8), delta_kernel(3), Sensor(), np.random.default_rng(0))


def test_fast_lengths_are_the_next_even_products_of_two_three_and_five() -> None:
    products = {2**a * 3**b * 5**c for a in range(1, 13) for b in range(8) for c in range(6)}
    for length in range(1, 2000):
        assert fast_length(length) == min(p for p in products if p >= length)


@pytest.mark.parametrize("shape", [(8, 10), (9, 7)])
def test_spectra_are_those_of_circular_operators(shape: tuple[int, int]) -> None:
    image = torch.from_numpy(_random(*shape))
    kernel = torch.from_numpy(_random(1, 5, 5, seed=2))
    product = torch.fft.rfft2(image) * kernel_spectrum(kernel, shape)[0, 0]
    expected = scipy.signal.convolve2d(
        np.pad(image.numpy(), 2, mode="wrap"), kernel[0].numpy(), mode="valid"
    )
    np.testing.assert_allclose(torch.fft.irfft2(product, s=shape), expected, atol=1e-12)
    differences = sum(
        torch.fft.rfft2(torch.roll(image, -1, axis) - image).abs().square() for axis in (0, 1)
    )
    power = gradient_power(shape, image) * torch.fft.rfft2(image).abs().square()
    torch.testing.assert_close(power, differences)
