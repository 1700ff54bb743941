"""Measures of restored images and estimated kernels, as the literature defines them.

Images are on the scale 0-255 that the published figures use (``PEAK``).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import scipy.ndimage
import skimage.metrics

from napari_deblur.blur.likeness import kernel_likeness
from napari_deblur.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "PEAK",
    "downsample_for_ssim",
    "error_ratio",
    "kernel_similarity",
    "luma_ycbcr",
    "psnr",
    "ssim",
]

PEAK = 255.0
"""Peak value of the scale on which images are compared."""

_SSIM_SIDE = 256
_SSIM_WINDOW = 11


def psnr(estimate: ArrayLike, sharp: ArrayLike) -> float:
    """Peak signal-to-noise ratio in dB over all pixels and channels.

    Parameters
    ----------
    estimate, sharp
        Arrays of one shape, scale 0-255.

    Returns
    -------
    float
        ``10 log10(255² / mean squared error)``; infinite for equal images.
    """
    first, second = _pair(estimate, sharp)
    error = float(np.mean((first - second) ** 2))
    return math.inf if error == 0 else 10 * math.log10(PEAK**2 / error)


def ssim(estimate: ArrayLike, sharp: ArrayLike, *, downsample: bool) -> float:
    """Structural similarity as in Wang's reference code.

    Gaussian window of 11x11 px with sigma 1.5, K1 = 0.01, K2 = 0.03, L = 255, biased
    moments, mean over the positions where the window fits ("valid").

    Parameters
    ----------
    estimate, sharp
        ``(H, W)`` or ``(C, H, W)``, scale 0-255; channels are averaged.
    downsample
        First average and subsample both by ``round(min(H, W) / 256)`` as Wang suggests
        and as the published rows for Levin and Lai do.

    Raises
    ------
    InputError
        If the shapes differ or a side is under 11 px at the compared scale.

    References
    ----------
    Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to
    structural similarity", IEEE Transactions on Image Processing 13(4), 2004.
    """
    first, second = _pair(estimate, sharp)
    if downsample:
        first, second = downsample_for_ssim(first), downsample_for_ssim(second)
    if min(first.shape[-2:]) < _SSIM_WINDOW:
        raise InputError(
            f"An image of {first.shape[-2]} x {first.shape[-1]} px is too small for SSIM; "
            f"give one of at least {_SSIM_WINDOW} px a side."
        )
    planes = zip(
        first.reshape(-1, *first.shape[-2:]), second.reshape(-1, *second.shape[-2:]), strict=True
    )
    values = [
        skimage.metrics.structural_similarity(  # type: ignore[no-untyped-call]
            a,
            b,
            data_range=PEAK,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for a, b in planes
    ]
    return float(np.mean(values))


def downsample_for_ssim(image: ArrayLike) -> NDArray[np.float64]:
    """Average over f x f pixels and keep every f-th, ``f = round(min(H, W) / 256)``.

    Equal to ``imfilter(image, ones(f)/f², 'symmetric', 'same')`` and ``(1:f:end, 1:f:end)``
    of Wang's code: MATLAB rounds halves up, and the window of an even filter reaches one
    pixel further to the right and down.
    """
    array = np.asarray(image, dtype=np.float64)
    factor = max(1, math.floor(min(array.shape[-2:]) / _SSIM_SIDE + 0.5))
    if factor == 1:
        return array
    origin = -1 if factor % 2 == 0 else 0
    sizes = [1] * (array.ndim - 2) + [factor] * 2
    origins = [0] * (array.ndim - 2) + [origin] * 2
    mean = scipy.ndimage.uniform_filter(array, size=sizes, mode="reflect", origin=origins)
    return np.asarray(mean[..., ::factor, ::factor], dtype=np.float64)


def luma_ycbcr(image: ArrayLike) -> NDArray[np.float64]:
    """Y of MATLAB's ``rgb2ycbcr`` (ITU-R BT.601, limited range) on the scale 0-255.

    Parameters
    ----------
    image
        ``(3, H, W)`` RGB, or ``(H, W)`` / ``(1, H, W)`` grey, scale 0-255.

    Returns
    -------
    numpy.ndarray
        ``(H, W)`` float64: 16 (black) to 235 (white) for RGB; grey images are returned as
        they are.

    Raises
    ------
    InputError
        For any other number of channels.
    """
    array = np.asarray(image, dtype=np.float64)
    if array.ndim == 2:
        return array
    if array.ndim == 3 and array.shape[0] == 1:
        return np.asarray(array[0])
    if array.ndim != 3 or array.shape[0] != 3:
        raise InputError(
            f"Luma of an array of shape {array.shape} is not defined; "
            "give an RGB image (3, H, W) or a grey one (H, W)."
        )
    weights = np.array([65.481, 128.553, 24.966]) / PEAK
    return np.asarray(16.0 + np.tensordot(weights, array, axes=1))


def error_ratio(estimated_kernel_error: float, true_kernel_error: float) -> float:
    """Squared error with the estimated kernel over that with the true kernel.

    Both after the same deconvolution and alignment (Levin et al., CVPR 2009, section 5).
    """
    if true_kernel_error > 0:
        return estimated_kernel_error / true_kernel_error
    return math.inf if estimated_kernel_error > 0 else 1.0


def kernel_similarity(estimate: ArrayLike, kernel: ArrayLike) -> float:
    """Largest normalised cross-correlation of two kernels over all integer shifts.

    Parameters
    ----------
    estimate, kernel
        2-D arrays of any sizes, non-negative.

    Returns
    -------
    float
        1 for equal kernels up to shift and scale, 0 for kernels that never overlap.

    References
    ----------
    Hu and Yang, "Good regions to deblur", ECCV 2012, equation 9.
    """
    first = np.asarray(estimate, dtype=np.float64)
    second = np.asarray(kernel, dtype=np.float64)
    if first.ndim != 2 or second.ndim != 2 or not (first.any() and second.any()):
        raise InputError(
            f"Kernels of shapes {first.shape} and {second.shape} cannot be compared; "
            "give two 2-D kernels that are not all zero."
        )
    return kernel_likeness(first, second)


def _pair(estimate: ArrayLike, sharp: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first = np.asarray(estimate, dtype=np.float64)
    second = np.asarray(sharp, dtype=np.float64)
    if first.shape != second.shape or first.ndim < 2 or first.size == 0:
        raise InputError(
            f"Images of shapes {first.shape} and {second.shape} cannot be compared; "
            "give two of one shape (H, W) or (C, H, W)."
        )
    return first, second
