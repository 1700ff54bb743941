"""Estimating a layer's kernels, as a task and as a function for scripts.

Neither Qt nor, before the work begins, torch here.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from napari.layers import Image, Labels, Shapes
from napari.types import LayerDataTuple
from numpy.typing import NDArray

from napari_deblur.defaults import DEFAULT_ROUNDS
from napari_deblur.plugin.kernel_layers import kernel_layer
from napari_deblur.plugin.provenance import LAYER, Record, describe
from napari_deblur.plugin.regions import Region, region_of
from napari_deblur.plugin.slices import Index, LayerView, PlaneSource, view_layer
from napari_deblur.plugin.tasks import Task, finish, follow, where

__all__ = ["EstimateRequest", "Planes", "estimate_kernel_of_layer", "estimate_task", "kernel_name"]

Planes = Literal["each", "pooled", "shown"]
"""Kernels of a stack: one for each plane, one for all together, or that of the shown plane."""


@dataclass(frozen=True, eq=False)
class EstimateRequest:
    """Arguments of `estimate_kernel_of_layer`."""

    layer: Image
    region: Shapes | Labels | Region | None = None
    planes: Planes = "each"
    model: str = "default"
    device: str = "auto"
    tile: int | None = None
    refine: int = DEFAULT_ROUNDS
    level: int = 0
    channel_axis: int | None = None
    index: Index | None = None

    def parameters(self) -> dict[str, Any]:
        """Return what a script would pass, layers by their names."""
        region = self.region
        if isinstance(region, Region):
            # A mask is too long to be written down; its bounds are.
            kept: Any = [[part.start, part.stop] for part in region.window]
        else:
            kept = None if region is None else {LAYER: str(region.name)}
        return {
            "region": kept,
            "planes": self.planes,
            "model": self.model,
            "device": self.device,
            "tile": self.tile,
            "refine": self.refine,
            "level": self.level,
            "channel_axis": self.channel_axis,
            "index": self.index,
        }


def kernel_name(layer: Image) -> str:
    """Name of the layer that holds a layer's kernels."""
    return f"kernel of {layer.name}"


def estimate_kernel_of_layer(
    layer: Image,
    *,
    region: Shapes | Labels | Region | None = None,
    planes: Planes = "each",
    model: str = "default",
    device: str = "auto",
    tile: int | None = None,
    refine: int = DEFAULT_ROUNDS,
    level: int = 0,
    channel_axis: int | None = None,
    index: Index | None = None,
) -> list[LayerDataTuple]:
    """Estimate the blur kernels of an image layer.

    Parameters
    ----------
    layer : Image
        Any image layer; see `napari_deblur.plugin.slices` for how it is cut into planes.
    region : Shapes layer, Labels layer or Region, optional
        The part of each plane that counts; None for all of it.
    planes : {"each", "pooled", "shown"}
        For stacks: one kernel for each plane; one for all planes, whose statistics are pooled; or
        only that of the plane at `index`, taken for all.
    model : str
        Name of a model, or a folder that holds one.
    device : str
        "auto", "cpu", "cuda", "cuda:0" or "mps".
    tile : int, optional
        Side of a tile in pixels; None to let the engine choose.
    refine : int
        Rounds in which an estimated kernel is improved on the image itself; 0 for none.
    level : int
        Level of a multiscale layer; 0 is the finest.
    channel_axis : int, optional
        Axis of the layer that holds channels of one exposure, where no label says so.
    index : tuple of int, optional
        The plane to begin with, one number per stack axis; the first one by default.

    Returns
    -------
    list of layer data tuples
        The kernel layer: ``(data, attributes, "image")``; data (m, m) or with the layer's axes,
        float32, each kernel of sum 1.

    Raises
    ------
    DeblurError
        When the layer, the model or a parameter cannot be used; the message says what to do.
    """
    request = EstimateRequest(
        layer, region, planes, model, device, tile, refine, level, channel_axis, index
    )
    return finish(estimate_task(request))


def estimate_task(request: EstimateRequest) -> Task:
    """Prepare the work: the layer and the region are checked now, pixels are read later."""
    view = view_layer(request.layer, level=request.level, channel_axis=request.channel_axis)
    region = request.region
    if region is not None and not isinstance(region, Region):
        region = region_of(region, request.layer, view)
    return _estimate(request, view, region)


def _estimate(request: EstimateRequest, view: LayerView, region: Region | None) -> Task:
    from napari_deblur.engine.run import kernel_steps

    began = time.perf_counter()
    options: dict[str, Any] = {
        "model": request.model,
        "device": request.device,
        "tile": request.tile,
        "refine": request.refine,
        "channel_axis": view.engine_channel_axis,
        "region": None if region is None else region.within(view.size),
    }
    stages = ("load", "kernel", "refine")
    indices = list(view.indices(request.index))
    kernels: dict[Index, NDArray[np.float32]] = {}
    if request.planes == "pooled":
        frames = [PlaneSource(view, index) for index in indices]
        result = yield from follow(kernel_steps(*frames, **options), stages=stages)
    else:
        chosen = indices[:1] if request.planes == "shown" else indices
        for number, index in enumerate(chosen):
            result = yield from follow(
                kernel_steps(view.plane(index), **options),
                stages=stages,
                start=number / len(chosen),
                share=1 / len(chosen),
                where=where(number, len(chosen)),
            )
            kernels[index] = result.kernel
    about = Record(
        kind="kernel",
        source=describe(request.layer, view),
        parameters=request.parameters(),
        model=result.model,
        sha256=dict(result.settings["weights"]),
        device=str(result.device),
        seconds=time.perf_counter() - began,
    ).as_dict()
    found = kernels if request.planes == "each" else result.kernel
    return [kernel_layer(request.layer, view, found, name=kernel_name(request.layer), about=about)]
