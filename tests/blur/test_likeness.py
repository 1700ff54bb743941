"""How alike kernels are."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

from napari_deblur.blur.likeness import kernel_likeness


@pytest.mark.parametrize("sides", [(9, 9), (15, 31)])
def test_likeness_is_the_best_of_the_direct_correlation(sides: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    first, second = (rng.random((side, side)).astype(np.float32) ** 4 for side in sides)
    direct = scipy.signal.correlate(first, second, method="direct").max()
    expected = direct / np.linalg.norm(first) / np.linalg.norm(second)
    assert kernel_likeness(first, second) == pytest.approx(float(expected), abs=1e-6)


def test_a_shift_and_a_factor_do_not_count() -> None:
    first, second = np.zeros((2, 11, 11), np.float32)
    first[0:3, 0:5] = np.arange(15).reshape(3, 5)
    second[6:9, 5:10] = 3 * np.arange(15).reshape(3, 5)
    assert kernel_likeness(first, second) == pytest.approx(1, abs=1e-6)
