"""Deconvolution of a page: marks of any colour on paper of one brightness.

On a page most pixels have the brightness of the paper, which says more than that most gradients are
zero: kernels that were read from text by its edges alone end as dots.  So the latent image that the
kernel is read from may be sparse in its intensity as well (Pan, Hu, Su and Yang, "Deblurring text
images via L0-regularized intensity and gradient prior", CVPR 2014).  Pan et al. want black marks to
be few; here it is whatever differs from the paper, be that white, black or grey.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from napari_deblur.blur.boundaries import crop_padding, pad_for_deconvolution
from napari_deblur.blur.deconvolution import data_term
from napari_deblur.blur.splitting import Splitting
from napari_deblur.errors import InputError

__all__ = ["paper_of", "sparse_marks"]

_BINS: Final = 64
_LEAST_PAPER: Final = 0.1  # of all pixels, within a bin of the fullest one
_END: Final = 2 / _BINS  # how near the darkest or brightest value paper is, as a share of the range
# Splittings end where they cost no more than rounding; that of the intensities much sooner, as the
# paper is not quite of one brightness (Pan et al. end theirs there too).
_LARGEST_BETA: Final = 1e5
_LARGEST_INTENSITY_BETA: Final = 8.0


def paper_of(images: Sequence[Tensor]) -> float | None:
    """Find the brightness of the paper that images show marks on.

    Parameters
    ----------
    images : sequence of Tensor, each of any shape
        Values in [0, 1].

    Returns
    -------
    float or None
        The most frequent brightness, if a tenth of all pixels have it and hardly any is darker, or
        hardly any brighter; None for anything else, as for most photographs.
    """
    values = torch.cat([image.flatten() for image in images])
    low, high = (float(end) for end in (values.min(), values.max()))
    if not high > low:
        return None
    counts = torch.histc(values, _BINS, low, high)
    fullest = int(counts.argmax())
    step = (high - low) / _BINS
    first, last = low + (fullest - 1) * step, low + (fullest + 2) * step
    paper = values[(values >= first) & (values <= last)]
    brightness = float(paper.median())
    distance = min(brightness - low, high - brightness)
    if len(paper) < _LEAST_PAPER * len(values) or distance > _END * (high - low):
        return None
    return brightness


@torch.no_grad()
def sparse_marks(blurry: Tensor, kernel: Tensor, sparsity: float, *, paper: float) -> Tensor:
    """Deconvolve with a penalty on the number of gradients, and of pixels that are not paper.

    Minimises ``|k * x - b|^2 + sparsity (|grad x|_0 + |x - paper|_0)`` by half-quadratic splitting
    with both betas doubled each round.

    Parameters
    ----------
    blurry : Tensor, shape (B, C, H, W)
        Blurry images in [0, 1].
    kernel : Tensor, shape (B, m, m) or (1, m, m)
        Convolution kernels, m odd, sum 1.
    sparsity : float
        Above 0; the larger, the fewer edges and marks.
    paper : float
        Brightness of the paper (see `paper_of`).

    Returns
    -------
    Tensor, shape (B, C, H, W)

    Raises
    ------
    InputError, KernelError
        If shapes do not fit, or `sparsity` is not positive.
    """
    if not sparsity > 0:
        raise InputError(f"sparsity is {sparsity}: it must be above 0; use 0.01")
    image = pad_for_deconvolution(blurry, kernel) - paper
    with torch.autocast(image.device.type, enabled=False):
        rounds = Splitting(image, data_term(image, kernel))
        beta = 2 * sparsity
        while beta < _LARGEST_BETA:
            weight = min(beta, _LARGEST_INTENSITY_BETA)
            rounds.keep_gradients(sparsity / beta)
            rounds.keep_values(sparsity / weight, weight / beta)
            rounds.solve(1 / beta, weight / beta)
            beta *= 2
    cropped = crop_padding(image, (blurry.shape[-2], blurry.shape[-1]), kernel.shape[-1])
    return cropped + paper
