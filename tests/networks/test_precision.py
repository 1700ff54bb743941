"""Precision of convolutions, by what the hardware multiplies in."""

from __future__ import annotations

import pytest
import torch

from napari_deblur.networks.precision import convolution_dtype


def test_bfloat16_only_where_the_processor_multiplies_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cpu = torch.device("cpu")
    for known, expected in [
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({"avx512_f": True, "amx_bf16": False}, torch.float32),
    ]:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda known=known: known, raising=False)
        assert convolution_dtype(cpu) == expected
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert convolution_dtype(cpu) == torch.float32
