"""From lag maps to a kernel: the paper's decoder, a residual U-Net, and the kernel head."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_deblur.networks.correlation import append_flips
from napari_deblur.networks.initialise import start_convolutions
from napari_deblur.networks.residual import ResidualUNet, group_count, resize_maps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_deblur.networks.config import AnalysisConfig, Head

__all__ = [
    "KernelHead",
    "PaperDecoder",
    "ResidualDecoder",
    "crop_centre",
    "make_decoder",
]

# Sum below which a map counts as empty: far under what any useful map of positive values has.
_SMALLEST_SUM = 1e-6


def crop_centre(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Central part of ``(..., H, W)``; `size` is the new (height, width), not larger."""
    top = (maps.shape[-2] - size[0]) // 2
    left = (maps.shape[-1] - size[1]) // 2
    return maps[..., top : top + size[0], left : left + size[1]]


class PaperDecoder(nn.Module):
    """Coarse to fine: up-sample by two, join the finer level, convolve (paper, section 3.1)."""

    def __init__(self, config: AnalysisConfig) -> None:
        super().__init__()
        width = config.decoder_channels
        self.reduce = nn.ModuleList(
            nn.Conv2d(2 * config.pairs, width, 1) for _ in range(config.levels)
        )
        self.rise = nn.ModuleList(
            nn.ConvTranspose2d(width, width, 5, stride=2) for _ in range(config.levels - 1)
        )
        self.join = nn.ModuleList(
            nn.Conv2d(2 * width, width, 3, padding=1) for _ in range(config.levels - 1)
        )
        self.narrow = nn.Sequential(
            nn.Conv2d(width, 24, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(24, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 8, 3, padding=1),
            nn.ReLU(),
        )
        self.channels = 8
        start_convolutions(self)

    def forward(self, statistics: Sequence[Tensor]) -> Tensor:
        """Lag maps per level, finest first, to ``(B, 8, 2R + 1, 2R + 1)``."""
        maps = [
            reduce(append_flips(lags)).relu()
            for reduce, lags in zip(self.reduce, statistics, strict=True)
        ]
        result = maps[-1]
        for level in range(len(maps) - 2, -1, -1):
            risen = crop_centre(self.rise[level](result).relu(), maps[level].shape[-2:])
            result = self.join[level](torch.cat((risen, maps[level]), dim=1)).relu()
        narrowed: Tensor = self.narrow(result)
        return narrowed


class ResidualDecoder(ResidualUNet):
    """A residual U-Net over the lag maps, down to maps of about six pixels.

    Coarser pyramid levels enter the encoder where its maps have their scale.
    """

    enter: nn.ModuleList

    def __init__(self, config: AnalysisConfig) -> None:
        sides = _encoder_sides(2 * config.radius + 1, config.levels)
        channels = config.decoder_channels
        widths = [channels] + [2 * channels] * (config.levels - 1)
        # Three more channels say where a lag lies: across, down, and how far from lag 0.
        enter = nn.ModuleList(nn.Conv2d(2 * config.pairs + 3, width, 1) for width in widths)
        super().__init__(enter, channels=channels, levels=len(sides), depth=config.decoder_depth)
        self.sides = sides
        self.channels = channels
        self.last = nn.GroupNorm(group_count(channels), channels)

    def forward(self, statistics: Sequence[Tensor]) -> Tensor:
        """Lag maps per level, finest first, to ``(B, channels, 2R + 1, 2R + 1)``."""
        stack: list[Tensor] = []
        for level, encode in enumerate(self.encode):
            maps = self.lower[level - 1](stack[-1]) if level else None
            if level < len(statistics):
                lags = resize_maps(statistics[level], self.sides[level])
                entered = self.enter[level](
                    torch.cat((append_flips(lags), _positions(lags)), dim=1)
                )
                maps = entered if maps is None else maps + entered
            stack.append(encode(maps))
        finished: Tensor = self.last(self.rise(stack)).relu()
        return finished


def _encoder_sides(side: int, levels: int) -> list[int]:
    sides = [side]
    while sides[-1] > 7 or len(sides) < levels:
        sides.append((sides[-1] + 1) // 2)
    return sides


def _positions(lags: Tensor) -> Tensor:
    side = lags.shape[-1]
    axis = torch.linspace(-1, 1, side, dtype=lags.dtype, device=lags.device)
    across = axis.expand(side, side)
    positions = torch.stack((across, across.mT, across.hypot(across.mT)))
    return positions.expand(lags.shape[0], -1, -1, -1)


class KernelHead(nn.Module):
    """One convolution to a non-negative map, cropped to m x m and scaled to sum 1.

    A map of zeros (possible with ``"relu"`` only) becomes the kernel that leaves an image as it
    is: 1 in the middle.

    Parameters
    ----------
    channels
        Channels of the incoming maps.
    kernel_size
        Side m of the kernel in pixels.
    kind
        ``"relu"``, ``"softplus"`` or ``"softmax"``.
    """

    def __init__(self, channels: int, kernel_size: int, kind: Head) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.kind = kind
        self.last = nn.Conv2d(channels, 1, 5, padding=2)
        # A head of ReLU that starts at zero never learns: small weights around a positive level
        # make the first kernels flat, with a gradient everywhere.
        nn.init.normal_(self.last.weight, std=0.1 / (25 * channels) ** 0.5)
        if self.last.bias is not None:
            nn.init.constant_(self.last.bias, 0.5)

    def forward(self, maps: Tensor) -> Tensor:
        """``(B, channels, L, L)`` to ``(B, m, m)``, float32 (float64 for float64)."""
        size = (self.kernel_size, self.kernel_size)
        values = crop_centre(self.last(maps)[:, 0], size)
        values = values.to(torch.promote_types(values.dtype, torch.float32))
        with torch.autocast(values.device.type, enabled=False):
            if self.kind == "softmax":
                return values.flatten(1).softmax(dim=1).view(-1, *size)
            values = values.relu() if self.kind == "relu" else functional.softplus(values)
            total = values.sum(dim=(-2, -1), keepdim=True)
            delta = torch.zeros_like(values)
            delta[..., size[0] // 2, size[1] // 2] = 1
            scaled = values / total.clamp_min(_SMALLEST_SUM)
            return torch.where(total > _SMALLEST_SUM, scaled, delta)


def make_decoder(config: AnalysisConfig) -> PaperDecoder | ResidualDecoder:
    """Make the decoder that `config` asks for."""
    return PaperDecoder(config) if config.decoder == "paper" else ResidualDecoder(config)
