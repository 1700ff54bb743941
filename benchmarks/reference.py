"""The published computation, done layer by layer: what the benchmarks compare this project with.

Float32, eager, the layers as the paper has them: guides evaluated and applied as layers of their
own, transposed convolutions, joins by concatenation, feature maps in torch's usual layout (channel
by channel), and correlations by Fourier transforms of the whole image, one inverse transform for
each pair of channels.  Run as a script it checks that this gives the same kernel and image as the
project's own way, in float64.

    python benchmarks/reference.py
"""

from __future__ import annotations

import copy
import sys

import _measure
import torch
from torch import Tensor, nn

from napari_deblur.networks.analysis import AnalysisNetwork
from napari_deblur.networks.correlation import standardise
from napari_deblur.networks.fold import fold
from napari_deblur.networks.presets import PRESETS
from napari_deblur.networks.synthesis import SynthesisNetwork

_LUMA = (0.299, 0.587, 0.114)


class WholeImageCorrelation(nn.Module):
    """Correlations of all pairs of channels by transforms of the whole image.

    Parameters
    ----------
    radius
        Largest lag that is kept, in pixels.
    at_once
        Transform the spectra of all pairs back together, which is what a tensor program written
        straight from the formula does; otherwise pair by pair, with the least memory that the
        formulation can do with.
    """

    def __init__(self, radius: int, *, at_once: bool = False) -> None:
        super().__init__()
        self.radius = radius
        self.at_once = at_once

    def forward(self, maps: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, C (C + 1) / 2, 2R + 1, 2R + 1)``."""
        size = [_fast(side + self.radius) for side in maps.shape[-2:]]
        spectra = torch.fft.rfft2(standardise(maps), s=size)
        rows, columns = torch.triu_indices(maps.shape[1], maps.shape[1])
        if self.at_once:
            return self._lags(spectra[:, rows], spectra[:, columns], size)
        pairs = zip(rows.tolist(), columns.tolist(), strict=True)
        return torch.stack(
            [self._lags(spectra[:, i], spectra[:, j], size) for i, j in pairs], dim=1
        )

    def _lags(self, first: Tensor, second: Tensor, size: list[int]) -> Tensor:
        lags = torch.fft.irfft2(first.conj() * second, s=size)
        near = [torch.arange(-self.radius, self.radius + 1, device=lags.device) % n for n in size]
        return lags[..., near[0][:, None], near[1]]


def _fast(side: int) -> int:
    """Least even 5-smooth side from `side` up: the transforms' best case."""
    rest = side
    for factor in (2, 3, 5):
        while rest % factor == 0:
            rest //= factor
    return side if rest == 1 and side % 2 == 0 else _fast(side + 1)


class Reference:
    """Blind deblurring as published: ``k = A(luma(B))``, then ``S(B, k)``.

    Parameters
    ----------
    analysis, synthesis
        Networks of preset `paper`; copied.
    """

    def __init__(self, analysis: AnalysisNetwork, synthesis: SynthesisNetwork) -> None:
        self.analysis = copy.deepcopy(analysis).eval()
        self.synthesis = copy.deepcopy(synthesis).eval()
        lags = self.analysis.lags
        lags.correlations = nn.ModuleList(
            WholeImageCorrelation(radius) for radius in analysis.config.radii
        )
        for network in (self.analysis, self.synthesis):
            network.to(memory_format=torch.contiguous_format)

    @torch.inference_mode()
    def estimate(self, blurry: Tensor) -> Tensor:
        """``(B, 3, H, W)`` to kernels ``(B, m, m)``."""
        weights = blurry.new_tensor(_LUMA)[:, None, None]
        return self.analysis((blurry * weights).sum(dim=1, keepdim=True))

    @torch.inference_mode()
    def deblur(self, blurry: Tensor, kernel: Tensor) -> Tensor:
        """``(B, 3, H, W)`` and ``(B, m, m)`` to ``(B, 3, H, W)``."""
        return self.synthesis(blurry, kernel)


def main(arguments: list[str]) -> int:
    made = _measure.parser(__doc__)
    options = _measure.start(made, arguments)
    torch.manual_seed(0)
    preset = PRESETS["paper"]
    analysis, synthesis = AnalysisNetwork(preset.analysis), SynthesisNetwork(preset.synthesis)
    for network in (analysis, synthesis):
        network.double().eval().to(options.device)
        with torch.no_grad():
            for layer in network.modules():  # guides with something to say
                if isinstance(layer, nn.Linear):
                    layer.weight.normal_(std=layer.in_features**-0.5)
    side = 256 if options.full else 192
    blurry = torch.rand(1, 3, side, side, dtype=torch.float64, device=options.device)
    reference = Reference(analysis, synthesis)
    with torch.inference_mode():
        weights = blurry.new_tensor(_LUMA)[:, None, None]
        kernel = analysis((blurry * weights).sum(dim=1, keepdim=True))
        sharp = fold(synthesis.unet, kernel[0])(blurry)
    expected = reference.estimate(blurry)
    figures = {
        "image": [side, side],
        "largest difference of the kernel": float((kernel - expected).abs().max()),
        "largest difference of the image": float(
            (sharp - reference.deblur(blurry, kernel)).abs().max()
        ),
    }
    _measure.finish("reference", options, figures)
    return int(max(value for value in figures.values() if isinstance(value, float)) > 1e-10)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
