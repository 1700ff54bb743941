"""Estimating a layer's kernels, as a task and as a function for scripts.

Neither Qt nor, before the work begins, torch here.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

import numpy as np
from napari.layers import Image, Labels, Shapes
from numpy.typing import NDArray

from napari_deblur.plugin.kernel_layers import kernel_layer
from napari_deblur.plugin.plane_source import PlaneSource
from napari_deblur.plugin.provenance import Record, describe
from napari_deblur.plugin.regions import Region, check_marks, region_of
from napari_deblur.plugin.requests import EngineRequest, layer_function
from napari_deblur.plugin.slices import Index, LayerView
from napari_deblur.plugin.tasks import Event, Step, Task, follow, where

__all__ = [
    "EstimateRequest",
    "Planes",
    "estimate_kernel_of_layer",
    "estimate_task",
    "kernel_name",
    "pool",
]

Planes = Literal["each", "pooled", "shown"]
"""Kernels of a stack: one for each plane, one for all together, or that of the shown plane."""

_STAGES = ("load", "kernel", "refine")


@dataclass(frozen=True, eq=False)
class EstimateRequest(EngineRequest):
    """Parameters of `estimate_kernel_of_layer`."""

    _: KW_ONLY
    region: Shapes | Labels | Region | None = None
    planes: Planes = "each"


def kernel_name(layer: Image) -> str:
    """Name of the layer that holds a layer's kernels."""
    return f"kernel of {layer.name}"


@layer_function(EstimateRequest)
def estimate_kernel_of_layer(request: EstimateRequest) -> Task:
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
    model, device, tile, kernel_size, refine, gamma, saturation, level, channel_axis, index
        See `napari_deblur.plugin.requests`.

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
    return estimate_task(request)


def estimate_task(request: EstimateRequest) -> Task:
    """Prepare the work: the layer and the region are checked now, pixels are looked at later."""
    view = request.view()
    region = request.region
    if region is not None and not isinstance(region, Region):
        check_marks(region, request.layer, view)
    return _estimate(request, view)


def pool(
    request: EngineRequest, view: LayerView, region: Region | None = None, share: float = 1.0
) -> Generator[Event, None, Any]:
    """Estimate the one kernel that all planes share, in the order in which they are stacked."""
    from napari_deblur.engine.run import kernel_steps

    frames = [PlaneSource(view, index) for index in view.indices()]
    steps = kernel_steps(*frames, **_options(request, view, region))
    return (yield from follow(steps, stages=_STAGES, share=share))


def _estimate(request: EstimateRequest, view: LayerView) -> Task:
    began = time.perf_counter()
    region = request.region
    if region is not None and not isinstance(region, Region):
        yield Step(0, "Looking at what is marked")
        region = region_of(region, request.layer, view)
    kernels: dict[Index, NDArray[np.float32]] = {}
    shown = None
    if request.planes == "pooled":
        result = yield from pool(request, view, region)
    else:
        chosen = list(view.indices(request.index))
        if request.planes == "shown":
            shown, chosen = chosen[0], chosen[:1]
        result = yield from _estimate_each(request, view, region, chosen, kernels)
    record = Record.of(
        request,
        describe(request.layer, view, shown),
        result,
        kind="kernel",
        function="estimate_kernel_of_layer",
        seconds=time.perf_counter() - began,
        found={"region": None if region is None else region.as_dict()},
    )
    made = kernels if request.planes == "each" else result.kernel
    name = kernel_name(request.layer)
    return [kernel_layer(request.layer, view, made, name=name, about=record.as_dict())]


def _estimate_each(
    request: EstimateRequest,
    view: LayerView,
    region: Region | None,
    chosen: list[Index],
    kernels: dict[Index, NDArray[np.float32]],
) -> Generator[Event, None, Any]:
    """Put the kernels of the chosen planes into `kernels`, and return the last result."""
    from napari_deblur.engine.run import kernel_steps

    for number, index in enumerate(chosen):
        with view.naming(index):
            result = yield from follow(
                kernel_steps(view.plane(index), **_options(request, view, region)),
                stages=_STAGES,
                start=number / len(chosen),
                share=1 / len(chosen),
                where=where(number, len(chosen)),
            )
        kernels[index] = result.kernel
    return result


def _options(request: EngineRequest, view: LayerView, region: Region | None) -> dict[str, Any]:
    where_to_look = None if region is None else region.within(view.size)
    return request.for_engine(view) | {"region": where_to_look}
