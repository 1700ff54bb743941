"""Pairs of kernels for training: aligned, without failures, readable by training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import skimage.data
import skimage.io
import torch

from napari_deblur.blur.kernel import delta_kernel
from napari_deblur.cli.running import run
from napari_deblur.errors import InputError
from napari_deblur.evaluation.benchmark import KernelPair
from napari_deblur.evaluation.kernel_pairs import write_pairs
from napari_deblur.training.kernel_pairs import read_pairs

if TYPE_CHECKING:
    from pathlib import Path


def _blob(row: float, column: float, side: int = 15) -> np.ndarray:
    """A skewed Gaussian blob about a place, in pixels from the middle."""
    rows, columns = np.mgrid[:side, :side] - side // 2
    y, x = rows - row, columns - column
    blob = np.exp(-(y**2 + 0.4 * y * x + 0.5 * x**2) / 3).astype(np.float32)
    return np.asarray(blob / blob.sum(), np.float32)


def test_failures_are_left_out_and_sizes_joined(tmp_path: Path) -> None:
    good = KernelPair(_blob(0, 0, 13), _blob(0.2, 0, 15))
    failed = KernelPair(_blob(0, 0), delta_kernel(15))
    assert write_pairs(tmp_path / "pairs.npz", [good, failed, None]) == (1, 2)
    pairs = read_pairs(tmp_path / "pairs.npz", 31, torch.device("cpu"))
    assert tuple(pairs.true.shape) == (1, 31, 31)
    np.testing.assert_allclose(pairs.found[0, 8:-8, 8:-8], good.found, atol=1e-6)
    with pytest.raises(InputError, match="None of 1"):
        write_pairs(tmp_path / "none.npz", [failed])
    assert not (tmp_path / "none.npz").exists()


def test_the_command_line_keeps_what_its_search_found(tmp_path: Path) -> None:
    folder = tmp_path / "photographs"
    folder.mkdir()
    skimage.io.imsave(folder / "a.png", skimage.data.camera()[60:260, 160:360])
    where = tmp_path / "out" / "pairs.npz"
    command = ["evaluate", "simulate", str(folder), "--kernels", "7", "9", "--noise", "0.001"]
    assert run([*command, "--keep-kernels", str(where)]) == 0
    pairs = read_pairs(where, 31, torch.device("cpu"))
    true, found = pairs.true[0].flatten(), pairs.found[0].flatten()
    assert float(true @ found / true.norm() / found.norm()) > 0.7
