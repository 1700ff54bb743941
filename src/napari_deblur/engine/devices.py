"""Which device computes, and how much memory it has left."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from napari_deblur.errors import DeviceError

if TYPE_CHECKING:
    import torch

__all__ = ["available_devices", "free_memory", "pick_device"]

_FALLBACK_MEMORY = 2 << 30


def available_devices() -> tuple[str, ...]:
    """Names that `pick_device` accepts on this machine, besides "auto"; the best comes first."""
    import torch

    names: list[str] = []
    if torch.cuda.is_available():
        names += ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        names.append("mps")
    return (*names, "cpu")


def pick_device(name: str = "auto") -> torch.device:
    """Choose the device to compute on.

    Parameters
    ----------
    name : str
        "auto" for the best there is, "cpu", "cuda", "cuda:0" (and so on) or "mps".

    Returns
    -------
    torch.device
        With an index where there can be several.

    Raises
    ------
    DeviceError
        When there is no such device, or this build of torch cannot use it.
    """
    import torch

    names = available_devices()
    chosen = names[0] if name == "auto" else name
    if chosen not in names:
        raise DeviceError(
            f"no device {name!r} here: available are auto, {', '.join(names)}; choose one of "
            "these, or install a build of torch for your graphics card"
        )
    if chosen == "cuda":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device(chosen)


def free_memory(device: torch.device) -> int:
    """Bytes that can be had on the device now; a guess of 2 GiB where nobody tells."""
    import torch

    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + cached
    try:
        return _available_on_linux()
    except (OSError, ValueError, StopIteration):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    except (AttributeError, OSError, ValueError):
        return _FALLBACK_MEMORY


def _available_on_linux() -> int:
    with Path("/proc/meminfo").open(encoding="ascii") as lines:
        line = next(line for line in lines if line.startswith("MemAvailable:"))
    return int(line.split()[1]) * 1024
