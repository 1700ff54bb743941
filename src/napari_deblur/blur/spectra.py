"""Discrete Fourier transforms of kernels and of finite differences, at lengths that are fast.

All transforms take real input, in float32 or better; autocast is off wherever they run.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from napari_deblur.errors import InputError, KernelError

__all__ = [
    "check_batch",
    "fast_length",
    "for_both_parts",
    "gradient_power",
    "kernel_spectrum",
    "to_full_precision",
]


def fast_length(length: int) -> int:
    """Return the smallest even number >= `length` without prime factors above 5."""
    candidate = length + length % 2
    while _rest_after_small_factors(candidate) > 1:
        candidate += 2
    return candidate


def _rest_after_small_factors(number: int) -> int:
    for factor in (2, 3, 5):
        while number % factor == 0:
            number //= factor
    return number


def to_full_precision(tensor: Tensor) -> Tensor:
    """Return the tensor as float32, or unchanged if it is float64."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def check_batch(image: Tensor, kernel: Tensor) -> None:
    """Check that `image` is (B, C, H, W) and `kernel` (B, m, m) or (1, m, m) with odd m.

    Raises
    ------
    InputError
        If the image's shape or the batch sizes do not fit.
    KernelError
        If the kernels are not a batch of odd squares.
    """
    if image.ndim != 4 or 0 in image.shape:
        raise InputError(
            f"image has shape {tuple(image.shape)}: it must be (B, C, H, W) and not empty; "
            "add the missing axes"
        )
    if kernel.ndim != 3 or kernel.shape[1] != kernel.shape[2] or kernel.shape[1] % 2 == 0:
        raise KernelError(
            f"kernel has shape {tuple(kernel.shape)}: it must be (B, m, m) with odd m; "
            "add the batch axis or pad the kernel"
        )
    if kernel.shape[0] not in (1, image.shape[0]):
        raise InputError(
            f"{kernel.shape[0]} kernels for {image.shape[0]} images: give one for each or one for "
            "all"
        )


def kernel_spectrum(kernel: Tensor, shape: tuple[int, int]) -> Tensor:
    """Transform kernels as circular convolutions on a grid, with the middle pixel at the origin.

    Parameters
    ----------
    kernel : Tensor, shape (B, m, m)
        Convolution kernels, m odd.
    shape : (int, int)
        Height h and width w of the grid, each at least m.

    Returns
    -------
    Tensor, shape (B, 1, h, w // 2 + 1), complex
    """
    side = kernel.shape[-1]
    height, width = shape
    grid = functional.pad(to_full_precision(kernel), (0, width - side, 0, height - side))
    grid = torch.roll(grid, (-(side // 2), -(side // 2)), dims=(-2, -1))
    spectrum: Tensor = torch.fft.rfft2(grid)
    return spectrum.unsqueeze(1)


def for_both_parts(values: Tensor) -> Tensor:
    """Repeat real values (...) for the real and the imaginary part of a spectrum, (..., 2).

    A product with ``torch.view_as_real(spectrum)`` then runs through memory as it lies, which
    processors do several times faster than a product of complex and real numbers.
    """
    return torch.stack((values, values), dim=-1)


def gradient_power(shape: tuple[int, int], like: Tensor) -> Tensor:
    """Power spectrum of the circular first differences down and across.

    Parameters
    ----------
    shape : (int, int)
        Height h and width w of the grid.
    like : Tensor
        A real tensor whose dtype and device the result takes.

    Returns
    -------
    Tensor, shape (h, w // 2 + 1), real
        |Dy|^2 + |Dx|^2; 0 at frequency 0, at most 8.
    """
    height, width = shape
    rows = torch.arange(height, dtype=like.dtype, device=like.device) * (2 * math.pi / height)
    columns = torch.arange(width // 2 + 1, dtype=like.dtype, device=like.device)
    columns = columns * (2 * math.pi / width)
    return (2 - 2 * torch.cos(rows))[:, None] + (2 - 2 * torch.cos(columns))[None, :]
