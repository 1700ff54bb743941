"""Descriptions of architectures: they survive JSON and name what is wrong with them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from napari_deblur.errors import InputError
from napari_deblur.networks.config import AnalysisConfig, ClassifierConfig, SynthesisConfig
from napari_deblur.networks.presets import PRESETS


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("part", ["analysis", "synthesis", "classifier"])
def test_a_preset_survives_json(name: str, part: str) -> None:
    config = getattr(PRESETS[name], part)
    again = type(config).from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert hash(again) == hash(config)


@pytest.mark.parametrize("name", PRESETS)
def test_the_parts_of_a_preset_share_the_largest_kernel(name: str) -> None:
    preset = PRESETS[name]
    sizes = {preset.analysis.kernel_size, preset.synthesis.kernel_size}
    assert sizes | {preset.classifier.kernel_size} == {preset.kernel_size}


def test_radii_halve_rounding_up() -> None:
    assert PRESETS["paper"].analysis.radii == (42, 21, 11, 6)


def test_an_unknown_key_is_named_with_the_known_ones() -> None:
    values = PRESETS["tiny"].synthesis.to_dict() | {"width": 3}
    with pytest.raises(InputError, match=r"'width'.*kernel_size.*iterations"):
        SynthesisConfig.from_dict(values)
    inner = PRESETS["tiny"].classifier.to_dict()
    inner["analysis"]["depth"] = 1
    with pytest.raises(InputError, match=r"AnalysisConfig has no key 'depth'"):
        ClassifierConfig.from_dict(inner)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(InputError, match="kernel_size"):
        SynthesisConfig.from_dict({"image_channels": 3})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kernel_size": 14}, r"kernel_size is 14; it must be an odd whole number"),
        ({"kernel_size": True}, r"kernel_size is True"),
        ({"radius": 6}, r"radius is 6; .* at least 7"),
        ({"levels": 0}, r"levels is 0"),
        ({"head": "sigmoid"}, r"head is 'sigmoid'; choose one of 'relu', 'softplus', 'softmax'"),
        ({"decoder": "big"}, r"decoder is 'big'"),
        ({"fixed_features": ("sobel",)}, r"'sobel' is unknown; choose from horizontal, vertical"),
        ({"fixed_features": "vertical"}, r"fixed_features is 'vertical'; give a list"),
        ({"fixed_features": (), "learned_channels": 0}, r"nothing to correlate"),
    ],
)
def test_an_impossible_analysis_is_explained(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        AnalysisConfig.from_dict(PRESETS["tiny"].analysis.to_dict() | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_channels": 4}, r"image_channels is 4; choose one of 1, 3"),
        ({"channels": ()}, r"channels is \(\)"),
        ({"channels": [8, 0]}, r"channels is \(8, 0\)"),
        ({"channels": ["8"]}, r"channels is \('8',\)"),
        ({"channels": 8}, r"channels is 8"),
        ({"guidance": "some"}, r"guidance is 'some'; choose one of 'none', 'additive'"),
        ({"guided_convolutions": 2}, r"guided_convolutions is 2, but a layer has only 1"),
        ({"noise_input": 1}, r"noise_input is 1; it must be true or false"),
        ({"front_end": "none", "iterations": 2}, r"iterations is 2 without a front end"),
    ],
)
def test_an_impossible_synthesis_is_explained(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SynthesisConfig.from_dict(PRESETS["tiny"].synthesis.to_dict() | changes)


def test_a_classifier_works_on_one_scale() -> None:
    with pytest.raises(InputError, match="2 levels"):
        ClassifierConfig(analysis=replace(PRESETS["tiny"].analysis, levels=2))
