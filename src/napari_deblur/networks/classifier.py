"""The blur-size classifier, which picks one of the scale-optimised pairs (section 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from napari_deblur.networks.analysis import LagStatistics
from napari_deblur.networks.decoders import make_decoder

if TYPE_CHECKING:
    from napari_deblur.networks.config import ClassifierConfig

__all__ = ["BlurSizeClassifier"]


class BlurSizeClassifier(nn.Module):
    """A single-scale analysis network whose last maps feed one fully connected layer.

    It looks at the image `config.shrink` times smaller: whether a blur is 30 or 60 pixels wide
    shows there as well.

    Parameters
    ----------
    config
        The architecture; kept as the attribute `config`.
    """

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        self.lags = LagStatistics(config.analysis)
        self.decoder = make_decoder(config.analysis)
        side = 2 * config.analysis.radius + 1
        self.last = nn.Linear(self.decoder.channels * side**2, config.classes)

    def forward(self, luma: Tensor) -> Tensor:
        """Classify ``(B, 1, H, W)``, any linear range; returns logits ``(B, classes)``."""
        logits: Tensor = self.last(self.decoder(self.lags(self._shrunk(luma))).flatten(1))
        return logits

    def _shrunk(self, luma: Tensor) -> Tensor:
        factor = self.config.shrink
        if factor == 1:
            return luma
        # The mean of every block, which no noise and no detail aliases through.
        sides = [max(1, side // factor) * factor for side in luma.shape[-2:]]
        missing = [max(0, side - n) for side, n in zip(sides, luma.shape[-2:], strict=True)]
        if any(missing):
            luma = functional.pad(luma, (0, missing[1], 0, missing[0]), mode="replicate")
        return functional.avg_pool2d(luma, factor)
