"""The precision in which convolutions are fastest without being wrong."""

from __future__ import annotations

import torch

__all__ = ["convolution_dtype"]

_CPU_FEATURES = ("amx_bf16", "avx512_bf16")


def convolution_dtype(device: torch.device) -> torch.dtype:
    """Precision of convolutions: bfloat16 where the hardware multiplies in it, else float32.

    On a CPU that takes AMX or AVX512-BF16; emulated bfloat16 is slower than float32.  Correlations,
    Fourier transforms and kernels stay in float32 everywhere.
    """
    if device.type == "cuda":
        hardware = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if hardware else torch.float32
    if device.type == "cpu" and any(_cpu_capabilities().get(name) for name in _CPU_FEATURES):
        return torch.bfloat16
    return torch.float32


def _cpu_capabilities() -> dict[str, object]:
    # Not in every torch that this package runs on; without it float32 is the safe answer.
    capabilities = getattr(torch.cpu, "get_capabilities", None)
    return {} if capabilities is None else dict(capabilities())
