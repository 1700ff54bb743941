"""The blur-size classifier, which picks one of the scale-optimised pairs (section 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from napari_deblur.networks.analysis import LagStatistics
from napari_deblur.networks.decoders import make_decoder

if TYPE_CHECKING:
    from napari_deblur.networks.config import ClassifierConfig

__all__ = ["BlurSizeClassifier"]


class BlurSizeClassifier(nn.Module):
    """A single-scale analysis network whose last maps feed one fully connected layer.

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
        logits: Tensor = self.last(self.decoder(self.lags(luma)).flatten(1))
        return logits
