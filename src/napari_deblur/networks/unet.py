"""The U-Net whose every layer the blur kernel guides (paper, section 3.2)."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from napari_deblur.networks.guides import GuidedBlock
from napari_deblur.networks.initialise import start_convolutions

if TYPE_CHECKING:
    from napari_deblur.networks.config import SynthesisConfig

__all__ = ["GuidedUNet"]


class GuidedUNet(nn.Module):
    """Encoder and decoder with a skip at every level; sides must be multiples of its `stride`.

    Parameters
    ----------
    config
        Channels per level, blocks and guidance.
    entering
        Channels of the input.
    """

    def __init__(self, config: SynthesisConfig, entering: int) -> None:
        super().__init__()
        widths = config.channels
        steps = tuple(itertools.pairwise(widths))
        self.stride = 2 ** len(steps)
        self.encode = nn.ModuleList(
            GuidedBlock(config, width if level else entering, width)
            for level, width in enumerate(widths)
        )
        self.lower = nn.ModuleList(
            nn.Conv2d(fine, coarse, 3, stride=2, padding=1) for fine, coarse in steps
        )
        self.rise = nn.ModuleList(
            nn.ConvTranspose2d(coarse, fine, 5, stride=2, padding=2, output_padding=1)
            for fine, coarse in steps
        )
        self.skip = nn.ModuleList(nn.Conv2d(fine, fine, 3, padding=1) for fine, _ in steps)
        self.join = nn.ModuleList(nn.Conv2d(2 * fine, fine, 1) for fine, _ in steps)
        self.decode = nn.ModuleList(GuidedBlock(config, fine, fine) for fine, _ in steps)
        self.last = nn.Conv2d(widths[0], config.image_channels, 3, padding=1)
        start_convolutions(self)

    def forward(self, image: Tensor, kernel: Tensor) -> Tensor:
        """``(B, entering, H, W)`` and ``(B, m, m)`` to ``(B, image_channels, H, W)``."""
        maps = image
        skips: list[Tensor] = []
        for level, encode in enumerate(self.encode):
            if level:
                maps = self.lower[level - 1](maps).relu()
            maps = encode(maps, kernel)
            skips.append(maps)
        skips.pop()
        for level in reversed(range(len(skips))):
            risen = self.rise[level](maps).relu()
            joined = torch.cat((self.skip[level](skips[level]), risen), dim=1)
            maps = self.decode[level](self.join[level](joined).relu(), kernel)
        result: Tensor = self.last(maps)
        return result
