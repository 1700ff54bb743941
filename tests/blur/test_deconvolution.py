"""Deconvolution against dense linear algebra, brute force, finite differences and benchmarks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import skimage.data
import tifffile
import torch

from napari_deblur.blur.deconvolution import (
    data_step,
    data_term,
    gradient_data_step,
    hyper_laplacian,
    hyper_laplacians,
    shrink,
    wiener,
)
from napari_deblur.blur.forward import Sensor, convolve, expose
from napari_deblur.blur.kernel_bank import KernelSampler
from napari_deblur.errors import InputError, KernelError

SHAPE = (8, 10)


def _circulant(response: np.ndarray) -> np.ndarray:
    """Matrix of the circular convolution whose response to a 1 at the origin is given."""
    columns = [
        np.roll(response, (row, column), (0, 1)).ravel()
        for row in range(SHAPE[0])
        for column in range(SHAPE[1])
    ]
    return np.stack(columns, axis=1)


@pytest.fixture(scope="module")
def small() -> dict[str, np.ndarray]:
    """A tiny problem and its operators as dense matrices, float64."""
    rng = np.random.default_rng(0)
    kernel = rng.random((5, 5))
    kernel /= kernel.sum()
    origin = np.zeros(SHAPE)
    origin[:5, :5] = kernel
    down, across = np.zeros((2, *SHAPE))
    down[0, 0], down[-1, 0] = -1, 1
    across[0, 0], across[0, -1] = -1, 1
    return {
        "kernel": kernel,
        "blurry": rng.random(SHAPE),
        "prior": rng.random(SHAPE),
        "other": rng.random(SHAPE),
        "blur": _circulant(np.roll(origin, (-2, -2), (0, 1))),
        "down": _circulant(down),
        "across": _circulant(across),
    }


def _batch(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array)[None, None]


def _psnr(image: torch.Tensor, truth: torch.Tensor, margin: int = 0) -> float:
    error = (image - truth).square()
    inner = error[..., margin : error.shape[-2] - margin, margin : error.shape[-1] - margin]
    return float(-10 * torch.log10(inner.mean()))


def test_data_step_equals_the_dense_solution(small: dict[str, np.ndarray]) -> None:
    blur, weight = small["blur"], 30.0
    expected = np.linalg.solve(
        weight * blur.T @ blur + np.eye(80),
        weight * blur.T @ small["blurry"].ravel() + small["prior"].ravel(),
    )
    term = data_term(_batch(small["blurry"]), torch.from_numpy(small["kernel"])[None])
    found = data_step(term, _batch(small["prior"]), weight)
    np.testing.assert_allclose(found.numpy().ravel(), expected, atol=1e-10)


def test_gradient_data_step_equals_the_dense_solution(small: dict[str, np.ndarray]) -> None:
    blur, down, across, weight = small["blur"], small["down"], small["across"], 30.0
    expected = np.linalg.solve(
        weight * blur.T @ blur + down.T @ down + across.T @ across,
        weight * blur.T @ small["blurry"].ravel()
        + down.T @ small["prior"].ravel()
        + across.T @ small["other"].ravel(),
    )
    term = data_term(_batch(small["blurry"]), torch.from_numpy(small["kernel"])[None])
    found = gradient_data_step(term, _batch(small["prior"]), _batch(small["other"]), weight)
    np.testing.assert_allclose(found.numpy().ravel(), expected, atol=1e-10)


def test_each_item_has_its_own_weight_and_kernel(small: dict[str, np.ndarray]) -> None:
    blurry = torch.rand(3, 2, *SHAPE, dtype=torch.float64)
    prior = torch.rand(3, 2, *SHAPE, dtype=torch.float64)
    kernel = torch.rand(3, 3, 3, dtype=torch.float64)
    weight = torch.tensor([1.0, 20.0, 300.0], dtype=torch.float64)
    together = data_step(data_term(blurry, kernel), prior, weight)
    for i in range(3):
        alone = data_step(
            data_term(blurry[i : i + 1], kernel[i : i + 1]), prior[i : i + 1], float(weight[i])
        )
        torch.testing.assert_close(together[i : i + 1], alone)


@pytest.mark.parametrize("exponent", [0.5, 2 / 3, 0.8, 1.0])
@pytest.mark.parametrize("beta", [1.0, 22.6, 256.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shrinkage_is_as_good_as_brute_force(
    exponent: float, beta: float, dtype: torch.dtype
) -> None:
    values = torch.linspace(-3, 3, 401, dtype=dtype)
    found = shrink(values, beta, exponent)

    def cost(w: np.ndarray, v: np.ndarray) -> np.ndarray:
        return np.abs(w) ** exponent + beta / 2 * (w - v) ** 2

    v = values.double().numpy()
    candidates = np.concatenate([np.linspace(-3, 3, 24001), [0.0]])
    best = cost(candidates[None, :], v[:, None]).min(axis=1)
    reached = cost(found.double().numpy(), v)
    assert (reached - best).max() < 1e-6 * beta
    assert (reached - best).min() > -1e-4  # the grid is coarse, the solver is not
    assert (found * values >= 0).all()
    assert found[200] == 0


def test_shrinkage_is_differentiable() -> None:
    values = torch.tensor([-2.0, -0.9, 0.01, 0.0, 0.8, 1.7], dtype=torch.float64)
    values.requires_grad_()
    for exponent in (0.5, 0.8, 1.0):
        assert torch.autograd.gradcheck(lambda v, e=exponent: shrink(v, 8.0, e), (values,))


@pytest.mark.parametrize("method", ["wiener", "hyper-laplacian"])
def test_deconvolution_is_differentiable_in_image_kernel_and_weight(method: str) -> None:
    generator = torch.Generator().manual_seed(0)
    blurry = torch.rand(2, 1, 5, 6, dtype=torch.float64, generator=generator)
    kernel = torch.rand(2, 3, 3, dtype=torch.float64, generator=generator) + 0.1
    kernel[:, 1, 1] += 3
    kernel = kernel / kernel.sum(dim=(1, 2), keepdim=True)
    weight = torch.tensor([50.0, 90.0], dtype=torch.float64)
    inputs = [tensor.requires_grad_() for tensor in (blurry, kernel, weight)]

    def run(b: torch.Tensor, k: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        if method == "wiener":
            return wiener(b, k, torch.stack([w, 10 * w], dim=-1))
        return hyper_laplacian(b, k, w, betas=(4.0, 32.0))

    assert torch.autograd.gradcheck(run, inputs, atol=1e-5, rtol=1e-3)


@pytest.fixture(scope="module")
def shaken() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sharp crops (2, 1, H, W), kernels (2, 17, 17) and the noisy blurry images."""
    camera = skimage.data.camera().astype(np.float32) / 255
    sharp = torch.from_numpy(np.stack([camera[60:220, 140:310], camera[300:460, 60:230]]))[:, None]
    sampler = KernelSampler(11, 17, size=17, straight=0, defocused=0, gaussian=0)
    kernel = torch.from_numpy(sampler.sample_many(np.random.default_rng(1), 2))
    generator = torch.Generator().manual_seed(2)
    blurry = expose(convolve(sharp, kernel, boundary="valid"), Sensor(0.003), generator)
    return sharp[..., 8:-8, 8:-8], kernel, blurry


def test_deconvolution_restores_up_to_the_border(
    shaken: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    sharp, kernel, blurry = shaken
    before = _psnr(blurry, sharp)
    linear = _psnr(wiener(blurry, kernel, [300.0])[:, 0], sharp)
    sparse = _psnr(hyper_laplacian(blurry, kernel, 4000.0), sharp)
    assert linear > before + 4
    assert sparse > linear + 0.5
    # Nothing beyond the border is known, but the border itself must not spoil the image.
    assert _psnr(hyper_laplacian(blurry, kernel, 4000.0), sharp, margin=17) < sparse + 3


def test_wiener_gives_one_image_for_each_weight(
    shaken: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    _, kernel, blurry = shaken
    weights = [30.0, 300.0, 3000.0]
    together = wiener(blurry.expand(-1, 3, -1, -1), kernel, weights)
    assert together.shape == (2, 3, 3, *blurry.shape[-2:])
    for i, weight in enumerate(weights):
        alone = wiener(blurry, kernel, [weight])
        torch.testing.assert_close(together[:, i, :1], alone[:, 0], rtol=0, atol=2e-4)
    own = wiener(blurry, kernel, torch.tensor([[30.0], [3000.0]]))
    torch.testing.assert_close(own[0, 0], together[0, 0, :1], rtol=0, atol=2e-4)
    torch.testing.assert_close(own[1, 0], together[1, 2, :1], rtol=0, atol=2e-4)


def test_kernel_that_changes_nothing_leaves_a_noiseless_image_as_it_is() -> None:
    image = torch.rand(1, 2, 30, 25)
    kernel = torch.zeros(1, 7, 7)
    kernel[0, 3, 3] = 1
    assert (wiener(image, kernel, [1e7])[:, 0] - image).abs().max() < 1e-4
    assert (hyper_laplacian(image, kernel, 1e8) - image).abs().max() < 1e-3


def test_deconvolution_under_autocast_is_that_without(
    shaken: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    _, kernel, blurry = shaken
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = hyper_laplacian(blurry, kernel), wiener(blurry, kernel, [100.0])
    torch.testing.assert_close(inside[0], hyper_laplacian(blurry, kernel))
    torch.testing.assert_close(inside[1], wiener(blurry, kernel, [100.0]))


def test_bad_parameters_are_refused() -> None:
    image, kernel = torch.rand(2, 1, 9, 9), torch.ones(1, 3, 3) / 9
    with pytest.raises(InputError, match="exponent is 1.5"):
        hyper_laplacian(image, kernel, exponent=1.5)
    with pytest.raises(InputError, match="weight is -1"):
        hyper_laplacian(image, kernel, -1)
    with pytest.raises(InputError, match=r"\(2, 1\)"):
        hyper_laplacian(image, kernel, torch.ones(2, 1))
    with pytest.raises(InputError, match="give at least one"):
        wiener(image, kernel, [])
    with pytest.raises(InputError, match="2 kernels for 3 images"):
        wiener(torch.rand(3, 1, 9, 9), torch.ones(2, 3, 3), [1.0])
    with pytest.raises(KernelError, match="odd"):
        hyper_laplacian(image, torch.ones(2, 2, 2))


def _psnr_after_alignment(image: np.ndarray, sharp: np.ndarray) -> float:
    """PSNR by Levin's protocol: 15 px cropped, best of all shifts up to 5 px in quarter pixels."""
    truth = sharp[15:-15, 15:-15]
    smallest = np.inf
    for row in np.arange(4) / 4:
        for column in np.arange(4) / 4:
            weights = np.outer([row, 1 - row], [column, 1 - column])
            moved = scipy.signal.convolve2d(image, weights, mode="valid")
            # Shifts of 10 to 20 px of `moved` are shifts of -5 to 5 px, or not quite 5.
            last_row, last_column = (20 if part == 0 else 19 for part in (row, column))
            reach = (last_row + truth.shape[0], last_column + truth.shape[1])
            window = moved[10 : reach[0], 10 : reach[1]]
            product = scipy.signal.fftconvolve(window, truth[::-1, ::-1], mode="valid")
            energy = scipy.signal.fftconvolve(window**2, np.ones(truth.shape), mode="valid")
            smallest = min(smallest, float((energy - 2 * product).min() + (truth**2).sum()))
    return float(-10 * np.log10(smallest / truth.size))


@pytest.mark.slow
def test_real_shakes_with_known_kernels_come_back_better_than_published(shared: Path) -> None:
    """34.53 dB is the literature's figure for Levin's 32 images with the true kernels."""
    folder = shared / "bench" / "levin"

    def read(name: str) -> np.ndarray:
        array = tifffile.imread(folder / f"{name}.tif")
        scale = 1.0 if array.dtype.kind == "f" else np.iinfo(array.dtype).max
        return (array / scale).astype(np.float32)

    figures = []
    for kernel in range(1, 9):
        names = [f"im{image}_kernel{kernel}_blurry" for image in range(1, 5)]
        blurry = torch.from_numpy(np.stack([read(name) for name in names]))[:, None]
        found = hyper_laplacian(blurry, torch.from_numpy(read(f"kernel{kernel}"))[None])
        for image in range(1, 5):
            restored = found[image - 1, 0].double().numpy().clip(0, 1)
            sharp = read(f"im{image}_sharp").astype(np.float64)
            figures.append(_psnr_after_alignment(restored, sharp))
    assert np.mean(figures) > 34.53


def test_several_weights_at_once_give_what_each_gives_alone() -> None:
    blurry = torch.rand(2, 1, 37, 40, generator=torch.Generator().manual_seed(3))
    kernel = torch.rand(2, 5, 5, generator=torch.Generator().manual_seed(4))
    kernel = kernel / kernel.sum(dim=(1, 2), keepdim=True)
    weights = [300.0, torch.tensor([1000.0, 4000.0])]
    for weight, image in zip(weights, hyper_laplacians(blurry, kernel, weights), strict=True):
        torch.testing.assert_close(image, hyper_laplacian(blurry, kernel, weight), rtol=0, atol=0)
