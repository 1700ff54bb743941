"""What the tests of the command line share: a tiny model in a folder, and ways to run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_deblur.cli.running import run
from napari_deblur.networks.analysis import AnalysisNetwork
from napari_deblur.networks.presets import PRESETS
from napari_deblur.networks.synthesis import SynthesisNetwork
from napari_deblur.weights.files import save_weights

Outcome = tuple[int, str, str]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a pair of networks with random weights."""
    folder = tmp_path_factory.mktemp("model")
    preset = PRESETS["tiny"]
    torch.manual_seed(0)
    pair = {
        "analysis": (AnalysisNetwork(preset.analysis), preset.analysis),
        "synthesis": (SynthesisNetwork(preset.synthesis), preset.synthesis),
    }
    for kind, (network, config) in pair.items():
        save_weights(folder / f"{kind}.safetensors", network, kind, config, {"trained": "never"})
    return str(folder)


@pytest.fixture
def picture() -> NDArray[np.uint8]:
    """An RGB image of 48 x 56 px with edges."""
    rows, columns = np.mgrid[:48, :56]
    planes = [(rows // 8 + columns // 7) % 2, rows // 12 % 2, (rows + columns) // 16 % 2]
    return np.stack([40 + 170 * plane for plane in planes], axis=-1).astype(np.uint8)


@pytest.fixture
def program() -> Callable[..., Outcome]:
    """Run the program in a process of its own."""

    def call(*args: object) -> Outcome:
        done = subprocess.run(
            [sys.executable, "-m", "napari_deblur.cli", *map(str, args)],
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return call


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run the program within this process."""

    def call(*args: object) -> Outcome:
        code = run([str(arg) for arg in args])
        output = capsys.readouterr()
        return code, output.out, output.err

    return call
