"""Pairs of true and found kernels: read exactly, refused with reasons, used together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_deblur.errors import RecipeError
from napari_deblur.training.batches import LEAST_NOISE_FOUND, BatchMaker, KernelBank
from napari_deblur.training.kernel_pairs import read_pairs
from napari_deblur.training.recipe import DataRecipe, SensorRecipe
from napari_deblur.training.store import ImageStore

if TYPE_CHECKING:
    from pathlib import Path

CPU = torch.device("cpu")


def _kernels(seed: int, side: int = 5) -> np.ndarray:
    kernels = np.random.default_rng(seed).random((3, side, side), np.float32)
    return kernels / kernels.sum(axis=(1, 2), keepdims=True)


def _write(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


def test_smaller_kernels_lie_in_the_middle_with_a_sum_of_one(tmp_path: Path) -> None:
    true, found = _kernels(0), _kernels(1)
    pairs = read_pairs(_write(tmp_path / "pairs.npz", true=true, found=3 * found), 9, CPU)
    assert len(pairs) == 3
    np.testing.assert_allclose(pairs.true[:, 2:-2, 2:-2], true, rtol=1e-6)
    np.testing.assert_allclose(pairs.found[:, 2:-2, 2:-2], found, rtol=1e-5)
    np.testing.assert_allclose(pairs.found.sum(dim=(1, 2)), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"true": _kernels(0)}, "found"),
        ({"true": _kernels(0), "found": _kernels(0)[:2]}, r"\(2, 5, 5\)"),
        ({"true": _kernels(0, 11), "found": _kernels(0, 11)}, "at most 9"),
        ({"true": _kernels(0, 4), "found": _kernels(0, 4)}, "odd"),
        ({"true": _kernels(0), "found": -_kernels(0)}, "negative"),
        ({"true": _kernels(0), "found": 0 * _kernels(0)}, "empty"),
        ({"true": np.array([None]), "found": _kernels(0)}, "cannot be read"),
    ],
)
def test_a_file_without_usable_pairs_is_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], reason: str
) -> None:
    path = _write(tmp_path / "pairs.npz", **arrays)
    with pytest.raises(RecipeError, match=reason):
        read_pairs(path, 9, CPU)


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pairs.npz"
    path.write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(RecipeError, match="keep-kernels"):
        read_pairs(path, 9, CPU)


def test_batches_are_blurred_with_the_true_kernel_and_told_the_found_one(tmp_path: Path) -> None:
    # The bank holds nothing but points, so whatever is wide is from the pairs.
    point = np.zeros((1, 5, 5), np.float16)
    point[0, 2, 2] = 1
    true, found = _kernels(0), _kernels(1)
    maker = BatchMaker(
        store=ImageStore.gather(
            [("photographs", np.random.default_rng(0).integers(0, 255, (60, 50, 3), np.uint8))]
        ),
        bank=KernelBank.gather([point], CPU),
        data=DataRecipe(),
        sensor=SensorRecipe(noise=(0.001, 0.001)),
        batch=64,
        crop=24,
        view="channel",
        seed=1,
        stream="synthesis",
        pairs=read_pairs(_write(tmp_path / "pairs.npz", true=true, found=found), 5, CPU),
        found=0.5,
    )
    batch = maker.make(0)
    from_pairs = batch.kernel.amax(dim=(1, 2)) < 0.9
    assert 16 < int(from_pairs.sum()) < 48
    for kernel, given in zip(batch.kernel[from_pairs], batch.given[from_pairs], strict=True):
        which = _place(kernel.numpy(), true)
        assert which == _place(given.numpy(), found)
    torch.testing.assert_close(batch.given[~from_pairs], batch.kernel[~from_pairs])
    assert torch.all(batch.sigma[from_pairs] == LEAST_NOISE_FOUND)
    torch.testing.assert_close(
        batch.sigma[~from_pairs], torch.full_like(batch.sigma, 1e-3)[~from_pairs]
    )


def _place(kernel: np.ndarray, kernels: np.ndarray) -> tuple[int, int]:
    """Which of the kernels it is, in which of eight orientations."""
    for index, other in enumerate(kernels):
        for turn in range(8):
            turned = np.rot90(other.T if turn > 3 else other, turn % 4)
            if np.allclose(kernel, turned, atol=1e-6):
                return index, turn
    raise AssertionError("a kernel that is none of the file's")
