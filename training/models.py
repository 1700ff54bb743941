"""The networks of a recipe: a preset, its overrides, and its sizes for a class of kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from napari_deblur.errors import InputError, RecipeError
from napari_deblur.networks.analysis import AnalysisNetwork
from napari_deblur.networks.classifier import BlurSizeClassifier
from napari_deblur.networks.config import (
    AnalysisConfig,
    ClassifierConfig,
    CorrectionConfig,
    SynthesisConfig,
)
from napari_deblur.networks.correction import KernelCorrection
from napari_deblur.networks.presets import PRESETS, Preset
from napari_deblur.networks.synthesis import SynthesisNetwork

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from napari_deblur.training.recipe import ModelRecipe

__all__ = ["build_network", "network_configs"]


def network_configs(recipe: ModelRecipe, kernel_size: int | None = None) -> Preset:
    """Return the architectures of a recipe, for another kernel size m if one is given.

    Raises
    ------
    RecipeError
        When the preset is unknown, or an override is unknown or impossible.
    """
    if recipe.preset not in PRESETS:
        raise RecipeError(
            f"model.preset = {recipe.preset!r} is unknown: allowed are {', '.join(PRESETS)}"
        )
    preset = PRESETS[recipe.preset]
    try:
        analysis = AnalysisConfig.from_dict(
            _resized({**preset.analysis.to_dict(), **recipe.analysis}, kernel_size)
        )
        synthesis = SynthesisConfig.from_dict(
            _resized({**preset.synthesis.to_dict(), **recipe.synthesis}, kernel_size)
        )
        overrides = dict(recipe.classifier)
        inner = {**preset.classifier.analysis.to_dict(), **overrides.pop("analysis", {})}
        table = {**preset.classifier.to_dict(), **overrides, "analysis": inner}
        correction = CorrectionConfig.from_dict(
            {**preset.correction.to_dict(), **recipe.correction}
        )
        return Preset(analysis, synthesis, ClassifierConfig.from_dict(table), correction)
    except InputError as error:
        raise RecipeError(f"model: {error}") from error


def _resized(table: Mapping[str, Any], kernel_size: int | None) -> dict[str, Any]:
    """Change the kernel size; the lags reach as far beyond the kernel as before."""
    table = dict(table)
    if kernel_size is not None:
        if "radius" in table:
            table["radius"] += kernel_size // 2 - table["kernel_size"] // 2
        table["kernel_size"] = kernel_size
    return table


def build_network(
    config: AnalysisConfig | SynthesisConfig | ClassifierConfig | CorrectionConfig, seed: int
) -> nn.Module:
    """Build a network with first weights that depend on `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(config, AnalysisConfig):
            return AnalysisNetwork(config)
        if isinstance(config, SynthesisConfig):
            return SynthesisNetwork(config)
        if isinstance(config, CorrectionConfig):
            return KernelCorrection(config)
        return BlurSizeClassifier(config)
