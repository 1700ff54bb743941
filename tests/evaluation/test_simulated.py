"""Simulated shake: the same seed, the same images; blur as the forward model says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import skimage.data
import skimage.io

from napari_deblur.errors import FileError, InputError
from napari_deblur.evaluation import simulated
from napari_deblur.evaluation.benchmark import evaluate
from napari_deblur.evaluation.methods import find_method


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grey and a colour image."""
    folder = tmp_path_factory.mktemp("photographs")
    skimage.io.imsave(folder / "a.png", skimage.data.camera()[100:220, 200:330])
    skimage.io.imsave(folder / "b.png", skimage.data.astronaut()[50:170, 100:230])
    return folder


def test_blur_is_the_convolution_with_the_kernel_and_the_noise_has_its_level(
    photographs: Path,
) -> None:
    clear = simulated.find_cases(photographs, sizes=(9, 15), noise=0, seed=3)[1]
    sample = clear.load()
    assert sample.kernel is not None
    assert sample.blurry.shape == sample.sharp.shape == (1, 106, 116)
    luma = skimage.io.imread(clear.path) @ [0.299, 0.587, 0.114] / 255
    expected = scipy.signal.convolve2d(luma, sample.kernel, mode="valid")
    np.testing.assert_allclose(sample.blurry[0], expected, atol=2e-6)
    np.testing.assert_allclose(sample.sharp[0], luma[7:-7, 7:-7], atol=1e-6)

    noisy = simulated.find_cases(photographs, sizes=(9, 15), noise=0.02, seed=3)[1]
    np.testing.assert_array_equal(noisy.kernel, clear.kernel)
    difference = noisy.load().blurry - sample.blurry
    assert difference.std() == pytest.approx(0.02, rel=0.05)
    np.testing.assert_array_equal(noisy.load().blurry, noisy.load().blurry)


def test_another_seed_gives_another_blur(photographs: Path) -> None:
    first, second = (simulated.find_cases(photographs, seed=seed)[0] for seed in (1, 2))
    assert np.abs(first.kernel - second.kernel).sum() > 0.1


def test_the_middle_is_cut_out(photographs: Path) -> None:
    (case, _) = simulated.find_cases(photographs, sizes=(9, 15), side=64)
    sample = case.load()
    assert sample.blurry.shape == sample.sharp.shape == (1, 64, 64)
    truth = skimage.io.imread(case.path)[28:92, 33:97] / 255
    np.testing.assert_allclose(sample.sharp[0], truth, atol=1e-6)


def test_known_kernels_undo_the_blur(photographs: Path) -> None:
    cases = simulated.find_cases(photographs, sizes=(9, 15), noise=0.002)
    scores = [
        [
            row.scores["psnr"]
            for row in evaluate(
                cases, find_method(name, device="cpu"), simulated.PROTOCOL, known_kernel=True
            )
        ]
        for name in ("blurry", "front-end")
    ]
    assert np.mean(scores[1]) > np.mean(scores[0]) + 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sizes": (31, 9)}, "31 to 9 px"),
        ({"sizes": (9, 999)}, "largest <= 171"),
        ({"noise": -1}, "noise of -1"),
        ({"noise": float("nan")}, "noise of nan"),
    ],
)
def test_impossible_numbers_are_refused(photographs: Path, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        simulated.find_cases(photographs, **options)


def test_what_is_too_small_or_missing_is_named(photographs: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.png"):
        simulated.find_cases(photographs, sizes=(9, 101))[0].load()
    with pytest.raises(FileError, match=str(tmp_path)):
        simulated.find_cases(tmp_path)
