"""Classical deconvolution in front of, and inside, the synthesis network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from napari_deblur.blur.deconvolution import (
    NATURAL_WEIGHT,
    data_step,
    data_term,
    hyper_laplacians,
    wiener,
)
from napari_deblur.blur.forward import convolve
from napari_deblur.errors import InputError

if TYPE_CHECKING:
    from napari_deblur.networks.config import FrontEnd

__all__ = ["candidates", "count_candidates", "pull_to_data"]

# Noise below this cannot be told from quantisation to eight bits and rounding of the kernel.
_SMALLEST_NOISE = 0.005
# With an exact kernel less can be told; what is gained by it, and what rings, a network learns.
_DARING_NOISE = 0.0015
# Weight of the data times the noise variance, as `NATURAL_WEIGHT` is for the hyper-Laplacian.
_WIENER = (2e-4, 2e-3, 2e-2)
_BEST_WIENER = 1


def _precision(noise_sigma: Tensor, smallest: float = _SMALLEST_NOISE) -> Tensor:
    return noise_sigma.clamp_min(smallest).square().reciprocal()


def count_candidates(kind: FrontEnd) -> int:
    """Return how many deconvolutions a front end makes."""
    counts: dict[FrontEnd, int] = {
        "none": 0,
        "wiener": len(_WIENER),
        "hyper-laplacian": 1,
        "hyper-laplacian-pair": 2,
        "shrinkage-fields": 2,
    }
    return counts[kind]


def candidates(kind: FrontEnd, blurry: Tensor, kernel: Tensor, noise_sigma: Tensor) -> list[Tensor]:
    """Deconvolutions of an image by formulas alone, the best first.

    Parameters
    ----------
    kind
        ``"none"``: no deconvolution.  ``"wiener"``: three, for data weights a factor of ten apart.
        ``"hyper-laplacian"``: one.  ``"hyper-laplacian-pair"``: the same, and one that trusts the
        kernel and an image of little noise further.
    blurry, kernel
        ``(B, C, H, W)`` in [0, 1] and ``(B, m, m)``, sum 1.
    noise_sigma
        ``(B,)``; the weight of the data falls with its square.

    Returns
    -------
    list of Tensor
        Each ``(B, C, H, W)``, float32.

    Raises
    ------
    InputError
        When the front end is learned.
    """
    if kind == "none":
        return []
    if kind == "shrinkage-fields":
        raise InputError(
            "front end 'shrinkage-fields' is learned and has no formula; ask a SynthesisNetwork "
            "for its deconvolutions (`deconvolve`)"
        )
    precision = _precision(noise_sigma)
    if kind != "wiener":
        levels = [precision]
        if kind == "hyper-laplacian-pair":
            levels.append(_precision(noise_sigma, _DARING_NOISE))
        return hyper_laplacians(blurry, kernel, [NATURAL_WEIGHT * each for each in levels])
    weights = precision[:, None] * precision.new_tensor(_WIENER)
    images = list(wiener(blurry, kernel, weights).unbind(dim=1))
    return [images.pop(_BEST_WIENER), *images]


def pull_to_data(
    image: Tensor, blurry: Tensor, kernel: Tensor, noise_sigma: Tensor, strength: Tensor
) -> Tensor:
    """Solve ``argmin_x weight |k * x - b|^2 + |x - image|^2`` for ``weight = strength / sigma^2``.

    Solved for the change ``x - image``, whose data term is what re-blurring leaves unexplained:
    that is small at the borders, where the scene beyond is unknown, and may be taken as zero there.

    Parameters
    ----------
    image, blurry
        ``(B, C, H, W)``: the prior mean and the blurry image b.
    kernel
        ``(B, m, m)``, sum 1.
    noise_sigma
        ``(B,)``.
    strength
        Scalar: the variance of the error that `image` is believed to have.

    Returns
    -------
    Tensor
        ``(B, C, H, W)``, float32.
    """
    with torch.autocast(image.device.type, enabled=False):
        image = image.to(blurry.dtype)
        unexplained = blurry - convolve(image, kernel, boundary="replicate")
        side = kernel.shape[-1]
        padded = functional.pad(unexplained, (0, side, 0, side))
        term = data_term(padded, kernel)
        change = data_step(term, torch.zeros_like(padded), strength * _precision(noise_sigma))
        return image + change[..., : image.shape[-2], : image.shape[-1]]
