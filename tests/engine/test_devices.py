"""Devices are found, named and refused; memory is told honestly."""

from __future__ import annotations

import pytest
import torch

from napari_deblur.engine.devices import available_devices, free_memory, pick_device
from napari_deblur.errors import DeviceError


def test_auto_takes_the_best_there_is_and_cpu_is_always_there():
    assert pick_device("auto").type == torch.device(available_devices()[0]).type
    assert pick_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "", "CPU"])
def test_unknown_devices_are_refused_with_the_known_ones(name):
    with pytest.raises(DeviceError, match=rf"no device '{name}' here: available are auto, .*cpu"):
        pick_device(name)


def test_free_memory_is_a_plausible_number_of_bytes():
    assert 1 << 26 < free_memory(torch.device("cpu")) < 1 << 50
