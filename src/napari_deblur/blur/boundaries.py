"""Borders for deconvolution: the image made circular without a jump.

A deconvolution by Fourier transform takes the image for a torus.  The image is continued by its
border's pixels and the continuation is blended towards a circularly blurred copy of itself, as
MATLAB's `edgetaper` does (Reeves, "Fast image restoration without boundary artifacts", IEEE TIP
2005, compares the ways).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from napari_deblur.blur.spectra import check_batch, fast_length, kernel_spectrum, to_full_precision

__all__ = ["crop_padding", "pad_for_deconvolution", "taper_edges"]


def pad_for_deconvolution(blurry: Tensor, kernel: Tensor, *, rounds: int = 3) -> Tensor:
    """Continue a blurry image by the kernel's side and make it circular.

    Parameters
    ----------
    blurry : Tensor, shape (B, C, H, W)
        Blurry images.
    kernel : Tensor, shape (B, m, m) or (1, m, m)
        Convolution kernels, m odd.
    rounds : int
        How often the edges are tapered.

    Returns
    -------
    Tensor, shape (B, C, h, w)
        h >= H + 2 m and w >= W + 2 m are fast to transform; the image lies at row m and column m
        (see `crop_padding`) and is not changed.

    Raises
    ------
    InputError, KernelError
        If shapes do not fit.
    """
    check_batch(blurry, kernel)
    side = kernel.shape[-1]
    height, width = blurry.shape[-2:]
    below = fast_length(height + 2 * side) - height - side
    right = fast_length(width + 2 * side) - width - side
    with torch.autocast(blurry.device.type, enabled=False):
        blurry = to_full_precision(blurry)
        padded = functional.pad(blurry, (side, right, side, below), mode="replicate")
        return taper_edges(padded, kernel, rounds=rounds)


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
    return padded[..., side : side + shape[0], side : side + shape[1]]


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
    spectrum = kernel_spectrum(kernel, grid)
    down = _taper_weight(kernel.sum(dim=2), grid[0])
    across = _taper_weight(kernel.sum(dim=1), grid[1])
    weight = (down[:, :, None] * across[:, None, :]).unsqueeze(1)
    tapered = image
    for _ in range(rounds):
        blurred = torch.fft.irfft2(torch.fft.rfft2(tapered) * spectrum, s=grid)
        tapered = torch.lerp(blurred, tapered, weight)
    return tapered


def _taper_weight(projection: Tensor, length: int) -> Tensor:
    """Weights (B, length) from the projections (B, m) of kernels on one axis."""
    # The period is length - 1, so that the first and the last pixel both have weight 0.
    side = projection.shape[-1]
    period = max(length - 1, side)
    power = torch.fft.rfft(functional.pad(projection, (0, period - side))).abs().square()
    correlation = torch.fft.irfft(power, n=period)
    correlation = correlation / correlation[:, :1]
    return 1 - torch.cat([correlation, correlation[:, :1]], dim=-1)[:, :length]
