"""The camera of a training batch: each sample with its own noise, clipping and rounding.

The physics is that of `napari_deblur.blur.forward` (paper section 4: B = I * k + noise); here every
sample of a batch draws its own camera.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_deblur.blur.forward import convolve

if TYPE_CHECKING:
    from napari_deblur.training.recipe import SensorRecipe

__all__ = ["Cameras", "draw_cameras", "photograph"]

_GAMMA = 2.2


@dataclass(frozen=True)
class Cameras:
    """One camera for each sample of a batch, every tensor (B, 1, 1, 1) float32.

    `noise` is a standard deviation in [0, 1] intensities; `photons` is inf without shot noise,
    `gain` is 1 without saturation, `levels` is 0 without rounding, `gamma` 1 unless the blur
    takes place in linear light.
    """

    noise: torch.Tensor
    photons: torch.Tensor
    gain: torch.Tensor
    levels: torch.Tensor
    gamma: torch.Tensor


def draw_cameras(
    recipe: SensorRecipe, batch: int, rng: np.random.Generator, device: torch.device
) -> Cameras:
    """Draw the cameras of a batch from the ranges and shares of a recipe."""
    low, high = (max(value, 1e-6) for value in recipe.noise)
    noise = np.exp(rng.uniform(np.log(low), np.log(high), batch))
    noise[rng.random(batch) < recipe.noiseless] = 0
    if recipe.noise[1] == 0:
        noise[:] = 0
    low, high = recipe.photons
    photons = np.exp(rng.uniform(np.log(low), np.log(high), batch))
    photons[rng.random(batch) >= recipe.shot] = np.inf
    gain = rng.uniform(*recipe.gain, batch)
    gain[rng.random(batch) >= recipe.saturated] = 1
    levels = np.where(rng.random(batch) < recipe.quantised, 2.0**recipe.bits - 1, 0)
    gamma = np.where(rng.random(batch) < recipe.linear_light, _GAMMA, 1)
    return Cameras(
        *(
            torch.from_numpy(value.astype(np.float32)).to(device).view(-1, 1, 1, 1)
            for value in (noise, photons, gain, levels, gamma)
        )
    )


def photograph(
    sharp: torch.Tensor, kernel: torch.Tensor, cameras: Cameras, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Blur and expose a batch.

    Parameters
    ----------
    sharp : Tensor, shape (B, C, H + m - 1, W + m - 1), float32 in [0, 1]
    kernel : Tensor, shape (B, m, m), float32, sum 1
    cameras : Cameras
    generator : torch.Generator
        Source of the noise, on the device of `sharp`.

    Returns
    -------
    sharp : Tensor, shape (B, C, H, W)
        What a perfect camera would have seen: brightened and clipped, not blurred.
    blurry : Tensor, shape (B, C, H, W), float32
        In [0, 1] where the camera clips (saturated or rounded samples).
    sigma : Tensor, shape (B,)
        The standard deviation of the noise, shot noise at the mean intensity included.
    """
    margin = kernel.shape[-1] // 2
    scene = sharp.pow(cameras.gamma) * cameras.gain
    light = convolve(scene, kernel, boundary="valid")
    variance = cameras.noise.square() + light.clamp(min=0) / cameras.photons
    noise = torch.randn(light.shape, generator=generator, device=light.device)
    blurry = light + variance.sqrt() * noise
    encoded = blurry.clamp(min=0).pow(1 / cameras.gamma)
    blurry = torch.where(cameras.gamma == 1, blurry, encoded)
    clips = (cameras.gain > 1) | (cameras.levels > 0)
    blurry = torch.where(clips, blurry.clamp(0, 1), blurry)
    steps = cameras.levels.clamp(min=1)
    blurry = torch.where(cameras.levels > 0, (blurry * steps).round() / steps, blurry)
    inner = scene[:, :, margin : scene.shape[2] - margin, margin : scene.shape[3] - margin]
    truth = inner.clamp(0, 1).pow(1 / cameras.gamma)
    sigma = variance.mean(dim=(1, 2, 3)).sqrt()
    return truth, blurry, sigma
