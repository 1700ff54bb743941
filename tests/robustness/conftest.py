"""A small model, and damage of every kind for files."""

from __future__ import annotations

import os

import pytest
import torch
from hypothesis import strategies as st

from napari_deblur.networks.analysis import AnalysisNetwork
from napari_deblur.networks.presets import PRESETS
from napari_deblur.networks.synthesis import SynthesisNetwork
from napari_deblur.weights.files import save_weights

SOAK_SHARE = float(os.environ.get("NAPARI_DEBLUR_SOAK_SHARE", "1"))
"""How much of their full length the tests marked `soak` take; less than 1 is a rehearsal."""


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder with a pair of the preset `tiny`; random weights, with which the U-Net speaks."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    folder.mkdir()
    torch.manual_seed(0)
    preset = PRESETS["tiny"]
    analysis, synthesis = AnalysisNetwork(preset.analysis), SynthesisNetwork(preset.synthesis)
    with torch.no_grad():
        synthesis.unet.last.weight.normal_(std=0.005)
    for module, kind in ((analysis, "analysis"), (synthesis, "synthesis")):
        path = folder / f"{kind}.safetensors"
        save_weights(path, module, kind, module.config, {"recipe": "test"})
    return str(folder)


def damaged(content: bytes) -> st.SearchStrategy[bytes]:
    """Copies that are cut, altered, doubled, emptied in part, or hold extreme numbers."""
    # Half of the changes hit the first bytes, where headers lie.
    places = st.one_of(st.integers(0, min(len(content), 512) - 1), st.integers(0, len(content) - 1))
    extremes = st.sampled_from([b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"])
    pieces = st.one_of(st.binary(min_size=1, max_size=4), extremes, st.just(b"\0" * 64))

    def overwrite(changes: list[tuple[int, bytes]]) -> bytes:
        copy = bytearray(content)
        for place, piece in changes:
            copy[place : place + len(piece)] = piece
        return bytes(copy[: len(content)])

    return st.one_of(
        places.map(lambda place: content[:place]),
        st.lists(st.tuples(places, pieces), min_size=1, max_size=6).map(overwrite),
        st.tuples(places, st.binary(max_size=9)).map(
            lambda change: content[: change[0]] + change[1] + content[change[0] :]
        ),
        st.tuples(places, places).map(
            lambda ends: content[: min(ends)] + content[max(ends) :]
        ),
        st.binary(max_size=64),
    )  # fmt: skip
