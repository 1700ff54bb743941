"""What makes a kernel valid, and what centring, resizing and measuring keep."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_deblur.blur.kernel import (
    centre_kernel,
    centroid,
    check_kernel,
    check_side,
    delta_kernel,
    kernel_support,
    resize_kernel_support,
)
from napari_deblur.errors import KernelError

odd_sides = st.integers(0, 8).map(lambda radius: 2 * radius + 1)


@st.composite
def kernels(draw: st.DrawFn) -> np.ndarray:
    side = draw(odd_sides)
    values = draw(hnp.arrays(np.float64, (side, side), elements=st.floats(0, 10)))
    values[side // 2, side // 2] += 1  # so that neither the sum nor the middle is zero
    return values


@pytest.mark.parametrize(
    ("kernel", "words"),
    [
        (np.ones(3), "2-D"),
        (np.ones((1, 3, 3)), "2-D"),
        (np.ones((3, 5)), "3x5"),
        (np.ones((4, 4)), "odd"),
        (np.zeros((3, 3)), "all zero"),
        (np.ones((3, 3)) - 1.5, "-0.5"),
        (np.full((3, 3), np.nan), "finite"),
        (np.full((3, 3), np.inf), "finite"),
        (np.ones((3, 3), complex), "complex128"),
        (np.ones((3, 3), bool), "bool"),
        (np.ones((33, 33)), "at most 31x31"),
        (np.empty((0, 0)), "odd"),
        ([[1, 2, 3], [4]], "no array"),
        ("kernel.tif", "dtype"),
    ],
)
def test_what_is_no_kernel_is_refused_in_one_line(kernel: np.ndarray, words: str) -> None:
    with pytest.raises(KernelError, match=words) as caught:
        check_kernel(kernel, largest=31)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [0, 2, -1, 3.0, True])
def test_side_must_be_odd_and_positive(size: object) -> None:
    with pytest.raises(KernelError, match="odd"):
        check_side(size)  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [1e-40, 1.0, 255, 1e30, 1e308 / 4])
def test_checked_kernel_has_sum_one_at_any_scale(scale: float) -> None:
    kernel = np.array([[0, 1, 0], [1, 4, 2], [0, 0, 0]]) * scale
    checked = check_kernel(kernel)
    assert checked.dtype == np.float32
    np.testing.assert_allclose(checked * 8, [[0, 1, 0], [1, 4, 2], [0, 0, 0]], rtol=1e-6)


@given(kernels())
def test_centring_moves_the_centroid_to_the_middle_and_keeps_the_mass(kernel: np.ndarray) -> None:
    roomy = np.pad(kernel, kernel.shape[0])
    centred = centre_kernel(roomy)
    assert centred.shape == roomy.shape
    assert centred.sum() == pytest.approx(1, abs=1e-5)
    assert centred.min() >= 0
    assert max(map(abs, centroid(centred))) < 2e-3


def test_centring_is_a_linear_shift() -> None:
    kernel = np.zeros((9, 9))
    kernel[2, 3:5] = 1, 3
    row, column = centroid(kernel)
    expected = scipy.ndimage.shift(kernel / 4, (-row, -column), order=1)
    np.testing.assert_allclose(centre_kernel(kernel), expected, atol=1e-6)


def test_centring_goes_on_when_mass_falls_over_the_border() -> None:
    kernel = np.zeros((5, 5))
    kernel[0, 0], kernel[4, 4], kernel[4, 3] = 1, 5, 5
    centred = centre_kernel(kernel)
    assert max(map(abs, centroid(centred))) < 2e-3
    assert centred.sum() == pytest.approx(1)


@given(kernels(), odd_sides)
def test_resizing_keeps_the_middle(kernel: np.ndarray, size: int) -> None:
    resized = resize_kernel_support(kernel, size)
    assert resized.shape == (size, size)
    assert resized.sum() == pytest.approx(1, abs=1e-5)
    side = min(size, kernel.shape[0])
    inner, outer = ((s - side) // 2 for s in (kernel.shape[0], size))
    kept = kernel[inner : inner + side, inner : inner + side]
    got = resized[outer : outer + side, outer : outer + side]
    np.testing.assert_allclose(got, kept / kept.sum(), atol=1e-6)


def test_crop_to_nothing_is_refused() -> None:
    kernel = np.zeros((5, 5))
    kernel[0, 0] = 1
    with pytest.raises(KernelError, match="middle 3x3"):
        resize_kernel_support(kernel, 3)


@pytest.mark.parametrize(("offset", "side"), [((0, 0), 1), ((0, 2), 5), ((-3, 1), 7)])
def test_support_is_the_centred_square_that_holds_all(offset: tuple[int, int], side: int) -> None:
    kernel = delta_kernel(9)
    kernel[4 + offset[0], 4 + offset[1]] = 1
    kernel[8, 8] = 0.005  # negligible
    assert kernel_support(kernel) == side
    assert kernel_support(kernel, fraction=0.001) == 9
