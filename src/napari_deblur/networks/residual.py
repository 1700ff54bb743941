"""A residual U-Net: the levels that decoding lag maps and correcting kernels have in common."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from napari_deblur.networks.initialise import start_zero

__all__ = ["ResidualBlock", "ResidualUNet", "group_count", "resize_maps"]


def group_count(width: int) -> int:
    """Return groups for a group norm: about eight channels each, and a divisor of the width."""
    return next(groups for groups in range(max(1, width // 8), 0, -1) if width % groups == 0)


def resize_maps(maps: Tensor, side: int) -> Tensor:
    """Interpolate square maps ``(B, C, L, L)`` to another odd side; lag 0 stays in the middle."""
    if maps.shape[-1] == side:
        return maps
    return functional.interpolate(maps, size=(side, side), mode="bilinear", align_corners=True)


class ResidualBlock(nn.Module):
    """Two convolutions around a skip, with a per-channel offset from the mean over the map."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(group_count(width), width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.context = nn.Linear(width, width)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        start_zero(self.second)  # the block starts as the identity

    def forward(self, maps: Tensor) -> Tensor:
        """``(B, width, H, W)`` to the same shape."""
        inner = self.first(self.norm(maps).relu())
        inner = inner + self.context(inner.mean(dim=(-2, -1)))[..., None, None]
        result: Tensor = maps + self.second(inner.relu())
        return result


class ResidualUNet(nn.Module):
    """Levels of residual blocks; on each, maps have about half the side that they have above.

    Maps have odd sides with lag 0 in the middle, so the strided convolutions and the interpolation
    (corner pixels aligned) keep lag 0 in the middle too.  How maps go down the levels is a
    subclass's own.

    Parameters
    ----------
    enter
        What brings maps to the first level's channels.
    channels
        Channels of the first level; the others have twice as many.
    levels
        How many there are.
    depth
        Blocks on each level, on the way down and on the way up.
    """

    def __init__(self, enter: nn.Module, *, channels: int, levels: int, depth: int) -> None:
        super().__init__()
        widths = [channels] + [2 * channels] * (levels - 1)

        def blocks(width: int) -> nn.Sequential:
            return nn.Sequential(*(ResidualBlock(width) for _ in range(depth)))

        self.enter = enter
        self.encode = nn.ModuleList(blocks(width) for width in widths)
        self.lower = nn.ModuleList(
            nn.Conv2d(fine, coarse, 3, stride=2, padding=1)
            for fine, coarse in itertools.pairwise(widths)
        )
        self.raise_ = nn.ModuleList(
            nn.Conv2d(coarse, fine, 1) for fine, coarse in itertools.pairwise(widths)
        )
        self.decode = nn.ModuleList(blocks(width) for width in widths[:-1])

    def rise(self, encoded: Sequence[Tensor]) -> Tensor:
        """From what each level has encoded, finest first, to the maps of the finest."""
        *finer, result = encoded
        ways = list(zip(finer, self.raise_, self.decode, strict=True))
        for maps, raise_, decode in reversed(ways):
            result = decode(maps + resize_maps(raise_(result), maps.shape[-1]))
        return result
