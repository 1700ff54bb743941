"""Borders for deconvolution: the image continued until it is circular and obeys the blur model.

A deconvolution by Fourier transform takes the image for a torus.  The blurry image is therefore
continued by half the kernel's side, as far as the sharp pixels that it has seen reach.  The
continuation starts from the border's pixels, tapered like MATLAB's `edgetaper`.  Then it is made
what the model predicts there: with a Gaussian prior on the sharp image, explaining the continued
blurry image costs ``p.A p``, a quadratic form with a circular A.  Minimising it over the pixels
that were not seen is a linear system; a few steps of conjugate gradients, of two transforms each,
come as far as a hundred of expectation maximisation (deconvolve, blur again, put the seen pixels
back), which matters for wide kernels, whose continuation is wide.

On Levin's 32 images (true kernels, hyper-Laplacian deconvolution) tapering alone gives 33.8 dB,
these steps 34.8 dB; on Lai's manmade_02, text_03 and people_03 with the kernel of 75 px 19.1, 15.2
and 19.0 dB become 23.1, 17.7 and 25.4.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from napari_deblur.blur.spectra import (
    check_batch,
    fast_length,
    for_both_parts,
    gradient_power,
    kernel_spectrum,
    to_full_precision,
)

__all__ = ["crop_padding", "pad_for_deconvolution", "taper_edges"]

# Weight of the data against the squared gradient, for images in [0, 1]: right for a noise of about
# 0.02, and so smooth that the prediction gets from the image to the rim in a few steps.
_PRIOR_WEIGHT: Final = 10.0
# Steps for the smallest kernel, and pixels for one more: the wider, the farther to the rim.
_FEWEST_ROUNDS: Final = 2
_PIXELS_A_ROUND: Final = 8
_TINY: Final = 1e-30  # above the smallest normal number of float32


def pad_for_deconvolution(blurry: Tensor, kernel: Tensor, *, rounds: int | None = None) -> Tensor:
    """Continue a blurry image by half the kernel's side, so that it is circular.

    Parameters
    ----------
    blurry : Tensor, shape (B, C, H, W)
        Blurry images in [0, 1].
    kernel : Tensor, shape (B, m, m) or (1, m, m)
        Convolution kernels, m odd.
    rounds : int, optional
        How many steps of conjugate gradients the continuation is predicted with, 0 or more; by
        default the more, the larger the kernel.

    Returns
    -------
    Tensor, shape (B, C, h, w)
        h >= H + m - 1 and w >= W + m - 1 are fast to transform; the image lies at row and column
        m // 2 (see `crop_padding`) and is not changed.

    Raises
    ------
    InputError, KernelError
        If shapes do not fit.
    """
    check_batch(blurry, kernel)
    side = kernel.shape[-1]
    height, width = blurry.shape[-2:]
    grid = (fast_length(height + side - 1), fast_length(width + side - 1))
    above = left = side // 2
    around = (left, grid[1] - width - left, above, grid[0] - height - above)
    if rounds is None:
        rounds = _FEWEST_ROUNDS + side // _PIXELS_A_ROUND
    with torch.autocast(blurry.device.type, enabled=False):
        blurry, kernel = to_full_precision(blurry), to_full_precision(kernel)
        start = functional.pad(blurry, around, mode="replicate")
        spectrum = kernel_spectrum(kernel, grid)
        tapered = _blend(start, spectrum, _taper_weights(kernel, grid))
        prior = gradient_power(grid, start) / _PRIOR_WEIGHT
        cost = prior / (spectrum.real.square() + spectrum.imag.square() + prior)
        unseen = functional.pad(blurry.new_zeros(height, width), around, value=1.0)
        return _predict(torch.lerp(start, tapered, unseen), cost, unseen, rounds)


def _predict(padded: Tensor, cost: Tensor, unseen: Tensor, rounds: int) -> Tensor:
    """Minimise ``p.A p`` over the pixels where `unseen` is 1, by conjugate gradients.

    Parameters
    ----------
    padded : Tensor, shape (B, C, h, w)
        The start.
    cost : Tensor, shape (B, 1, h, w // 2 + 1)
        Eigenvalues of A: the share of each frequency that blur of a smooth image cannot explain.
    unseen : Tensor, shape (h, w)
        1 outside the image, 0 in it.
    rounds : int
        Steps, 0 or more.
    """
    cost = for_both_parts(cost)
    grid = (padded.shape[-2], padded.shape[-1])

    def apply(values: Tensor) -> Tensor:
        spectrum = torch.view_as_real(torch.fft.rfft2(values)) * cost
        image: Tensor = torch.fft.irfft2(torch.view_as_complex(spectrum), s=grid)
        return image * unseen

    downhill = -apply(padded)
    direction, energy = downhill, _energy(downhill)
    for _ in range(rounds):
        change = apply(direction)
        # Nothing is left to be gained where the energy is 0: then neither step does anything.
        length = energy / (direction * change).sum(dim=(-2, -1), keepdim=True).clamp_min(_TINY)
        padded = padded + length * direction
        downhill = downhill - length * change
        left = _energy(downhill)
        direction = downhill + left / energy.clamp_min(_TINY) * direction
        energy = left
    return padded


def _energy(values: Tensor) -> Tensor:
    return values.square().sum(dim=(-2, -1), keepdim=True)


def crop_padding(padded: Tensor, shape: tuple[int, int], side: int) -> Tensor:
    """Cut the image of `shape` (H, W) out of what `pad_for_deconvolution` made for kernels (m, m).

    Parameters
    ----------
    padded : Tensor, shape (..., h, w)
        The padded image, or anything computed from it on the same grid.
    shape : (int, int)
        Height and width before padding.
    side : int
        Side m of the kernel.
    """
    offset = side // 2
    return padded[..., offset : offset + shape[0], offset : offset + shape[1]]


def taper_edges(image: Tensor, kernel: Tensor, *, rounds: int = 1) -> Tensor:
    """Blend an image's edges towards its circularly blurred copy (MATLAB's `edgetaper`).

    The weight of the image itself is 1 - a, where a is the normalised circular auto-correlation of
    the kernel's projection on each axis: 0 at the very edge, 1 from the kernel's extent inwards.

    Parameters
    ----------
    image : Tensor, shape (B, C, h, w)
        Images on a torus.
    kernel : Tensor, shape (B, m, m) or (1, m, m)
        Convolution kernels, m <= h, w.
    rounds : int
        How often to blend.

    Returns
    -------
    Tensor, shape (B, C, h, w)
    """
    grid = (image.shape[-2], image.shape[-1])
    kernel = to_full_precision(kernel)
    spectrum, weights = kernel_spectrum(kernel, grid), _taper_weights(kernel, grid)
    tapered = image
    for _ in range(rounds):
        tapered = _blend(tapered, spectrum, weights)
    return tapered


def _blend(image: Tensor, spectrum: Tensor, weights: Tensor) -> Tensor:
    """One round of tapering: where the weights are not 1, the image blurred once more."""
    grid = (image.shape[-2], image.shape[-1])
    blurred = torch.fft.irfft2(torch.fft.rfft2(image) * spectrum, s=grid)
    return torch.lerp(blurred, image, weights)


def _taper_weights(kernel: Tensor, grid: tuple[int, int]) -> Tensor:
    """Weights (B, 1, h, w) of the image itself."""
    down = _taper_weight(kernel.sum(dim=2), grid[0])
    across = _taper_weight(kernel.sum(dim=1), grid[1])
    return (down[:, :, None] * across[:, None, :]).unsqueeze(1)


def _taper_weight(projection: Tensor, length: int) -> Tensor:
    """Weights (B, length) from the projections (B, m) of kernels on one axis."""
    # The period is length - 1, so that the first and the last pixel both have weight 0.
    side = projection.shape[-1]
    period = max(length - 1, side)
    power = torch.fft.rfft(functional.pad(projection, (0, period - side))).abs().square()
    correlation = torch.fft.irfft(power, n=period)
    correlation = correlation / correlation[:, :1]
    return 1 - torch.cat([correlation, correlation[:, :1]], dim=-1)[:, :length]
