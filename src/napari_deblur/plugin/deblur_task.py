"""Deblurring a layer, as a task and as a function for scripts.

Neither Qt nor, before the work begins, torch here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from napari.layers import Image
from napari.types import LayerDataTuple
from numpy.typing import NDArray

from napari_deblur.engine.survey import extremes, working_range
from napari_deblur.errors import InputError, KernelError
from napari_deblur.plugin.estimate_task import kernel_name, pool
from napari_deblur.plugin.kernel_layers import KernelSource, kernel_layer
from napari_deblur.plugin.map_task import map_layer
from napari_deblur.plugin.metadata import KEY, derived_attributes
from napari_deblur.plugin.plane_source import PlaneSource
from napari_deblur.plugin.provenance import Record, describe
from napari_deblur.plugin.quality import judge
from napari_deblur.plugin.regions import Region
from napari_deblur.plugin.requests import EngineRequest, layer_function
from napari_deblur.plugin.scratch import room_for
from napari_deblur.plugin.slices import Index, LayerView
from napari_deblur.plugin.tasks import Event, Opened, Step, Task, Written, follow, where

__all__ = ["DeblurRequest", "Kernel", "deblur_layer", "deblur_task", "deblurred_name"]

Kernel: TypeAlias = Image | NDArray[Any] | Literal["each", "pooled"]
"""A kernel layer, a kernel, or how to estimate: for each plane, or one for all planes."""

Field: TypeAlias = Literal["uniform", "grid"]
"""Whether one kernel blurred the whole image, or kernels that vary over it."""

_MARGIN = 64  # pixels around a preview that are deblurred with it, so that it has no borders


@dataclass(frozen=True, eq=False)
class DeblurRequest(EngineRequest):
    """Parameters of `deblur_layer`."""

    kernel: Kernel = "each"
    _: KW_ONLY
    noise: float | None = None
    field: Field = "uniform"
    grid: tuple[int, int] | None = None
    truth: Image | None = None
    preview: Region | None = None


def deblurred_name(layer: Image, *, preview: bool = False) -> str:
    """Name of the layer that holds a layer's deblurred image."""
    return f"{layer.name} deblurred" + (" (preview)" if preview else "")


@layer_function(DeblurRequest)
def deblur_layer(request: DeblurRequest) -> Task:
    """Deblur an image layer.

    Parameters
    ----------
    layer : Image
        Any image layer; see `napari_deblur.plugin.slices` for how it is cut into planes.
    kernel : Image layer, array of shape (m, m), "each" or "pooled"
        The blur kernel: a layer with one for all planes or one for each, or a kernel map for a
        single plane; an array; or estimated now, for each plane of its own or one for all planes
        together.
    noise : float, optional
        Standard deviation of the noise in the image's own units; None to measure it.  Larger
        values give smoother results.
    field : {"uniform", "grid"}
        Whether one kernel blurred the whole image, or kernels that vary over it.
    grid : tuple of int, optional
        Rows and columns of the cells that have a kernel each, for "grid"; None to let the engine
        choose.
    truth : Image layer, optional
        A sharp layer of the same shape, with which the plane at `index` is compared before and
        after: ``metadata["napari-deblur"]["quality"]`` of the result holds PSNR and SSIM.
    preview : Region, optional
        The only part of the one plane at `index` that is to be deblurred; it is compared with
        nothing.
    model, device, tile, kernel_size, refine, gamma, saturation, level, channel_axis, index
        See `napari_deblur.plugin.requests`.

    Returns
    -------
    list of layer data tuples
        The deblurred layer, of the source's shape (that of the level) and dtype; and the kernel
        layer where kernels were estimated.

    Raises
    ------
    DeblurError
        When the layer, the kernel, the model or a parameter cannot be used.
    """
    return deblur_task(request)


def deblur_task(request: DeblurRequest) -> Task:
    """Prepare the work: the layer and the kernel are checked now, pixels are read later."""
    view = request.view()
    kernels = None
    if not isinstance(request.kernel, str):
        kernels = KernelSource(request.kernel, view)
    elif request.kernel not in ("each", "pooled"):
        raise KernelError(
            f"kernel {request.kernel!r} is unknown: give 'each', 'pooled', a layer or an array"
        )
    if request.field == "grid" and request.kernel != "each":
        raise InputError(
            "kernels that vary over the image are estimated for each plane: give kernel 'each', or "
            "field 'uniform'"
        )
    if request.truth is not None and _finest(request.truth).shape != view.shape:
        raise InputError(
            f"{request.truth.name!r} has the shape {_finest(request.truth).shape}, and the image "
            f"{view.shape}: choose a truth of the image's shape, or none"
        )
    if request.preview is not None:
        return _preview(request, view, kernels, request.preview)
    return _deblur(request, view, kernels)


def _deblur(request: DeblurRequest, view: LayerView, kernels: KernelSource | None) -> Task:
    began = time.perf_counter()
    out = room_for(view.shape, view.dtype)
    attributes = derived_attributes(request.layer, view, name=deblurred_name(request.layer))
    indices = list(view.indices(request.index))
    if len(indices) > 1:
        yield Opened((out, attributes, "image"))
    value_range = yield from _shared_range(view)
    start, pooled = 0.0, None
    if request.kernel == "pooled":
        start = 0.3
        pooled = yield from pool(request, view, share=start)
    told = None if pooled is None else pooled.kernel
    found: dict[Index, NDArray[np.float32]] = {}
    fields: list[NDArray[np.float32]] = []
    noise: list[float] = []
    share = (1 - start) / len(indices)
    for number, index in enumerate(indices):
        result = yield from _deblur_plane(
            request,
            view.plane(index),
            view,
            kernel=told if kernels is None else kernels.at(index),
            out=view.part(out, index),
            value_range=value_range,
            start=start + number * share,
            share=share,
            text=where(number, len(indices)),
        )
        found[index] = result.kernel
        if result.field is not None:
            fields.append(result.field.kernels)
        noise.append(result.settings["noise"])
        if len(indices) > 1:
            yield Written(out)
    record = _record(request, view, result, began, noise=float(np.mean(noise)))
    if pooled is not None:
        record = record.with_networks_of(pooled)
    about = record.as_dict()
    if request.truth is not None:
        yield Step(1, "Comparing with the truth")
        quality = judge(view, out, _finest(request.truth), index=indices[0])
        about["quality"] = quality.as_dict()
    layers = [(out, attributes | {"metadata": {KEY: about}}, "image")]
    if kernels is None and fields:
        if len(indices) == 1:  # grids of several planes may differ
            layers.append(map_layer(request.layer, view, fields[0], record.of_kind("kernel map")))
    elif kernels is None:
        about = record.of_kind("kernel").as_dict()
        name = kernel_name(request.layer)
        made = found if told is None else told
        layers.append(kernel_layer(request.layer, view, made, name=name, about=about))
    return layers


def _finest(truth: Image) -> Any:
    """Array of a layer, of a multiscale one that with the most pixels."""
    return truth.data[0] if truth.multiscale else truth.data


def _preview(
    request: DeblurRequest, view: LayerView, kernels: KernelSource | None, region: Region
) -> Task:
    """Deblur a part of one plane, and show it in its place; one kernel does for so small a part."""
    began = time.perf_counter()
    request = replace(request, field="uniform", grid=None)
    index = next(view.indices(request.index))
    rows, columns = (
        slice(max(0, part.start - _MARGIN), min(side, part.stop + _MARGIN))
        for part, side in zip(region.window, view.size, strict=True)
    )
    result = yield from _deblur_plane(
        request,
        view.plane(index, (rows, columns)),
        view,
        kernel=None if kernels is None else kernels.near(index, _centre(region, view)),
    )
    record = _record(
        request,
        view,
        result,
        began,
        noise=result.settings["noise"],
        preview=[[part.start, part.stop] for part in region.window],
    )
    inner = [
        slice(part.start - wide.start, part.stop - wide.start)
        for part, wide in zip(region.window, (rows, columns), strict=True)
    ]
    if view.plane_channel_axis is not None:
        inner.insert(view.plane_channel_axis, slice(None))
    return [_piece(request, view, index, region, result.image[tuple(inner)], record)]


def _centre(region: Region, view: LayerView) -> tuple[float, float]:
    """Row and column of a region's middle, from 0 to 1."""
    row, column = (
        (part.start + part.stop) / 2 / side
        for part, side in zip(region.window, view.size, strict=True)
    )
    return row, column


def _piece(
    request: DeblurRequest,
    view: LayerView,
    index: Index,
    region: Region,
    image: NDArray[Any],
    record: Record,
) -> LayerDataTuple:
    """Layer data tuple of a part of one plane, where it was cut out."""
    shape, offset = list(view.shape), np.zeros(view.ndim)
    for axis, position in zip(view.stack_axes, index, strict=True):
        shape[axis], offset[axis] = 1, position
    for axis, part in zip(view.spatial, region.window, strict=True):
        shape[axis], offset[axis] = part.stop - part.start, part.start
    out = np.empty(shape, dtype=view.dtype)
    view.part(out, (0,) * len(index))[...] = image
    name = deblurred_name(request.layer, preview=True)
    attributes = derived_attributes(request.layer, view, name=name, offset=offset)
    return out, attributes | {"metadata": {KEY: record.as_dict()}}, "image"


def _shared_range(view: LayerView) -> Generator[Event, None, tuple[float, float] | None]:
    """Black and white that all planes of a stack share, which keeps their relative brightness."""
    if view.count == 1:
        return None
    least, most = math.inf, -math.inf
    for number, index in enumerate(view.indices()):
        yield Step(0, "Looking for the range of values" + where(number, view.count))
        with view.naming(index):
            low, high = extremes(PlaneSource(view, index), channel_axis=view.engine_channel_axis)
        least, most = min(least, low), max(most, high)
    return working_range(view.dtype, least, most)


def _deblur_plane(
    request: DeblurRequest,
    plane: NDArray[Any],
    view: LayerView,
    *,
    kernel: NDArray[Any] | None,
    out: NDArray[Any] | None = None,
    value_range: tuple[float, float] | None = None,
    start: float = 0.0,
    share: float = 1.0,
    text: str = "",
) -> Generator[Event, None, Any]:
    from napari_deblur.engine.run import deblur_steps

    steps = deblur_steps(
        plane,
        kernel,
        noise=request.noise,
        field=request.field,
        grid=request.grid,
        value_range=value_range,
        out=out,
        **request.for_engine(view),
    )
    stages = ("load", "kernel", "refine", "deblur") if kernel is None else ("load", "deblur")
    rounds = 1 if request.field == "uniform" else 2
    return (
        yield from follow(steps, stages=stages, start=start, share=share, where=text, rounds=rounds)
    )


def _record(
    request: DeblurRequest, view: LayerView, result: Any, began: float, **found: Any
) -> Record:
    return Record.of(
        request,
        describe(request.layer, view),
        result,
        kind="deblurred",
        function="deblur_layer",
        seconds=time.perf_counter() - began,
        found=found,
    )
