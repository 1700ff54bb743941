"""The napari plugin: widgets, sample data, and the functions behind them for scripts.

The functions take layers and return layer data tuples; they need neither Qt nor a viewer.  The
widgets are in the modules that end in ``_dock``.  Nothing is imported before it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_deblur.plugin.deblur_dock import deblur_widget
    from napari_deblur.plugin.deblur_task import deblur_layer
    from napari_deblur.plugin.estimate_dock import estimate_widget
    from napari_deblur.plugin.estimate_task import estimate_kernel_of_layer
    from napari_deblur.plugin.map_dock import map_widget
    from napari_deblur.plugin.map_task import map_kernels_of_layer
    from napari_deblur.plugin.shake_dock import shake_widget
    from napari_deblur.plugin.shake_task import shake_layer
    from napari_deblur.plugin.train_dock import train_widget
    from napari_deblur.plugin.train_task import train_on_layers

__all__ = [
    "deblur_layer",
    "deblur_widget",
    "estimate_kernel_of_layer",
    "estimate_widget",
    "map_kernels_of_layer",
    "map_widget",
    "shake_layer",
    "shake_widget",
    "train_on_layers",
    "train_widget",
]

_HOMES = {
    "deblur_layer": "deblur_task",
    "deblur_widget": "deblur_dock",
    "estimate_kernel_of_layer": "estimate_task",
    "estimate_widget": "estimate_dock",
    "map_kernels_of_layer": "map_task",
    "map_widget": "map_dock",
    "shake_layer": "shake_task",
    "shake_widget": "shake_dock",
    "train_on_layers": "train_task",
    "train_widget": "train_dock",
}


def __getattr__(name: str) -> object:
    """Import a public name from its home when it is first asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
