"""``napari-deblur info``: what a bug report should say."""

from __future__ import annotations

import os
import platform
from importlib import metadata

from napari_deblur.cli.messages import say

__all__ = ["info"]

_PACKAGES = ("torch", "numpy", "scikit-image", "tifffile", "safetensors", "pooch", "napari")
_FEATURES = ("avx2", "avx512_f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_tile", "sve")


def info() -> None:
    """Print versions, devices, the cache and what the processor can do."""
    from napari_deblur.engine.devices import available_devices, pick_device
    from napari_deblur.networks.precision import convolution_dtype
    from napari_deblur.weights.fetch import cache_folder

    device = pick_device("auto")
    lines = {
        "napari-deblur": _version("napari-deblur"),
        "Python": f"{platform.python_version()} on {platform.platform()}",
        **{name: _version(name) for name in _PACKAGES},
        "device": f"{device} (of {', '.join(available_devices())})",
        "convolutions in": str(convolution_dtype(device)).removeprefix("torch."),
        "processor": _processor(),
        "weights cache": str(cache_folder()),
        "weights URL": os.environ.get("NAPARI_DEBLUR_WEIGHTS_URL")
        or "not set (NAPARI_DEBLUR_WEIGHTS_URL)",
    }
    width = max(map(len, lines))
    say("\n".join(f"{name.ljust(width)}  {value}" for name, value in lines.items()))


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    import torch

    # Only newer versions of torch tell more than the name of the vector unit.
    tell = getattr(torch.cpu, "get_capabilities", None)
    capabilities: dict[str, object] = {} if tell is None else dict(tell())
    known = [name for name in _FEATURES if capabilities.get(name)]
    units = ", ".join(known) or torch.backends.cpu.get_cpu_capability()
    return f"{torch.get_num_threads()} threads of {os.cpu_count()} cores, {units}"
