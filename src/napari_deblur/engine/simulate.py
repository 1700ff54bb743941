"""Simulated camera shake on a user's own image, with the true kernel: for teaching and judging."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_deblur.defaults import LARGEST_KERNEL
from napari_deblur.engine.layout import open_picture
from napari_deblur.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_deblur.blur.kernel import Kernel
    from napari_deblur.engine.arrays import ArraySource

__all__ = ["shake"]


def shake(
    image: ArraySource | ArrayLike,
    *,
    size: int = 31,
    seed: int | None = None,
    noise: float = 0.01,
    gain: float = 1.0,
    kernel: ArrayLike | None = None,
    channel_axis: int | None = None,
) -> tuple[NDArray[Any], Kernel]:
    """Blur an image as a shaken camera does: convolve it with a random kernel and add noise.

    The paper's forward model, ``B = I * k + noise`` (section 4), with replicated borders.

    Parameters
    ----------
    image : array of shape (H, W), (H, W, 3), (H, W, 4), or 3-D with `channel_axis`
        A sharp image, integers or floats; see `napari_deblur.engine.layout` for the scale.
    size : int
        Side in pixels that the kernel's support fills, 1 to 171; the kernel's array has this side,
        made odd.
    seed : int, optional
        The same seed gives the same kernel and the same noise.  None draws a new one.
    noise : float
        Standard deviation of the noise, as a fraction of the image's working range (0.01: one
        per cent), 0 or more.
    gain : float
        Factor of at least 1 by which the image is brightened before it is clipped to its range, so
        that bright parts saturate; 1 for none.
    kernel : array of shape (m, m), optional
        A kernel to use instead of a random one.
    channel_axis : int, optional
        Axis of the channels of a 3-D array; see `napari_deblur.deblur`.

    Returns
    -------
    blurry : ndarray
        Of the input's shape and dtype; alpha untouched.
    kernel : ndarray of shape (m, m), float32
        The true convolution kernel, sum 1.

    Raises
    ------
    InputError
        When the image or a parameter cannot be used.
    KernelError
        When `kernel` is not a blur kernel.
    """
    from napari_deblur.blur import forward
    from napari_deblur.blur.kernel import check_kernel
    from napari_deblur.blur.kernel_bank import camera_shake

    _check_parameters(size, noise, gain)
    picture = open_picture(image, channel_axis=channel_axis)
    rng = np.random.default_rng(seed)
    if kernel is None:
        # One below, because an even size has its kernel in the next odd array.
        chosen = camera_shake(rng, size_range=(max(1, size - (size > 1)), size))
    else:
        chosen = check_kernel(kernel)
    whole = (slice(None), slice(None))
    sensor = forward.Sensor(noise_sigma=noise, gain=gain)
    blurry = forward.shake(picture.read(whole), chosen, sensor, rng)
    out = np.empty(picture.layout.shape, picture.layout.dtype)
    picture.write(out, whole, blurry)
    return out, chosen


def _check_parameters(size: int, noise: float, gain: float) -> None:
    if not isinstance(size, (int, np.integer)) or not 1 <= size <= LARGEST_KERNEL:
        raise InputError(
            f"size {size!r} is not a whole number of pixels from 1 to {LARGEST_KERNEL}"
        )
    if not 0 <= noise <= 1:
        raise InputError(
            f"noise {noise!r} is not a fraction of the image's range: give 0 to 1, for instance "
            "0.01"
        )
    if not (np.isfinite(gain) and gain >= 1):
        raise InputError(f"gain {gain!r} is not a brightening: give 1 or more")
