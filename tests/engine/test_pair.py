"""Pairs are opened once, and a network that two of them share is one."""

from __future__ import annotations

import torch

from napari_deblur.engine.pair import load_pair

CPU = torch.device("cpu")


def test_pairs_share_the_network_whose_file_they_share() -> None:
    default, small = load_pair("default", CPU), load_pair("compact-31", CPU)
    assert default is load_pair("default", CPU)
    assert default.hashes["analysis"] == small.hashes["analysis"]
    assert default.analysis is small.analysis
    assert default.synthesis is not small.synthesis
    assert not any(each.requires_grad for each in small.synthesis.parameters())
