"""Blind deblurring with an analysis-synthesis pair of networks.

A blurry photograph goes in; its blur kernel and a sharp image come out
(A. Kaufman and R. Fattal, "Deblurring using Analysis-Synthesis Networks Pair",
CVPR 2020).

Importing this package costs nothing: neither torch nor napari is loaded before
one of its functions is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_deblur.engine.api import correct_kernel, deblur, estimate_kernel
    from napari_deblur.engine.lazy import deblur_lazy

    __version__: str

__all__ = ["__version__", "correct_kernel", "deblur", "deblur_lazy", "estimate_kernel"]

_HOMES = {
    "correct_kernel": "napari_deblur.engine.api",
    "deblur": "napari_deblur.engine.api",
    "deblur_lazy": "napari_deblur.engine.lazy",
    "estimate_kernel": "napari_deblur.engine.api",
}


def __getattr__(name: str) -> object:
    """Import a public name from its home when it is first asked for (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        value: object = version("napari-deblur")
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
