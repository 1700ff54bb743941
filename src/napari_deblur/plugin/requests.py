"""What a widget's work is told: the parameters that several kinds of work share, said once.

A request is a dataclass; `layer_function` makes of it and of the work the function that scripts
call, with the request's fields as its parameters.

Neither Qt nor torch here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, fields
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
from napari.layers import Image, Layer
from napari.types import LayerDataTuple

from napari_deblur.defaults import DEFAULT_ROUNDS
from napari_deblur.plugin.commands import LAYER
from napari_deblur.plugin.regions import Region
from napari_deblur.plugin.slices import Index, LayerView, view_layer
from napari_deblur.plugin.tasks import Task, finish

__all__ = ["EngineRequest", "LayerRequest", "layer_function"]

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, eq=False)
class LayerRequest:
    """Which layer to work on, and how to cut it into planes.

    Parameters
    ----------
    layer : Image
        Any image layer; see `napari_deblur.plugin.slices` for how it is cut into planes.
    level : int
        Level of a multiscale layer; 0 is the finest.
    channel_axis : int, optional
        Axis of the layer that holds channels of one exposure, where no label says so.
    """

    layer: Image
    _: KW_ONLY
    level: int = 0
    channel_axis: int | None = None

    def view(self) -> LayerView:
        """Return the layer as planes.

        Raises
        ------
        InputError
            When it cannot be cut into planes.
        """
        return view_layer(self.layer, level=self.level, channel_axis=self.channel_axis)

    def parameters(self) -> dict[str, Any]:
        """Return what a script would pass besides the layer, as plain values fit for JSON."""
        return {
            each.name: _plain(getattr(self, each.name))
            for each in fields(self)
            if each.name != "layer"
        }


@dataclass(frozen=True, eq=False)
class EngineRequest(LayerRequest):
    """What the engine is told besides; see `napari_deblur.deblur`.

    Parameters
    ----------
    model : str
        Name of a model, or a folder that holds one.
    device : str
        "auto", "cpu", "cuda", "cuda:0" or "mps".
    tile : int, optional
        Side of a tile in pixels; None to let the engine choose.
    kernel_size : int, optional
        Side of the kernel that is estimated, odd; None to let the engine choose.
    refine : int
        Rounds in which an estimated kernel is improved on the image itself; 0 for none.
    gamma : float
        Exponent that makes values proportional to light: 1 for those that are, 2.2 for photographs.
    saturation : float, optional
        Value from which pixels count as clipped; None to find it, inf to treat none so.
    index : tuple of int, optional
        The plane to begin with, one number per stack axis; the first one by default.
    """

    _: KW_ONLY
    model: str = "default"
    device: str = "auto"
    tile: int | None = None
    kernel_size: int | None = None
    refine: int = DEFAULT_ROUNDS
    gamma: float = 1.0
    saturation: float | None = None
    index: Index | None = None

    def for_engine(self, view: LayerView) -> dict[str, Any]:
        """Return what every generator of the engine takes."""
        return {
            "model": self.model,
            "device": self.device,
            "tile": self.tile,
            "kernel_size": self.kernel_size,
            "refine": self.refine,
            "gamma": self.gamma,
            "saturation": self.saturation,
            "channel_axis": view.engine_channel_axis,
        }


def layer_function(
    request: Callable[P, R],
) -> Callable[[Callable[[R], Task]], Callable[P, list[LayerDataTuple]]]:
    """Make of a function that prepares work one that does it, with the request's own parameters."""

    def decorate(prepare: Callable[[R], Task]) -> Callable[P, list[LayerDataTuple]]:
        @wraps(prepare)
        def call(*args: P.args, **kwargs: P.kwargs) -> list[LayerDataTuple]:
            return finish(prepare(request(*args, **kwargs)))

        signature = inspect.signature(request)
        vars(call)["__signature__"] = signature.replace(return_annotation=list[LayerDataTuple])
        return call

    return decorate


def _plain(value: Any) -> Any:
    if isinstance(value, Layer):
        return {LAYER: str(value.name)}
    if isinstance(value, Region):
        return value.as_dict()
    if isinstance(value, np.ndarray):
        return np.asarray(value, dtype=float).tolist()
    return list(value) if isinstance(value, tuple) else value
