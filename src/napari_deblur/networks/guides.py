"""Kernel-guided convolutions: the blur kernel scales and shifts feature maps (paper, eq. 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from napari_deblur.networks.initialise import start_zero

if TYPE_CHECKING:
    from napari_deblur.networks.config import SynthesisConfig

__all__ = ["GuidedBlock", "KernelGuide"]


class KernelGuide(nn.Module):
    """Three fully connected layers from a kernel to multipliers and biases (paper, section 3.2).

    Parameters
    ----------
    config
        Kernel size, hidden width, which terms there are, and for how many convolutions.
    channels
        Channels of each guided convolution.
    """

    def __init__(self, config: SynthesisConfig, channels: int) -> None:
        super().__init__()
        self.multiplies = config.guidance in ("multiplicative", "both")
        self.adds = config.guidance in ("additive", "both")
        self.convolutions = config.guided_convolutions
        self.channels = channels
        hidden = config.guide_channels
        outputs = self.convolutions * (self.multiplies + self.adds) * channels
        last = nn.Linear(hidden, outputs)
        start_zero(last)  # 1 + m(k) starts at 1 and b(k) at 0, whatever the kernel
        self.layers = nn.Sequential(
            nn.Linear(config.kernel_size**2, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            last,
        )

    def forward(self, kernel: Tensor) -> tuple[tuple[Tensor | None, Tensor | None], ...]:
        """Multipliers ``m(k)`` and biases ``b(k)`` of every guided convolution.

        Parameters
        ----------
        kernel
            ``(B, m, m)``, sum 1.

        Returns
        -------
        tuple of (Tensor or None, Tensor or None)
            Each ``(B, channels)``; None for a term that the guidance leaves out.
        """
        # A stroke across the whole support has values about 1 / m: bring them to about 1.
        flat = kernel.flatten(1) * kernel.shape[-1]
        terms = iter(self.layers(flat).split(self.channels, dim=1))
        return tuple(
            (next(terms) if self.multiplies else None, next(terms) if self.adds else None)
            for _ in range(self.convolutions)
        )


def modulate(result: Tensor, multiplier: Tensor | None, bias: Tensor | None) -> Tensor:
    """``r (1 + m) + b`` with ``(B, channels)`` terms (paper, equation 1)."""
    if multiplier is not None:
        result = result * (1 + multiplier[..., None, None]).to(result.dtype)
    if bias is not None:
        result = result + bias[..., None, None].to(result.dtype)
    return result


class GuidedBlock(nn.Module):
    """One layer of the U-Net: 3x3 convolutions with ReLU, the first of them guided by the kernel.

    Parameters
    ----------
    config
        How many convolutions, how many of them guided and how, with or without a skip.
    entering, channels
        Channels in and out.
    """

    def __init__(self, config: SynthesisConfig, entering: int, channels: int) -> None:
        super().__init__()
        self.guide = None if config.guidance == "none" else KernelGuide(config, channels)
        self.skips = config.residual_blocks and entering == channels
        self.convolutions = nn.ModuleList(
            nn.Conv2d(channels if i else entering, channels, 3, padding=1)
            for i in range(config.block_convolutions)
        )

    def forward(self, maps: Tensor, kernel: Tensor) -> Tensor:
        """``(B, entering, H, W)`` and ``(B, m, m)`` to ``(B, channels, H, W)``."""
        terms = self.guide(kernel) if self.guide is not None else ()
        result = maps
        for i, convolution in enumerate(self.convolutions):
            result = convolution(result)
            if i < len(terms):
                result = modulate(result, *terms[i])
            if self.skips and i == len(self.convolutions) - 1:
                result = result + maps
            result = result.relu()
        return result
