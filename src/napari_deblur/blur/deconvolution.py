"""Classical deconvolution with a known kernel: Wiener and hyper-Laplacian.

Both work in the frequency domain on the padded, edge-tapered image (`boundaries`), in batches, and
are differentiable with respect to the blurry image, the kernel and the weights, so that they can
stand before or inside a network.

The quadratic steps that unrolled networks need are exposed on their own: `data_term` transforms the
blurry image and the kernel once, `data_step` and `gradient_data_step` solve.

Images are taken to lie in [0, 1]; all weights `lambda` below refer to that range.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from napari_deblur.blur.boundaries import crop_padding, pad_for_deconvolution
from napari_deblur.blur.spectra import (
    for_both_parts,
    gradient_power,
    kernel_spectrum,
    to_full_precision,
)
from napari_deblur.errors import InputError

__all__ = [
    "NATURAL_WEIGHT",
    "DataTerm",
    "data_step",
    "data_term",
    "gradient_data_step",
    "hyper_laplacian",
    "hyper_laplacians",
    "shrink",
    "solve_data_step",
    "wiener",
]

BETAS: Final = (*(2 ** (1.5 * i) for i in range(6)), 256.0)

NATURAL_WEIGHT: Final = 0.2
"""Data weight of `hyper_laplacian` times the noise's variance that suits natural images."""


@dataclass(frozen=True)
class DataTerm:
    """The least-squares term |k * x - b|^2 in the frequency domain.

    Attributes
    ----------
    shape : (int, int)
        Height h and width w of the grid.
    back_projection : Tensor, shape (B, C, h, w // 2 + 1), complex
        Spectrum of the blurry image times the conjugate spectrum of the kernel.
    power : Tensor, shape (B, 1, h, w // 2 + 1)
        |K|^2.
    """

    shape: tuple[int, int]
    back_projection: Tensor
    power: Tensor


def data_term(padded: Tensor, kernel: Tensor) -> DataTerm:
    """Transform a blurry image on a torus and its kernels.

    Parameters
    ----------
    padded : Tensor, shape (B, C, h, w)
        Blurry images, usually from `pad_for_deconvolution`.
    kernel : Tensor, shape (B, m, m) or (1, m, m)
        Convolution kernels, m <= h, w.
    """
    shape = (padded.shape[-2], padded.shape[-1])
    with torch.autocast(padded.device.type, enabled=False):
        spectrum = kernel_spectrum(kernel, shape)
        blurry = torch.fft.rfft2(to_full_precision(padded))
        power = spectrum.real.square() + spectrum.imag.square()
        return DataTerm(shape, blurry * spectrum.conj(), power)


def data_step(term: DataTerm, prior: Tensor, weight: float | Tensor) -> Tensor:
    """Solve argmin_x weight |k * x - b|^2 + |x - prior|^2 exactly.

    Parameters
    ----------
    term : DataTerm
        The blurry image b and the kernel k.
    prior : Tensor, shape (B, C, h, w)
        What x should be like.
    weight : float or Tensor, shape (B,)
        Weight of the data, above 0.

    Returns
    -------
    Tensor, shape (B, C, h, w)
    """
    with torch.autocast(prior.device.type, enabled=False):
        return solve_data_step(term, to_full_precision(prior), weight, 1)


def gradient_data_step(
    term: DataTerm, down: Tensor, across: Tensor, weight: float | Tensor
) -> Tensor:
    """Solve argmin_x weight |k * x - b|^2 + |Dy x - down|^2 + |Dx x - across|^2 exactly.

    Dy x = x[i + 1, j] - x[i, j] and Dx x = x[i, j + 1] - x[i, j], both circular.

    Parameters
    ----------
    term : DataTerm
        The blurry image b and the kernel k.
    down, across : Tensor, shape (B, C, h, w)
        What the gradient of x should be like.
    weight : float or Tensor, shape (B,)
        Weight of the data, above 0.

    Returns
    -------
    Tensor, shape (B, C, h, w)
    """
    with torch.autocast(down.device.type, enabled=False):
        prior_power = gradient_power(term.shape, term.power)
        return solve_data_step(term, _adjoint_gradient(down, across), weight, prior_power)


def solve_data_step(
    term: DataTerm, prior: Tensor, weight: float | Tensor, prior_power: float | Tensor
) -> Tensor:
    """Solve ``(weight K^T K + P) x = weight K^T b + prior`` for a circular P.

    Parameters
    ----------
    term : DataTerm
        The blurry image b and the kernel k.
    prior : Tensor, shape (B, C, h, w)
        What the prior's derivative is at x = 0: for ``|x - y|^2``, whose P is 1, the image y; for
        ``sum |f * x - r|^2`` the sum of all r, each correlated with its filter f.
    weight : float or Tensor, shape (B,)
        Weight of the data, above 0.
    prior_power : float or Tensor, broadcasting with (B, 1, h, w // 2 + 1)
        Eigenvalues of P: the power spectrum of the prior's filters.

    Returns
    -------
    Tensor, shape (B, C, h, w)
    """
    weight = _per_item(weight, term.power)
    factor = 1 / (weight * term.power + prior_power)
    spectrum = torch.fft.rfft2(prior)
    solution = _scale(term.back_projection, weight * factor) + _scale(spectrum, factor)
    image: Tensor = torch.fft.irfft2(solution, s=term.shape)
    return image


def wiener(blurry: Tensor, kernel: Tensor, weights: Sequence[float] | Tensor) -> Tensor:
    """Deconvolve with a Gaussian prior on the gradients, for several weights at once.

    Minimises ``weight |k * x - b|^2 + |grad x|^2`` (Tikhonov; the Wiener filter for images with a
    power spectrum that falls with the square of the frequency).

    Parameters
    ----------
    blurry : Tensor, shape (B, C, H, W)
        Blurry images in [0, 1].
    kernel : Tensor, shape (B, m, m) or (1, m, m)
        Convolution kernels, m odd, sum 1.
    weights : sequence of float, or Tensor of shape (n,) or (B, n)
        Weights of the data, above 0; large for little noise.

    Returns
    -------
    Tensor, shape (B, n, C, H, W)
        One deconvolution per weight.

    Raises
    ------
    InputError, KernelError
        If shapes do not fit.
    """
    padded = pad_for_deconvolution(blurry, kernel)
    term = data_term(padded, kernel)
    with torch.autocast(blurry.device.type, enabled=False):
        table = torch.as_tensor(weights, dtype=padded.dtype, device=padded.device)
        if table.ndim not in (1, 2) or 0 in table.shape:
            raise InputError(
                f"weights have shape {tuple(table.shape)}: they must be (n,) or (B, n); "
                "give at least one"
            )
        table = table.reshape(-1, table.shape[-1], 1, 1, 1)
        factor = 1 / (term.power.unsqueeze(1) + gradient_power(term.shape, padded) / table)
        images = torch.fft.irfft2(_scale(term.back_projection.unsqueeze(1), factor), s=term.shape)
    return crop_padding(images, (blurry.shape[-2], blurry.shape[-1]), kernel.shape[-1])


def hyper_laplacian(
    blurry: Tensor,
    kernel: Tensor,
    weight: float | Tensor = 4000.0,
    *,
    exponent: float = 0.8,
    betas: Sequence[float] = BETAS,
) -> Tensor:
    """Deconvolve with a hyper-Laplacian prior on the gradients.

    Minimises ``weight / 2 |k * x - b|^2 + sum |grad x|^exponent`` by half-quadratic splitting, one
    round per beta (Krishnan and Fergus, "Fast image deconvolution using hyper-Laplacian priors",
    NIPS 2009).

    Parameters
    ----------
    blurry : Tensor, shape (B, C, H, W)
        Blurry images in [0, 1].
    kernel : Tensor, shape (B, m, m) or (1, m, m)
        Convolution kernels, m odd, sum 1.
    weight : float or Tensor, shape (B,)
        Weight of the data, above 0; large for little noise.
    exponent : float
        Exponent of the prior, above 0 up to 1.
    betas : sequence of float
        Weights of the splitting, rising.

    Returns
    -------
    Tensor, shape (B, C, H, W)

    Raises
    ------
    InputError, KernelError
        If shapes do not fit, or a parameter is out of its range.
    """
    return hyper_laplacians(blurry, kernel, [weight], exponent=exponent, betas=betas)[0]


def hyper_laplacians(
    blurry: Tensor,
    kernel: Tensor,
    weights: Sequence[float | Tensor],
    *,
    exponent: float = 0.8,
    betas: Sequence[float] = BETAS,
) -> list[Tensor]:
    """Deconvolve as `hyper_laplacian` for several weights, with what they share done once.

    Parameters
    ----------
    blurry, kernel, exponent, betas
        See `hyper_laplacian`.
    weights : sequence of float or Tensor, shape (B,)
        Weights of the data, above 0.

    Returns
    -------
    list of Tensor, each of shape (B, C, H, W)
        One for each weight.
    """
    if not 0 < exponent <= 1:
        raise InputError(f"exponent is {exponent}: it must be above 0 and at most 1; use 0.8")
    padded = pad_for_deconvolution(blurry, kernel)
    term = data_term(padded, kernel)
    shape = (blurry.shape[-2], blurry.shape[-1])
    images = [_hyper_laplacian(padded, term, each, exponent, betas) for each in weights]
    return [crop_padding(image, shape, kernel.shape[-1]) for image in images]


def _hyper_laplacian(
    image: Tensor, term: DataTerm, weight: float | Tensor, exponent: float, betas: Sequence[float]
) -> Tensor:
    """`hyper_laplacian` on a torus."""
    with torch.autocast(image.device.type, enabled=False):
        power = for_both_parts(term.power)
        prior = for_both_parts(gradient_power(term.shape, image))
        data = torch.view_as_real(term.back_projection)
        inverse = 1 / _per_item(weight, term.power).unsqueeze(-1)
        for beta in betas:
            down, across = _gradient(image)
            down, across = shrink(down, beta, exponent), shrink(across, beta, exponent)
            spectrum = torch.view_as_real(torch.fft.rfft2(_adjoint_gradient(down, across)))
            share = beta * inverse
            solution = (share * spectrum + data) / (power + share * prior)
            image = torch.fft.irfft2(torch.view_as_complex(solution), s=term.shape)
    return image


def shrink(values: Tensor, beta: float, exponent: float) -> Tensor:
    """Solve argmin_w |w|^exponent + beta / 2 (w - values)^2 for each value.

    Parameters
    ----------
    values : Tensor, any shape
        Real values.
    beta : float
        Above 0.
    exponent : float
        Above 0 up to 1; 1 is soft thresholding.

    Returns
    -------
    Tensor, shape of `values`
        Differentiable, with derivative 0 where the solution is 0.
    """
    solution: Tensor = _Shrink.apply(values, beta, exponent)  # type: ignore[no-untyped-call]
    return solution


class _Shrink(torch.autograd.Function):
    """Newton's method forwards; the implicit function theorem backwards."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, beta: float, exponent: float) -> Tensor:
        # Up to the threshold 0 is cheaper; there the solution jumps to `smallest`.
        smallest = (2 * (1 - exponent) / beta) ** (1 / (2 - exponent))
        threshold = smallest + exponent / beta * smallest ** (exponent - 1)
        magnitude = values.abs()
        zero = magnitude <= threshold
        magnitude.clamp_(min=threshold)
        # Exact at the threshold and for exponent 1.  The cost is convex from there on and so is
        # its derivative: Newton's steps converge; two leave a relative error of 1e-6.
        root = magnitude - (threshold - smallest)
        if exponent < 1:
            for _ in range(3 if values.dtype == torch.float64 else 2):
                power = root.log2().mul_(exponent - 2).exp2_()
                slope = torch.sub(root, magnitude).addcmul_(power, root, value=exponent / beta)
                root.sub_(slope.div_(power.mul_(exponent * (exponent - 1) / beta).add_(1)))
        solution: Tensor = root.copysign_(values).masked_fill_(zero, 0)
        ctx.save_for_backward(solution)
        ctx.beta, ctx.exponent = beta, exponent
        return solution

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (solution,) = ctx.saved_tensors
        exponent = ctx.exponent
        curvature = solution.abs().pow(exponent - 2) * (exponent * (exponent - 1) / ctx.beta) + 1
        return torch.where(solution != 0, gradient / curvature, 0.0), None, None


def _gradient(image: Tensor) -> tuple[Tensor, Tensor]:
    """Circular forward differences down and across."""
    return torch.roll(image, -1, -2) - image, torch.roll(image, -1, -1) - image


def _adjoint_gradient(down: Tensor, across: Tensor) -> Tensor:
    """Apply the adjoint of `_gradient`."""
    return torch.roll(down, 1, -2) - down + torch.roll(across, 1, -1) - across


def _scale(spectrum: Tensor, factor: Tensor) -> Tensor:
    """Multiply a complex spectrum by a real factor, without making the factor complex first."""
    scaled: Tensor = torch.view_as_complex(torch.view_as_real(spectrum) * factor.unsqueeze(-1))
    return scaled


def _per_item(weight: float | Tensor, like: Tensor) -> Tensor:
    """Return weights as (B or 1, 1, 1, 1) on the device and in the dtype of `like`."""
    # Only plain numbers are checked: to look into a tensor would stall the device every time.
    if not isinstance(weight, Tensor) and not weight > 0:
        raise InputError(f"weight is {weight!r}: it must be above 0; use 4000")
    values = torch.as_tensor(weight, dtype=like.dtype, device=like.device)
    if values.ndim > 1:
        raise InputError(
            f"weight has shape {tuple(values.shape)}: it must be one number, or one per image, (B,)"
        )
    return values.reshape(-1, 1, 1, 1)
