"""The noise level of a blurry image, read from the image itself."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["estimate_noise"]

# Median absolute value of a normal variable with standard deviation 1.
_NORMAL_MEDIAN = 0.67449


def estimate_noise(images: Tensor) -> Tensor:
    """Estimate the noise's standard deviation from the diagonal Haar coefficients.

    Blur leaves little of the scene at the highest diagonal frequencies, so that their median
    magnitude is that of noise (Donoho and Johnstone, "Ideal spatial adaptation by wavelet
    shrinkage", 1994).

    Parameters
    ----------
    images
        ``(B, C, H, W)``, at least 2 pixels wide and high.

    Returns
    -------
    Tensor
        ``(B,)``, float32 (float64 for float64), in the images' unit.
    """
    images = images.to(torch.promote_types(images.dtype, torch.float32))
    height, width = images.shape[-2] // 2 * 2, images.shape[-1] // 2 * 2
    even, odd = images[..., 0:height:2, :width], images[..., 1:height:2, :width]
    down = even - odd
    diagonal = (down[..., 0::2] - down[..., 1::2]) / 2
    return diagonal.abs().flatten(1).median(dim=1).values / _NORMAL_MEDIAN
