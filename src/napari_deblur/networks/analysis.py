"""The analysis network: a blurry image's luma in, its blur kernel out (paper, section 3.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_deblur.errors import InputError
from napari_deblur.networks.correlation import CrossCorrelation
from napari_deblur.networks.decoders import KernelHead, crop_centre, make_decoder
from napari_deblur.networks.features import FixedFeatures, LearnedFeatures, standardise_image
from napari_deblur.networks.initialise import start_zero

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_deblur.networks.config import AnalysisConfig

__all__ = ["AnalysisNetwork", "LagStatistics"]

# Feature maps smaller than this tell nothing at any lag; smaller images are padded.
_SMALLEST_MAP = 4


class LagStatistics(nn.Module):
    """Feature pyramid and its correlations: everything up to the decoder.

    Parameters
    ----------
    config
        Which features, how many levels, which lags.
    """

    def __init__(self, config: AnalysisConfig) -> None:
        super().__init__()
        self.config = config
        self.learned = nn.ModuleList(
            LearnedFeatures(config) for _ in range(config.levels if config.learned_channels else 0)
        )
        self.fixed = nn.ModuleList(
            FixedFeatures(config.fixed_features, radius)
            for radius in (config.radii if config.fixed_features else ())
        )
        self.correlations = nn.ModuleList(CrossCorrelation(radius) for radius in config.radii)
        self.shrink = nn.ModuleList(
            _shrinking_convolution(learns=bool(config.learned_channels))
            for _ in range(config.levels - 1)
        )

    @property
    def smallest_side(self) -> int:
        """Side in pixels below which an image is padded."""
        margin = self.config.convolutions * (self.config.filter_size - 1)
        valid = margin if self.config.learned_channels else 2
        return (_SMALLEST_MAP + valid) << (self.config.levels - 1)

    def forward(self, luma: Tensor) -> list[Tensor]:
        """``(B, 1, H, W)`` to ``(B, pairs, 2R + 1, 2R + 1)`` per level, finest first."""
        if self.config.learned_channels:
            return self._correlate(luma)
        with torch.no_grad():  # nothing to learn here, so nothing to remember
            return self._correlate(luma)

    def _correlate(self, luma: Tensor) -> list[Tensor]:
        image = _pad_to(standardise_image(luma), self.smallest_side)
        result = []
        for level, correlation in enumerate(self.correlations):
            if level:
                image = self.shrink[level - 1](image)
            result.append(correlation(self._features(image, level)))
        return result

    def _features(self, image: Tensor, level: int) -> Tensor:
        parts = []
        if self.learned:
            parts.append(self.learned[level](image))
        if self.fixed:
            fixed = self.fixed[level](image)
            parts.append(crop_centre(fixed, parts[0].shape[-2:]) if parts else fixed)
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]


def _shrinking_convolution(*, learns: bool) -> nn.Conv2d:
    """Halve the sides; starts as a binomial filter, and stays one where nothing is learned."""
    layer = nn.Conv2d(1, 1, 5, stride=2, padding=2, padding_mode="replicate")
    start_zero(layer)
    binomial = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    with torch.no_grad():
        layer.weight.copy_(torch.outer(binomial, binomial)[None, None])
    return layer.requires_grad_(learns)


def _pad_to(image: Tensor, side: int) -> Tensor:
    """Replicate the border of an image that is smaller than `side` pixels."""
    height, width = (max(0, side - n) for n in image.shape[-2:])
    if not height and not width:
        return image
    around = (width // 2, width - width // 2, height // 2, height - height // 2)
    return functional.pad(image, around, mode="replicate")


class AnalysisNetwork(nn.Module):
    """Estimate the blur kernel of an image from the correlations of its features.

    Parameters
    ----------
    config
        The architecture; kept as the attribute `config`.
    """

    def __init__(self, config: AnalysisConfig) -> None:
        super().__init__()
        self.config = config
        self.lags = LagStatistics(config)
        self.decoder = make_decoder(config)
        self.head = KernelHead(self.decoder.channels, config.kernel_size, config.head)

    def forward(self, luma: Tensor) -> Tensor:
        """Estimate.

        Parameters
        ----------
        luma
            ``(B, 1, H, W)``, any linear range: it is standardised per image.  Images too small
            for the pyramid are padded by replication, which costs accuracy.

        Returns
        -------
        Tensor
            Kernels ``(B, m, m)``, float32, non-negative, sum 1.
        """
        return self.decode(self.statistics(luma))

    def statistics(self, luma: Tensor) -> list[Tensor]:
        """Normalised correlation maps of every level, finest first.

        Parameters
        ----------
        luma
            ``(B, 1, H, W)``; see `forward`.

        Returns
        -------
        list of Tensor
            ``(B, pairs, 2R + 1, 2R + 1)`` float32 per level, with the level's own lag radius R.
            Tiles, frames or channels that share one kernel may be averaged here.

        Raises
        ------
        InputError
            If `luma` is not ``(B, 1, H, W)``.
        """
        if luma.ndim != 4 or luma.shape[1] != 1:
            raise InputError(
                f"luma has shape {tuple(luma.shape)}; the analysis network takes one channel, "
                "(B, 1, H, W): convert the image to luma first"
            )
        maps: list[Tensor] = self.lags(luma)
        return maps

    def decode(self, statistics: Sequence[Tensor]) -> Tensor:
        """Kernels ``(B, m, m)`` from the result of `statistics`."""
        kernel: Tensor = self.head(self.decoder(statistics))
        return kernel
