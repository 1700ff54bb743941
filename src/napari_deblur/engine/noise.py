"""The noise that the synthesis network is told, measured where an image is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch

from napari_deblur.blur.field import KernelField
from napari_deblur.blur.kernel import kernel_support, resize_kernel_support
from napari_deblur.blur.misfit import noise_with_misfit
from napari_deblur.blur.noise import estimate_noise
from napari_deblur.engine.region import luma
from napari_deblur.engine.tiles import plan_tiles, spread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_deblur.engine.layout import Picture
    from napari_deblur.engine.pair import Pair
    from napari_deblur.engine.tiles import Window

    Kernels: TypeAlias = NDArray[np.float32] | KernelField

__all__ = ["noise_levels", "noise_windows"]

_WINDOW = 512
_WINDOWS = 16
_SMALLEST_VIEW = 256  # side of the part of a window that is deconvolved to judge the kernel
_SUPPORTS = 4  # but no less than this many kernels
_SUPPORTS_AT_LEAST = 2  # in a smaller image hardly a pixel is blurred from what is seen alone


def noise_windows(size: tuple[int, int]) -> list[Window]:
    """Windows of an image of `size` (height, width) that its noise is measured in."""
    windows = [part.owned for part in plan_tiles(size, _WINDOW, 0)]
    return spread(windows, _WINDOWS)


def noise_levels(
    pair: Pair, picture: Picture, kernels: Kernels, noise: float | None
) -> NDArray[np.float32]:
    """Noise of each channel (C,) in the working range, given or measured.

    Parameters
    ----------
    pair : Pair
        Says on which device.
    picture : Picture
        The image.
    kernels : ndarray of shape (m, m), or KernelField
        What it is to be deblurred with: errors of the kernel count as noise
        (`napari_deblur.blur.misfit`).
    noise : float or None
        Standard deviation in the array's own units; None has it measured, as the median over
        windows that are spread over the image.
    """
    if noise is not None:
        return np.full(picture.layout.channels, noise / picture.layout.span, np.float32)
    levels = [
        _levels_in(pair, picture.read(window), _kernel_at(kernels, window))
        for window in noise_windows(picture.layout.size)
    ]
    return np.asarray(np.median(levels, axis=0), np.float32)


def _kernel_at(kernels: Kernels, window: Window) -> NDArray[np.float32]:
    if not isinstance(kernels, KernelField):
        return kernels
    middle = [
        (part.start + part.stop - side) / 2 for part, side in zip(window, kernels.size, strict=True)
    ]
    kernel: NDArray[np.float32] = kernels.at(np.array([middle]))[0]
    return kernel


@torch.inference_mode()
def _levels_in(
    pair: Pair, values: NDArray[np.float32], kernel: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Noise of the channels (C,) of one window, the kernel's errors included."""
    channels = torch.from_numpy(values).to(pair.device)
    noise = estimate_noise(channels[:, None])
    narrow = resize_kernel_support(kernel, kernel_support(kernel))
    if min(values.shape[1:]) >= _SUPPORTS_AT_LEAST * narrow.shape[-1]:
        grey = torch.from_numpy(luma(values)).to(pair.device)[None, None]
        own = estimate_noise(grey)
        batch = torch.from_numpy(narrow)[None].to(pair.device)
        view = _middle(grey, max(_SMALLEST_VIEW, _SUPPORTS * narrow.shape[-1]))
        raised = noise_with_misfit(view, batch, own)
        noise = torch.sqrt(noise.square() + (raised.square() - own.square()).clamp(min=0))
    levels: NDArray[np.float32] = noise.cpu().numpy()
    return levels


def _middle(image: torch.Tensor, side: int) -> torch.Tensor:
    """Cut the middle `side` x `side` pixels out of (B, C, H, W)."""
    rows, columns = (
        slice(max(0, (full - side) // 2), max(0, (full - side) // 2) + side)
        for full in image.shape[-2:]
    )
    return image[..., rows, columns]
