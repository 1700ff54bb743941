"""Deconvolution that keeps strong edges only: the latent image that shows a kernel best.

A kernel is read from how edges were smeared, and weak texture is where a wrong kernel hides its
errors.  An image with few gradients is no good restoration, but the right one to compare with
(Xu, Zheng and Jia, "Unnatural L0 sparse representation for natural image deblurring", CVPR 2013;
Pan, Hu, Su and Yang, "Deblurring text images via L0-regularized intensity and gradient prior",
CVPR 2014).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from napari_deblur.blur.boundaries import crop_padding, pad_for_deconvolution
from napari_deblur.blur.deconvolution import data_term
from napari_deblur.blur.splitting import Splitting
from napari_deblur.errors import InputError

__all__ = ["differences", "sparse_edges", "strongest_gradients", "strongest_of_all"]

# The splitting ends where it costs no more than the rounding of a float32 image.
_LARGEST_BETA = 1e5


@torch.no_grad()
def sparse_edges(blurry: Tensor, kernel: Tensor, sparsity: float) -> Tensor:
    """Deconvolve with a penalty on the number of pixels whose gradient is not zero.

    Minimises ``|k * x - b|^2 + sparsity |grad x|_0`` by half-quadratic splitting with beta doubled
    each round.

    Parameters
    ----------
    blurry : Tensor, shape (B, C, H, W)
        Blurry images in [0, 1].
    kernel : Tensor, shape (B, m, m) or (1, m, m)
        Convolution kernels, m odd, sum 1.
    sparsity : float
        Above 0; the larger, the fewer edges.

    Returns
    -------
    Tensor, shape (B, C, H, W)

    Raises
    ------
    InputError, KernelError
        If shapes do not fit, or `sparsity` is not positive.
    """
    if not sparsity > 0:
        raise InputError(f"sparsity is {sparsity}: it must be above 0; use 0.004")
    image = pad_for_deconvolution(blurry, kernel)
    with torch.autocast(image.device.type, enabled=False):
        rounds = Splitting(image, data_term(image, kernel))
        beta = 2 * sparsity
        while beta < _LARGEST_BETA:
            rounds.keep_gradients(sparsity / beta)
            rounds.solve(1 / beta)
            beta *= 2
    return crop_padding(image, (blurry.shape[-2], blurry.shape[-1]), kernel.shape[-1])


def strongest_gradients(image: Tensor, share: float) -> Tensor:
    """First differences of an image, all but the strongest set to zero.

    Parameters
    ----------
    image : Tensor, shape (B, 1, H, W)
        Images.
    share : float
        Share of the pixels that keep their gradient, above 0 up to 1.

    Returns
    -------
    Tensor, shape (B, 2, H - 1, W - 1)
        Differences down and across, at the same pixels.

    Raises
    ------
    InputError
        If `share` is not in (0, 1].
    """
    gradients = differences(image)
    strength = gradients.square().sum(dim=1, keepdim=True)
    threshold = _threshold(strength.flatten(1), share)
    return gradients * (strength > threshold.view(-1, 1, 1, 1))


def strongest_of_all(images: Sequence[Tensor], share: float) -> list[Tensor]:
    """First differences of several images, all but the strongest among all of them set to zero.

    A frame without edges then has no say, however many others there are.

    Parameters
    ----------
    images : sequence of Tensor, each of shape (B, 1, H, W)
        Images of any sizes; of a batch, those at one place belong together.
    share : float
        Share of all pixels that keep their gradient, above 0 up to 1.

    Returns
    -------
    list of Tensor, each of shape (B, 2, H - 1, W - 1)
        See `strongest_gradients`.

    Raises
    ------
    InputError
        If `share` is not in (0, 1].
    """
    gradients = [differences(image) for image in images]
    strengths = [each.square().sum(dim=1, keepdim=True) for each in gradients]
    pooled = torch.cat([each.flatten(1) for each in strengths], dim=1)
    threshold = _threshold(pooled, share).view(-1, 1, 1, 1)
    return [
        each * (strength > threshold) for each, strength in zip(gradients, strengths, strict=True)
    ]


def _threshold(strength: Tensor, share: float) -> Tensor:
    """Squared gradients (B,) that `share` of the pixels of (B, n) exceed."""
    if not 0 < share <= 1:
        raise InputError(f"share is {share}: it must be above 0 and at most 1; use 0.2")
    if share == 1:
        return strength.new_full((len(strength),), -1.0)
    # Clamped, so that the flat rest of an image with few edges is not kept.
    rank = max(1, round(strength.shape[1] * (1 - share)))
    return strength.kthvalue(rank, dim=1).values.clamp_min(1e-12)


def differences(image: Tensor) -> Tensor:
    """First differences down and across, ``(B, 1, H, W)`` to ``(B, 2, H - 1, W - 1)``."""
    corner = image[..., :-1, :-1]
    return torch.cat((image[..., 1:, :-1] - corner, image[..., :-1, 1:] - corner), dim=1)
