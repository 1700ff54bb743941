"""Devices are found, named and refused; precision and memory are told honestly."""

from __future__ import annotations

import pytest
import torch

from napari_deblur.engine.devices import (
    available_devices,
    convolution_dtype,
    free_memory,
    pick_device,
)
from napari_deblur.errors import DeviceError


def test_auto_takes_the_best_there_is_and_cpu_is_always_there():
    assert pick_device("auto").type == torch.device(available_devices()[0]).type
    assert pick_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "", "CPU"])
def test_unknown_devices_are_refused_with_the_known_ones(name):
    with pytest.raises(DeviceError, match=rf"no device '{name}' here: available are auto, .*cpu"):
        pick_device(name)


def test_bfloat16_only_where_the_processor_multiplies_in_it(monkeypatch):
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


def test_free_memory_is_a_plausible_number_of_bytes():
    assert 1 << 26 < free_memory(torch.device("cpu")) < 1 << 50
