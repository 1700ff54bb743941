"""What saturated pixels would have been without the sensor's ceiling.

A clipped pixel breaks the model of a convolution: lamps and beads are brighter than the largest
value, and a deconvolution that takes that value for the truth surrounds them with rings, while an
estimate of the kernel takes the cut edge for one of the scene.  Such pixels say one thing only, "at
least as bright as this".  So they are replaced by what the model predicts there from all others, a
value no smaller than the one they have: an image results that obeys the model, and every method for
unclipped images, networks included, can take it.

The prediction is the re-blurred result of Richardson and Lucy's deconvolution, in which clipped
pixels count only while they are predicted too dark (Cho, Wang and Lee, "Handling outliers in
non-blind image deconvolution", ICCV 2011, and Whyte, Sivic and Zisserman, "Deblurring shaken and
partially saturated images", IJCV 2014, leave them out alike).  It is non-negative, which is what
makes the brightness of a lamp follow from the dim part of its streak.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from napari_deblur.blur.boundaries import crop_padding, pad_for_deconvolution
from napari_deblur.blur.deconvolution import hyper_laplacian
from napari_deblur.blur.forward import convolve
from napari_deblur.blur.spectra import kernel_spectrum
from napari_deblur.errors import InputError

__all__ = ["fill_clipped", "is_cut_off"]

_DARKEST: Final = 1e-3  # of white; keeps ratios finite
_LARGEST_FACTOR: Final = 5.0  # by which one round may change a pixel
_BRIGHTEST: Final = 20.0  # times white, the largest prediction that is believed
# A white page falls short of its own plateau by up to 2.3 of 255, clipped lamps by 12.
_LEAST_DEFICIT: Final = 4 / 255
_WEIGHT: Final = 2000.0


@torch.no_grad()
def fill_clipped(blurry: Tensor, kernel: Tensor, clipped: Tensor, *, rounds: int = 40) -> Tensor:
    """Replace clipped pixels by what the blur model predicts, where that is brighter.

    Parameters
    ----------
    blurry : Tensor, shape (B, C, H, W)
        Blurry images, black 0 and white 1.
    kernel : Tensor, shape (B, m, m) or (1, m, m)
        Convolution kernels, m odd, sum 1.
    clipped : Tensor of bool, shape (B, C, H, W)
        Pixels whose value is only known to be at least the one in `blurry`.
    rounds : int
        Of Richardson and Lucy's iteration, 1 or more.

    Returns
    -------
    Tensor, shape (B, C, H, W)
        `blurry` with larger values at clipped pixels; all others unchanged.

    Raises
    ------
    InputError, KernelError
        If shapes do not fit, or `rounds` is not positive.
    """
    if rounds < 1:
        raise InputError(f"rounds is {rounds}: it must be 1 or more; use 40")
    if clipped.shape != blurry.shape:
        raise InputError(
            f"clipped has shape {tuple(clipped.shape)} and blurry {tuple(blurry.shape)}: mark the "
            "pixels of that image"
        )
    if not bool(clipped.any()):
        return blurry
    height, width = blurry.shape[-2:]
    side = kernel.shape[-1]
    with torch.autocast(blurry.device.type, enabled=False):
        seen = pad_for_deconvolution(blurry, kernel).clamp_min(_DARKEST)
        grid = (seen.shape[-2], seen.shape[-1])
        above = left = side // 2
        free = functional.pad(
            clipped, (left, grid[1] - width - left, above, grid[0] - height - above)
        )
        spectrum = kernel_spectrum(kernel, grid)
        sharp = seen
        for _ in range(rounds):
            predicted = _filter(sharp, spectrum).clamp_min(_DARKEST)
            ratio = (seen / predicted).masked_fill(free & (predicted >= seen), 1)
            change = _filter(ratio, spectrum.conj()).clamp(1 / _LARGEST_FACTOR, _LARGEST_FACTOR)
            sharp = sharp * change
        predicted = crop_padding(_filter(sharp, spectrum), (height, width), side)
        bright = torch.maximum(blurry, predicted.clamp_max(_BRIGHTEST).to(blurry.dtype))
        return torch.where(clipped, bright, blurry)


@torch.no_grad()
def is_cut_off(blurry: Tensor, kernel: Tensor, clipped: Tensor) -> bool:
    """Whether light is missing at clipped pixels, as by a lamp and not by a white page.

    A scene that is no brighter than its brightest pixel has plateaus as well, and deconvolves
    best if they are taken for the truth.  It is told by the attempt: a restored image that is held
    below the ceiling re-blurs to the plateau where the scene ends there, and to less where light
    was cut off, because the slopes beside the plateau say that the middle must be brighter.

    Parameters
    ----------
    blurry, kernel, clipped
        See `fill_clipped`.
    """
    if not bool(clipped.any()):
        return False
    ceiling = float(blurry[clipped].max())
    held = hyper_laplacian(blurry, kernel, _WEIGHT).clamp(0, ceiling)
    deficit = (blurry - convolve(held, kernel, boundary="replicate"))[clipped].mean()
    return float(deficit) > _LEAST_DEFICIT


def _filter(image: Tensor, spectrum: Tensor) -> Tensor:
    grid = (image.shape[-2], image.shape[-1])
    filtered: Tensor = torch.fft.irfft2(torch.fft.rfft2(image) * spectrum, s=grid)
    return filtered
