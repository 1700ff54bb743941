"""The forward model of a shaken camera: B = I * k + noise (paper, section 4, "Training Set").

`convolve` is the blur, `expose` is what the sensor makes of the light; `shake` joins the two for
simulation.  Kernels are convolution kernels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from napari_deblur.blur.kernel import Kernel, check_kernel
from napari_deblur.blur.spectra import check_batch, fast_length, kernel_spectrum, to_full_precision
from napari_deblur.errors import InputError

__all__ = ["Sensor", "convolve", "expose", "shake"]


@dataclass(frozen=True)
class Sensor:
    """What happens between the light and the numbers of the image.

    In this order: the light is brightened by `gain`; photons are counted; Gaussian read noise is
    added; values are clipped to [0, 1] if the sensor saturates; they are rounded to `bits`.

    Parameters
    ----------
    noise_sigma : float
        Standard deviation of the Gaussian noise, in units of the full range, 0 or more.
    photons : float, optional
        Photons at full range (value 1): the variance of the shot noise at value v is v / photons.
        None for none.
    gain : float
        Brightening before clipping, above 0.  Other than 1 it makes the sensor saturate.
    bits : int, optional
        Bits of the analogue-digital converter, 1 to 16.  None for no rounding; otherwise the
        sensor saturates.

    Raises
    ------
    InputError
        If a value is out of its range.
    """

    noise_sigma: float = 0.0
    photons: float | None = None
    gain: float = 1.0
    bits: int | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not (np.isfinite(self.noise_sigma) and self.noise_sigma >= 0):
            raise InputError(f"noise_sigma is {self.noise_sigma}: it must be 0 or more; use 0.01")
        if self.photons is not None and not (np.isfinite(self.photons) and self.photons > 0):
            raise InputError(
                f"photons is {self.photons}: it must be above 0; use None for no shot noise"
            )
        if not (np.isfinite(self.gain) and self.gain > 0):
            raise InputError(f"gain is {self.gain}: it must be above 0; use 1 for no change")
        if self.bits is not None and self.bits not in range(1, 17):
            raise InputError(f"bits is {self.bits}: it must be from 1 to 16; use None for none")

    @property
    def saturates(self) -> bool:
        """Whether values are clipped to [0, 1]."""
        return self.gain != 1.0 or self.bits is not None


def convolve(image: Tensor, kernel: Tensor, *, boundary: Literal["valid", "replicate"]) -> Tensor:
    """Convolve images with kernels (true convolution, by FFT); differentiable in both.

    Parameters
    ----------
    image : Tensor, shape (B, C, H, W)
        Any real dtype; computed in float32, or in float64 if given so.
    kernel : Tensor, shape (B, m, m) or (1, m, m)
        Convolution kernels, m odd.
    boundary : {"valid", "replicate"}
        "valid" keeps only what no border touches, (H - m + 1, W - m + 1); "replicate" repeats the
        border's pixels outwards and keeps (H, W).

    Returns
    -------
    Tensor, shape (B, C, H', W')

    Raises
    ------
    InputError
        If shapes do not fit, `boundary` is unknown, or nothing is left by "valid".
    KernelError
        If the kernels are not odd squares.
    """
    check_batch(image, kernel)
    side = kernel.shape[-1]
    radius = side // 2
    with torch.autocast(image.device.type, enabled=False):
        image = to_full_precision(image)
        if boundary == "replicate":
            image = functional.pad(image, (radius, radius, radius, radius), mode="replicate")
        elif boundary != "valid":
            raise InputError(f"boundary is {boundary!r}: it must be 'valid' or 'replicate'")
        height, width = image.shape[-2:]
        if min(height, width) < side:
            raise InputError(
                f"image is {height}x{width}: 'valid' needs at least the kernel's {side}x{side}; "
                "use 'replicate' or a larger image"
            )
        # What wraps around a grid of the image's own size falls into the border that is cut off.
        grid = (fast_length(height), fast_length(width))
        spectrum = torch.fft.rfft2(image, s=grid) * kernel_spectrum(kernel, grid)
        blurred: Tensor = torch.fft.irfft2(spectrum, s=grid)
        return blurred[..., radius : height - radius, radius : width - radius]


def expose(image: Tensor, sensor: Sensor, generator: torch.Generator | None = None) -> Tensor:
    """Return the numbers that a sensor reads from light.

    Parameters
    ----------
    image : Tensor, any shape
        Light, 1 at full range.
    sensor : Sensor
        The sensor.
    generator : torch.Generator, optional
        Source of chance, on the device of `image`.

    Returns
    -------
    Tensor, shape and dtype of `image`
    """
    light = image if sensor.gain == 1.0 else image * sensor.gain
    if sensor.photons is not None:
        counts = torch.poisson(light.clamp(min=0) * sensor.photons, generator=generator)
        light = counts / sensor.photons
    if sensor.noise_sigma > 0:
        noise = torch.empty_like(light).normal_(generator=generator)
        light = light + sensor.noise_sigma * noise
    if sensor.saturates:
        light = light.clamp(0, 1)
    if sensor.bits is not None:
        steps = 2**sensor.bits - 1
        light = torch.round(light * steps) / steps
    return light


def shake(
    image: NDArray[np.floating], kernel: Kernel, sensor: Sensor, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Simulate the photograph that a shaken camera takes, with replicated borders.

    Parameters
    ----------
    image : ndarray, shape (C, H, W)
        The sharp image in [0, 1].
    kernel : ndarray, shape (m, m)
        Convolution kernel; scaled to sum 1.
    sensor : Sensor
        Noise, saturation, rounding.
    rng : numpy.random.Generator
        Source of chance; the same state gives the same image.

    Returns
    -------
    ndarray, shape (C, H, W), float32

    Raises
    ------
    InputError
        If `image` is not (C, H, W).
    KernelError
        If `kernel` is not valid.
    """
    if image.ndim != 3:
        raise InputError(
            f"image has shape {image.shape}: it must be (C, H, W); add the channel axis"
        )
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    light = torch.from_numpy(np.ascontiguousarray(image, np.float32))[None]
    weights = torch.from_numpy(check_kernel(kernel))[None]
    blurred = convolve(light, weights, boundary="replicate")
    return expose(blurred, sensor, generator)[0].numpy()
