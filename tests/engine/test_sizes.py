"""Which sizes of kernel are looked for, and which kernel of several sizes is believed."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import pytest
import skimage.data
import torch

from napari_deblur.blur.kernel import delta_kernel
from napari_deblur.blur.kernel_bank import straight_motion
from napari_deblur.engine.comparison import Comparison, share_beyond
from napari_deblur.engine.estimation import Estimate
from napari_deblur.engine.layout import open_picture
from napari_deblur.engine.progress import Progress, drain
from napari_deblur.engine.region import find_region
from napari_deblur.engine.simulate import shake
from napari_deblur.engine.sizes import SizePlan, find_at_sizes, look_elsewhere
from napari_deblur.engine.suspicion import reaches_beyond
from napari_deblur.engine.views import look_at

CPU = torch.device("cpu")
SIZES = (9, 17, 25)
SHARP = skimage.data.camera()[60:300, 140:380] / np.float32(255)


def frames_of(blurry: np.ndarray) -> list:
    picture = open_picture(blurry, value_range=(0, 1))
    return [(picture, find_region(None, picture.layout.size))]


def padded(kernel: np.ndarray, size: int) -> np.ndarray:
    return np.pad(kernel, (size - kernel.shape[0]) // 2)


class Search:
    """A search that ends with kernels known beforehand, and notes what was asked of it."""

    def __init__(self, kernels: dict[int, np.ndarray], *, suspects: bool = True) -> None:
        self.kernels = kernels
        self.suspects = suspects
        self.asked: list[int | str] = []

    def find_at(self, size: int) -> Generator[Progress, None, Estimate]:
        self.asked.append(size)
        yield Progress("kernel", 1, 1)
        return Estimate(self.kernels[size], informative=True)

    def suspect(self, _found: Estimate, size: int) -> Generator[Progress, None, bool]:
        self.asked.append(f"suspect {size}")
        yield Progress("kernel", 1, 1)
        return self.suspects

    def run(self, order: str, blurry: np.ndarray) -> np.ndarray:
        comparison = Comparison(frames_of(blurry), SIZES[0], CPU)
        plan = SizePlan(SIZES, order)
        found: Estimate = drain(find_at_sizes(plan, self.find_at, self.suspect, comparison))
        return found.kernel


@pytest.fixture(scope="module")
def small() -> tuple[np.ndarray, np.ndarray]:
    """A photograph shaken by a kernel of at most 9 px, and the kernel."""
    return shake(SHARP, size=9, seed=2, noise=0.003)


@pytest.fixture(scope="module")
def large() -> tuple[np.ndarray, np.ndarray]:
    """A photograph shaken by a kernel of 25 px, and the kernel."""
    return shake(SHARP, size=25, seed=3, noise=0.003)


def test_of_kernels_that_fit_the_smallest_size_the_one_found_there_is_believed(small) -> None:
    blurry, truth = small
    worse = 0.9 * truth + 0.1 * delta_kernel(9)
    wide = padded(truth, 25)
    # Though it is 2 % dearer, which would count if the search there were not the precise one.
    assert Comparison(frames_of(blurry), 7, CPU).wider_is_better(worse, wide)
    search = Search({9: worse, 25: wide})
    assert search.run("both", blurry) is worse
    assert search.asked == [9, 25]


def test_a_dot_is_not_believed_where_a_wider_kernel_needs_fewer_edges(large) -> None:
    blurry, truth = large
    for order, asked in (("both", [9, 25]), ("suspect", [9, "suspect 25", 25])):
        search = Search({9: delta_kernel(9), 25: truth})
        assert search.run(order, blurry) is truth
        assert search.asked == asked


def test_what_was_found_at_the_largest_size_says_which_size_to_look_at_again(large, small) -> None:
    blurry, truth = large
    search = Search({25: truth})
    assert search.run("largest", blurry) is truth
    assert search.asked == [25]

    blurry, truth = small
    wide = padded(truth, 25)
    search = Search({25: wide, 9: truth})
    assert search.run("largest", blurry) is truth
    assert search.asked == [25, 9]
    # Much dearer than what was found first: not believed.
    search = Search({25: wide, 9: straight_motion(8, 90, 9)})
    assert search.run("largest", blurry) is wide


def test_larger_sizes_are_left_alone_where_nothing_makes_them_suspected(small) -> None:
    blurry, truth = small
    search = Search({9: truth}, suspects=False)
    assert search.run("suspect", blurry) is truth
    assert search.asked == [9, "suspect 25"]


def test_where_the_blur_is_surely_small_only_a_kernel_that_explains_little_is_doubted(
    small, large
) -> None:
    blurry, truth = small
    search = Search({9: truth})
    assert search.run("doubt", blurry) is truth
    assert search.asked == [9]

    blurry, truth = large
    search = Search({9: delta_kernel(9), 25: truth})
    assert search.run("doubt", blurry) is truth
    assert search.asked == [9, "suspect 25", 25]


def test_a_large_kernel_that_explains_little_is_looked_for_on_other_supports(large) -> None:
    blurry, truth = large
    comparison = Comparison(frames_of(blurry), SIZES[0], CPU)
    wrong = np.ascontiguousarray(truth[::-1, ::-1])

    def look(kernel: np.ndarray, elsewhere: dict[int, np.ndarray]) -> tuple[np.ndarray, list[int]]:
        asked = []

        def find_on(side: int) -> Generator[Progress, None, np.ndarray]:
            asked.append(side)
            yield Progress("refine", 1, 1)
            return elsewhere[side]

        return drain(look_elsewhere(kernel, find_on, comparison)), asked

    found, asked = look(truth, {})
    assert found is truth
    assert asked == []

    found, asked = look(wrong, {29: padded(truth, 29)})
    np.testing.assert_allclose(found, truth, atol=1e-7)
    assert asked == [29]

    # What explains no more, and what does not fit, are not believed.
    beyond = straight_motion(28, 90, 29)
    found, asked = look(wrong, {29: beyond, 23: delta_kernel(23)})
    assert found is wrong
    assert asked == [29, 23]


def test_the_share_of_a_kernel_beyond_a_support() -> None:
    kernel = np.zeros((7, 7), np.float32)
    kernel[3, 3], kernel[0, 3], kernel[3, 1] = 0.7, 0.1, 0.2
    shares = [share_beyond(kernel, size) for size in (1, 3, 5, 7, 9)]
    assert shares == pytest.approx([0.3, 0.3, 0.1, 0, 0], abs=1e-6)


@pytest.mark.parametrize(("size", "beyond"), [(13, False), (75, True)])
def test_a_small_image_shows_whether_blur_reaches_beyond_a_kernel(size: int, beyond: bool) -> None:
    """What a search at 31 px ends with: the kernel, or a dot where it cannot hold the kernel."""
    sharp = skimage.data.camera() / np.float32(255)
    blurry, truth = shake(sharp, size=size, seed=4, noise=0.005)
    found = delta_kernel(31) if beyond else padded(truth, 31)
    start = straight_motion(5, 0, 31)  # of no use
    views = look_at(frames_of(blurry), CPU)
    assert reaches_beyond(views, found, start, 31 / 85, 85, rounds=3) == beyond
