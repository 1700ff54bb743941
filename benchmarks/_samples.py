"""Pictures and models that the benchmarks work on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from skimage import data

from napari_deblur.networks.analysis import AnalysisNetwork
from napari_deblur.networks.presets import PRESETS
from napari_deblur.networks.synthesis import SynthesisNetwork
from napari_deblur.weights.files import save_weights


def colour_picture(height: int, width: int) -> NDArray[np.uint8]:
    """A photograph (H, W, 3) of any size: one that scikit-image brings, repeated and mirrored."""
    photograph = np.asarray(data.astronaut())
    down, across = (-(-side // 512) for side in (height, width))
    row = [photograph[:, :: 1 - 2 * (i % 2)] for i in range(across)]
    rows = [np.concatenate(row, axis=1)[:: 1 - 2 * (i % 2)] for i in range(down)]
    return np.ascontiguousarray(np.concatenate(rows)[:height, :width])


def grey_picture(height: int, width: int) -> NDArray[np.uint8]:
    """The green channel of `colour_picture`, (H, W)."""
    return np.ascontiguousarray(colour_picture(height, width)[..., 1])


def random_model(preset: str, folder: Path) -> Path:
    """Save a pair of networks with random weights: as quick as trained ones, and as large."""
    torch.manual_seed(0)
    made = PRESETS[preset]
    networks = {
        "analysis": AnalysisNetwork(made.analysis),
        "synthesis": SynthesisNetwork(made.synthesis),
    }
    for kind, network in networks.items():
        path = folder / f"{kind}.safetensors"
        save_weights(path, network, kind, network.config, {"recipe": "none: random weights"})
    return folder


@contextmanager
def precision(dtype: torch.dtype) -> Iterator[None]:
    """Let runs inside compute their convolutions in `dtype`, whatever the device is best at."""
    with patch("napari_deblur.engine.pair.convolution_dtype", lambda _: dtype):
        yield
