"""A pair of tiny networks with random weights, saved as a user's own model would be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_deblur.engine.simulate import shake
from napari_deblur.networks.analysis import AnalysisNetwork
from napari_deblur.networks.presets import PRESETS
from napari_deblur.networks.synthesis import SynthesisNetwork
from napari_deblur.weights.files import save_weights


def save_pair(folder, analysis, synthesis):
    """Random networks; the U-Net is given a voice, which it does not have untrained."""
    folder.mkdir()
    torch.manual_seed(0)
    first, second = AnalysisNetwork(analysis), SynthesisNetwork(synthesis)
    with torch.no_grad():
        second.unet.last.weight.normal_(std=0.005)
    for module, kind in ((first, "analysis"), (second, "synthesis")):
        config = module.config
        save_weights(folder / f"{kind}.safetensors", module, kind, config, {"recipe": "test"})
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """Folder with the preset `tiny`: m = 15, one channel at a time, Wiener front end."""
    preset = PRESETS["tiny"]
    return save_pair(tmp_path_factory.mktemp("models") / "tiny", preset.analysis, preset.synthesis)


@pytest.fixture(scope="session")
def photograph():
    """Grey picture with texture, (96, 112), float64 in [0, 1]."""
    rng = np.random.default_rng(5)
    scene = np.kron(rng.random((12, 14)), np.ones((8, 8)))
    return 0.1 + 0.8 * scene


@pytest.fixture(scope="session")
def blurry(photograph):
    """The picture shaken by a kernel of 9 pixels, uint8, and the kernel."""
    image, kernel = shake(np.round(photograph * 255).astype(np.uint8), size=9, seed=1, noise=0.005)
    return image, kernel
