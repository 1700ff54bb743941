"""Deconvolution of a page: what paper is, and marks that stand on it."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import skimage.data
import torch

from napari_deblur.blur.alternation import Schedule, alternate, straight_start
from napari_deblur.blur.boundaries import crop_padding, pad_for_deconvolution
from napari_deblur.blur.deconvolution import data_term
from napari_deblur.blur.edges import sparse_edges
from napari_deblur.blur.forward import convolve
from napari_deblur.blur.kernel import resize_kernel_support
from napari_deblur.blur.kernel_bank import straight_motion
from napari_deblur.blur.marks import paper_of, sparse_marks
from napari_deblur.blur.spectra import gradient_power
from napari_deblur.errors import InputError


def _page(paper: float, ink: float) -> torch.Tensor:
    """Sixty small rectangles (1, 1, 96, 128), as letters are."""
    rng = np.random.default_rng(0)
    page = torch.full((1, 1, 96, 128), paper)
    for top, left in zip(rng.integers(8, 84, 60), rng.integers(8, 116, 60), strict=True):
        page[..., top : top + int(rng.integers(2, 8)), left : left + 2] = ink
    return page


def _line(length: int) -> torch.Tensor:
    return torch.from_numpy(straight_motion(length, 35, length + 4))[None]


@pytest.mark.parametrize(("paper", "ink"), [(1.0, 0.1), (0.0, 0.7), (0.9, 0.3)])
def test_paper_is_found_in_a_blurry_page_of_either_kind(paper: float, ink: float) -> None:
    blurry = convolve(_page(paper, ink), _line(9), boundary="replicate")
    assert paper_of([blurry]) == pytest.approx(paper, abs=0.02)


def test_photographs_have_no_paper_nor_has_an_even_image() -> None:
    photograph = torch.from_numpy(skimage.data.camera() / np.float32(255))
    blurry = convolve(photograph[None, None], _line(9), boundary="replicate")
    assert paper_of([blurry]) is None
    assert paper_of([torch.full((1, 1, 8, 8), 0.5)]) is None


def test_what_is_most_frequent_but_in_the_middle_is_no_paper() -> None:
    image = _page(0.5, 0.1)
    image[..., :20, :] = 0.9
    assert paper_of([image]) is None


@pytest.mark.parametrize(("paper", "ink"), [(1.0, 0.1), (0.0, 0.7)])
def test_marks_are_recovered_better_than_by_their_edges_alone(paper: float, ink: float) -> None:
    sharp, kernel = _page(paper, ink), _line(15)
    blurry = convolve(sharp, kernel, boundary="replicate")
    rng = np.random.default_rng(1)
    blurry = blurry + 0.01 * torch.from_numpy(rng.standard_normal(blurry.shape)).float()

    marks = sparse_marks(blurry, kernel, 1e-2, paper=paper)
    edges = sparse_edges(blurry, kernel, 1e-2)

    inner = np.s_[..., 10:-10, 10:-10]
    errors = [float((x - sharp)[inner].square().mean()) for x in (marks, edges)]
    assert errors[0] < 0.95 * errors[1]


def _step_by_step(
    blurry: torch.Tensor, kernel: torch.Tensor, sparsity: float, paper: float
) -> torch.Tensor:
    """The splitting as its formula has it."""
    image = pad_for_deconvolution(blurry, kernel) - paper
    grid = (image.shape[-2], image.shape[-1])
    term, roughness = data_term(image, kernel), gradient_power(grid, image)
    beta = 2 * sparsity
    while beta < 1e5:
        weight = min(beta, 8.0)
        marks = image * (image.square() > sparsity / weight)
        down, across = torch.roll(image, -1, -2) - image, torch.roll(image, -1, -1) - image
        edge = down.square() + across.square() > sparsity / beta
        down, across = down * edge, across * edge
        back = torch.roll(down, 1, -2) - down + torch.roll(across, 1, -1) - across
        prior = torch.fft.rfft2(weight * marks + beta * back)
        below = term.power + weight + beta * roughness
        image = torch.fft.irfft2((term.back_projection + prior) / below, s=grid)
        beta *= 2
    return crop_padding(image, (blurry.shape[-2], blurry.shape[-1]), kernel.shape[-1]) + paper


@pytest.mark.parametrize("shape", [(1, 1, 41, 64), (2, 3, 30, 25)])
def test_rounds_without_allocations_give_what_the_formula_gives(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(4)
    blurry = torch.from_numpy(rng.random(shape)).cumsum(-1) % 1
    kernel = torch.from_numpy(rng.random((shape[0], 7, 7)))
    kernel /= kernel.sum(dim=(1, 2), keepdim=True)
    before = blurry.clone()
    found = sparse_marks(blurry, kernel, 1e-2, paper=0.9)
    expected = _step_by_step(blurry, kernel, 1e-2, paper=0.9)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)
    torch.testing.assert_close(blurry, before, rtol=0, atol=0)


def test_black_on_white_is_white_on_black_turned_over() -> None:
    blurry = convolve(_page(1.0, 0.1), _line(9), boundary="replicate")
    first = sparse_marks(blurry, _line(9), 1e-2, paper=1.0)
    second = sparse_marks(1 - blurry, _line(9), 1e-2, paper=0.0)
    torch.testing.assert_close(first, 1 - second, atol=1e-4, rtol=0)


def test_the_alternation_reads_kernels_from_marks_as_well() -> None:
    kernel = _line(9)
    blurry = convolve(_page(1.0, 0.1), kernel, boundary="replicate")
    schedule = Schedule(sparsity=1e-2, latent=partial(sparse_marks, paper=1.0))
    found = alternate([blurry], straight_start(13), 0, schedule)
    overlap = np.minimum(found, resize_kernel_support(kernel[0].numpy(), 13)).sum()
    assert overlap > 0.5


def test_no_penalty_is_refused() -> None:
    with pytest.raises(InputError, match="above 0"):
        sparse_marks(_page(1.0, 0.1), _line(9), 0.0, paper=1.0)
