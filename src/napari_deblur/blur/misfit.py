"""Whether a kernel accounts for a blurry image, read from what it leaves unexplained."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from napari_deblur.blur.deconvolution import NATURAL_WEIGHT, hyper_laplacian
from napari_deblur.blur.forward import convolve
from napari_deblur.blur.noise import normal_spread
from napari_deblur.blur.spectra import to_full_precision

__all__ = ["noise_with_misfit"]

_LARGEST_WEIGHT: Final = 1.6e4  # of the data; far above, an image is found for any kernel
_EXPLAINED: Final = 1.2  # by noise, of its own standard deviation: it is not known exactly
_AMPLIFIED: Final = 4.0  # what errors of a kernel weigh in the restored image beside noise


def noise_with_misfit(blurry: Tensor, kernel: Tensor, noise: Tensor) -> Tensor:
    """Raise a noise level by what a kernel cannot account for.

    The blurry image is deconvolved with much trust in the data and blurred again.  What remains is
    noise, or, where it is more than noise can be, a sign that no image with this kernel looks like
    that: the kernel is too smooth, or the blur is not quite a convolution.  A deconvolution must
    then trust the data less, as with more noise: ``sqrt(noise^2 + (4 misfit)^2)``.  (The factor and
    the weights were chosen on Levin's photographs and on simulated shake, with kernels found and
    true.)  A kernel that is sharp and wrong explains an image, if an odd one, and is not noticed.

    The residual's spread is read from its median, which a few clipped or moving pixels leave alone.

    Parameters
    ----------
    blurry : Tensor, shape (B, 1, H, W), float32
        In [0, 1].
    kernel : Tensor, shape (1, m, m) or (B, m, m), float32
        Sum 1; the narrower its empty margin, the better.
    noise : Tensor, shape (B,)
        Standard deviation of the noise of `blurry`.

    Returns
    -------
    Tensor, shape (B,), float32
        At least `noise`.
    """
    images, sigma = to_full_precision(blurry), to_full_precision(noise)
    weight = NATURAL_WEIGHT / sigma.square().clamp(min=NATURAL_WEIGHT / _LARGEST_WEIGHT)
    explained = convolve(hyper_laplacian(images, kernel, weight), kernel, boundary="replicate")
    margins = (min(kernel.shape[-1] // 2 + 5, side // 4) for side in images.shape[-2:])
    rows, columns = (
        slice(margin, side - margin)
        for margin, side in zip(margins, images.shape[-2:], strict=True)
    )
    residual = normal_spread((images - explained)[..., rows, columns])
    excess = residual.square() - (_EXPLAINED * sigma).square()
    return torch.sqrt(sigma.square() + _AMPLIFIED**2 * excess.clamp(min=0))
