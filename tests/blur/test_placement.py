"""A true kernel is put where the found one lies, by whole pixels and by parts of one."""

from __future__ import annotations

import numpy as np
import pytest

from napari_deblur.blur.placement import align_truth


def _blob(row: float, column: float, side: int = 15) -> np.ndarray:
    """A skewed Gaussian blob about a place, in pixels from the middle."""
    rows, columns = np.mgrid[:side, :side] - side // 2
    y, x = rows - row, columns - column
    blob = np.exp(-(y**2 + 0.4 * y * x + 0.5 * x**2) / 3).astype(np.float32)
    return np.asarray(blob / blob.sum(), np.float32)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (1.0, -2.0), (0.3, -0.45), (2.25, 1.5)])
def test_the_true_kernel_is_shifted_to_the_found_one(shift: tuple[float, float]) -> None:
    found = _blob(0, 0)
    aligned = align_truth(_blob(*shift), found)
    # What a cubic spline makes of a blob as narrow as this.
    np.testing.assert_allclose(aligned, found, atol=0.01 * found.max())
    assert aligned.sum() == pytest.approx(1)


def test_however_far_it_lies() -> None:
    found = _blob(-9, 8, side=31)
    np.testing.assert_allclose(align_truth(_blob(7, -8, side=31), found), found, atol=1e-3)
