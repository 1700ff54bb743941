"""The U-Net whose every layer the blur kernel guides (paper, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from napari_deblur.networks.config import SynthesisConfig
from napari_deblur.networks.guides import GuidedBlock

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
        steps = tuple(zip(widths[:-1], widths[1:], strict=True))
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
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        for rise in self.rise:  # each output pixel sees a quarter of the 25 taps
            assert isinstance(rise, nn.ConvTranspose2d)
            fan_in = rise.in_channels * 25 / 4
            nn.init.normal_(rise.weight, std=(2 / fan_in) ** 0.5)

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
