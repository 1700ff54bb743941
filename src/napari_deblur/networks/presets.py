"""Named architectures: the paper's, the compact one that ships, and a tiny one for tests."""

from __future__ import annotations

from dataclasses import dataclass

from napari_deblur.networks.config import (
    AnalysisConfig,
    ClassifierConfig,
    CorrectionConfig,
    SynthesisConfig,
)

__all__ = ["PRESETS", "Preset"]


@dataclass(frozen=True)
class Preset:
    """Architectures that belong together: same largest kernel, but for the correction's."""

    analysis: AnalysisConfig
    synthesis: SynthesisConfig
    classifier: ClassifierConfig
    correction: CorrectionConfig

    @property
    def kernel_size(self) -> int:
        """Side m of the largest kernel in pixels."""
        return self.analysis.kernel_size


_FIRST = ("horizontal", "vertical", "diagonal", "antidiagonal")
_COMPACT_FEATURES = (
    *_FIRST,
    *(f"{name}:signed-square" for name in _FIRST),
    *(f"{name}:signed-root" for name in _FIRST),
)

_PAPER = Preset(
    AnalysisConfig(kernel_size=85, radius=42),
    SynthesisConfig(kernel_size=85),
    ClassifierConfig(analysis=AnalysisConfig(kernel_size=85, radius=42, levels=1)),
    CorrectionConfig(kernel_size=85),
)

_COMPACT = Preset(
    AnalysisConfig(
        kernel_size=31,
        radius=24,
        levels=1,
        learned_channels=0,
        fixed_features=_COMPACT_FEATURES,
        decoder="residual",
        decoder_channels=48,
        head="softplus",
    ),
    SynthesisConfig(
        kernel_size=31,
        image_channels=1,
        channels=(32, 64, 96, 128),
        block_convolutions=2,
        residual_blocks=True,
        guided_convolutions=2,
        guide_channels=64,
        front_end="shrinkage-fields",
        noise_input=True,
    ),
    ClassifierConfig(
        analysis=AnalysisConfig(
            kernel_size=31,
            radius=24,
            levels=1,
            learned_channels=0,
            fixed_features=_COMPACT_FEATURES,
            decoder="residual",
            decoder_channels=16,
        )
    ),
    CorrectionConfig(kernel_size=85, channels=24, depth=1),
)

_TINY_ANALYSIS = AnalysisConfig(
    kernel_size=15,
    radius=7,
    levels=1,
    filters=8,
    filter_size=3,
    convolutions=1,
    learned_channels=2,
    fixed_features=("horizontal", "vertical", "horizontal:signed-square"),
    decoder="residual",
    decoder_channels=8,
    decoder_depth=1,
    head="softplus",
)

_TINY = Preset(
    _TINY_ANALYSIS,
    SynthesisConfig(
        kernel_size=15,
        image_channels=1,
        channels=(8, 8, 8),
        block_convolutions=1,
        guide_channels=8,
        front_end="wiener",
        noise_input=True,
    ),
    ClassifierConfig(analysis=_TINY_ANALYSIS),
    CorrectionConfig(kernel_size=15, channels=8),
)

#: Presets by name.
PRESETS: dict[str, Preset] = {"paper": _PAPER, "compact": _COMPACT, "tiny": _TINY}
