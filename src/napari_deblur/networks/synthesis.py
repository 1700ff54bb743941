"""The synthesis network: a blurry image and its kernel in, a sharp image out (section 3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_deblur.blur.noise import estimate_noise
from napari_deblur.errors import InputError, KernelError
from napari_deblur.networks.frontend import candidates, count_candidates, pull_to_data
from napari_deblur.networks.shrinkage import ShrinkageFields
from napari_deblur.networks.unet import GuidedUNet

if TYPE_CHECKING:
    from napari_deblur.networks.config import SynthesisConfig

__all__ = ["SynthesisNetwork"]

# The error of a deconvolution of about 30 dB, squared: where the learned strengths start.
_FIRST_STRENGTH = 1e-3
# Brings usual noise levels (0.001 to 0.05) to the range of the images.
_NOISE_SCALE = 10.0


class SynthesisNetwork(nn.Module):
    """Deblur an image with a known kernel.

    Without a front end the U-Net makes the image (paper).  With one it predicts what to add to the
    best deconvolution, and starts with nothing, so that the untrained network equals the
    deconvolution.

    Parameters
    ----------
    config
        The architecture; kept as the attribute `config`.
    """

    def __init__(self, config: SynthesisConfig) -> None:
        super().__init__()
        self.config = config
        images = 1 + count_candidates(config.front_end)
        self.unet = GuidedUNet(config, images * config.image_channels + config.noise_input)
        self.log_strengths = nn.ParameterList(
            torch.tensor(_FIRST_STRENGTH).log() for _ in range(config.iterations - 1)
        )
        self.shrinkage = (
            ShrinkageFields(
                config.shrinkage_stages, config.shrinkage_filter, config.shrinkage_channels
            )
            if config.front_end == "shrinkage-fields"
            else None
        )
        if config.front_end != "none":
            nn.init.zeros_(self.unet.last.weight)

    @property
    def needs_noise(self) -> bool:
        """Whether the noise level has any influence."""
        return self.config.noise_input or self.config.front_end != "none"

    def forward(self, blurry: Tensor, kernel: Tensor, noise_sigma: Tensor | None = None) -> Tensor:
        """Deblur.

        Parameters
        ----------
        blurry
            ``(B, C, H, W)`` in [0, 1], C being the configuration's `image_channels`; any size.
        kernel
            ``(B, n, n)`` with odd n up to the configuration's `kernel_size`, sum 1.
        noise_sigma
            ``(B,)``, standard deviation of the noise in the image's unit; None estimates it from
            `blurry` where it is needed.

        Returns
        -------
        Tensor
            ``(B, C, H, W)``, float32, not clipped.

        Raises
        ------
        InputError, KernelError
            If a shape does not fit.
        """
        self._check(blurry, kernel)
        blurry = blurry.to(torch.promote_types(blurry.dtype, torch.float32))
        kernel = kernel.to(blurry.dtype)
        guide = _pad_kernel(kernel, self.config.kernel_size)
        if noise_sigma is None:
            noise_sigma = estimate_noise(blurry) if self.needs_noise else blurry.new_empty(0)
        noise_sigma = noise_sigma.to(blurry)
        if self.config.front_end == "none":
            return self.improve([blurry], guide, noise_sigma)
        best, *others = self.deconvolve(blurry, kernel, noise_sigma)
        result = best + self.improve([blurry, best, *others], guide, noise_sigma)
        for log_strength in self.log_strengths:
            best = pull_to_data(result, blurry, kernel, noise_sigma, log_strength.exp())
            result = best + self.improve([blurry, best, *others], guide, noise_sigma)
        return result

    def deconvolve(self, blurry: Tensor, kernel: Tensor, noise_sigma: Tensor) -> list[Tensor]:
        """Apply the front end alone.

        Parameters
        ----------
        blurry, kernel, noise_sigma
            See `forward`; kernels of any size.

        Returns
        -------
        list of Tensor
            Deconvolutions, each ``(B, C, H, W)``, float32, the best first; as many as the U-Net
            gets, none without a front end.
        """
        if self.shrinkage is None:
            return candidates(self.config.front_end, blurry, kernel, noise_sigma)
        first, best = self.shrinkage.ends(blurry, kernel, noise_sigma)
        return [best, first]

    def improve(self, images: list[Tensor], kernel: Tensor, noise_sigma: Tensor) -> Tensor:
        """Apply the U-Net alone.

        Parameters
        ----------
        images, noise_sigma
            See `stack`.
        kernel
            ``(B, m, m)``, padded with zeros to the configuration's `kernel_size`.

        Returns
        -------
        Tensor
            ``(B, C, H, W)``, float32: the image, or behind a front end what to add to the best
            deconvolution.
        """
        height, width = images[0].shape[-2:]
        result: Tensor = self.unet(self.stack(images, noise_sigma), kernel)
        result = result[..., :height, :width]
        return result.to(torch.promote_types(result.dtype, torch.float32))

    def stack(self, images: list[Tensor], noise_sigma: Tensor) -> Tensor:
        """Make the U-Net's input; whoever works in tiles, or folds, calls this for each tile.

        Parameters
        ----------
        images
            The blurry image and its deconvolutions, each ``(B, C, H, W)``.
        noise_sigma
            ``(B,)``.

        Returns
        -------
        Tensor
            ``(B, entering, H, W)``, padded at the far borders to what the U-Net's levels divide.
        """
        if self.config.noise_input:
            level = noise_sigma * _NOISE_SCALE
            images = [*images, level[:, None, None, None].expand(-1, 1, *images[0].shape[-2:])]
        return _pad_image(torch.cat(images, dim=1), self.unet.stride)

    def _check(self, blurry: Tensor, kernel: Tensor) -> None:
        channels, largest = self.config.image_channels, self.config.kernel_size
        if blurry.ndim != 4 or blurry.shape[1] != channels:
            raise InputError(
                f"the image has shape {tuple(blurry.shape)}; this network takes "
                f"(B, {channels}, H, W): rearrange the channels"
            )
        side = kernel.shape[-1]
        if kernel.shape != (blurry.shape[0], side, side) or side % 2 == 0 or side > largest:
            raise KernelError(
                f"the kernels have shape {tuple(kernel.shape)}; this network takes one odd square "
                f"of at most {largest} px per image, ({blurry.shape[0]}, n, n): crop or pad them"
            )


def _pad_kernel(kernel: Tensor, size: int) -> Tensor:
    margin = (size - kernel.shape[-1]) // 2
    return functional.pad(kernel, (margin, margin, margin, margin))


def _pad_image(image: Tensor, stride: int) -> Tensor:
    """Reflect at the far borders up to multiples of `stride`; replicate where that is too far."""
    below, right = (-side % stride for side in image.shape[-2:])
    if not below and not right:
        return image
    reflects = below < image.shape[-2] and right < image.shape[-1]
    return functional.pad(image, (0, right, 0, below), mode="reflect" if reflects else "replicate")
