"""Deblurring a layer, as a task and as a function for scripts.

Neither Qt nor, before the work begins, torch here.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from napari.layers import Image
from napari.types import LayerDataTuple
from numpy.typing import NDArray

from napari_deblur.defaults import DEFAULT_ROUNDS
from napari_deblur.errors import KernelError
from napari_deblur.plugin.estimate_task import kernel_name
from napari_deblur.plugin.kernel_layers import KernelSource, kernel_layer
from napari_deblur.plugin.metadata import KEY, derived_attributes
from napari_deblur.plugin.provenance import LAYER, Record, describe
from napari_deblur.plugin.regions import Region
from napari_deblur.plugin.slices import Index, LayerView, PlaneSource, view_layer
from napari_deblur.plugin.tasks import (
    Event,
    Opened,
    Task,
    Written,
    finish,
    follow,
    where,
)

__all__ = ["DeblurRequest", "Kernel", "deblur_layer", "deblur_task", "deblurred_name"]

Kernel: TypeAlias = Image | NDArray[Any] | Literal["each", "pooled"]
"""A kernel layer, a kernel, or how to estimate: for each plane, or one for all planes."""

_MARGIN = 64  # pixels around a preview that are deblurred with it, so that it has no borders


@dataclass(frozen=True, eq=False)
class DeblurRequest:
    """Arguments of `deblur_layer`, and the part of the shown plane for a preview."""

    layer: Image
    kernel: Kernel = "each"
    model: str = "default"
    noise: float | None = None
    device: str = "auto"
    tile: int | None = None
    refine: int = DEFAULT_ROUNDS
    level: int = 0
    channel_axis: int | None = None
    index: Index | None = None
    preview: Region | None = None

    def parameters(self) -> dict[str, Any]:
        """Return what a script would pass, layers by their names."""
        return {
            "kernel": _kernel_text(self.kernel),
            "model": self.model,
            "noise": self.noise,
            "device": self.device,
            "tile": self.tile,
            "refine": self.refine,
            "level": self.level,
            "channel_axis": self.channel_axis,
            "index": self.index,
        }


def deblurred_name(layer: Image, *, preview: bool = False) -> str:
    """Name of the layer that holds a layer's deblurred image."""
    return f"{layer.name} deblurred" + (" (preview)" if preview else "")


def deblur_layer(
    layer: Image,
    kernel: Kernel = "each",
    *,
    model: str = "default",
    noise: float | None = None,
    device: str = "auto",
    tile: int | None = None,
    refine: int = DEFAULT_ROUNDS,
    level: int = 0,
    channel_axis: int | None = None,
    index: Index | None = None,
) -> list[LayerDataTuple]:
    """Deblur an image layer.

    Parameters
    ----------
    layer : Image
        Any image layer; see `napari_deblur.plugin.slices` for how it is cut into planes.
    kernel : Image layer, array of shape (m, m), "each" or "pooled"
        The blur kernel: a layer with one for all planes or one for each; an array; or estimated
        now, for each plane of its own or one for all planes together.
    model : str
        Name of a model, or a folder that holds one.
    noise : float, optional
        Standard deviation of the noise in the image's own units; None to measure it.  Larger
        values give smoother results.
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
        The deblurred layer, of the source's shape (that of the level) and dtype; and the kernel
        layer where kernels were estimated.

    Raises
    ------
    DeblurError
        When the layer, the kernel, the model or a parameter cannot be used.
    """
    request = DeblurRequest(
        layer, kernel, model, noise, device, tile, refine, level, channel_axis, index
    )
    return finish(deblur_task(request))


def deblur_task(request: DeblurRequest) -> Task:
    """Prepare the work: the layer and the kernel are checked now, pixels are read later."""
    view = view_layer(request.layer, level=request.level, channel_axis=request.channel_axis)
    kernels = None
    if not isinstance(request.kernel, str):
        kernels = KernelSource(request.kernel, view)
    elif request.kernel not in ("each", "pooled"):
        raise KernelError(
            f"kernel {request.kernel!r} is unknown: give 'each', 'pooled', a layer or an array"
        )
    if request.preview is not None:
        return _preview(request, view, kernels, request.preview)
    return _deblur(request, view, kernels)


def _deblur(request: DeblurRequest, view: LayerView, kernels: KernelSource | None) -> Task:
    began = time.perf_counter()
    out = np.zeros(view.shape, dtype=view.dtype)
    attributes = derived_attributes(request.layer, view, name=deblurred_name(request.layer))
    indices = list(view.indices(request.index))
    if len(indices) > 1:
        yield Opened((out, attributes, "image"))
    start, pooled = 0.0, None
    if request.kernel == "pooled":
        start = 0.3
        pooled = yield from _pool(request, view, indices, start)
    found: dict[Index, NDArray[np.float32]] = {}
    share = (1 - start) / len(indices)
    for number, index in enumerate(indices):
        result = yield from _deblur_plane(
            request,
            view.plane(index),
            view,
            kernel=pooled if kernels is None else kernels.at(index),
            out=view.part(out, index),
            start=start + number * share,
            share=share,
            text=where(number, len(indices)),
        )
        found[index] = result.kernel
        if len(indices) > 1:
            yield Written(out)
    about = _record(request, view, result, began)
    layers = [(out, attributes | {"metadata": {KEY: about}}, "image")]
    if kernels is None:
        layers.append(_kernel_of(request, view, found if pooled is None else pooled, about))
    return layers


def _preview(
    request: DeblurRequest, view: LayerView, kernels: KernelSource | None, region: Region
) -> Task:
    """Deblur a part of one plane, and show it in its place."""
    began = time.perf_counter()
    index = next(view.indices(request.index))
    rows, columns = (
        slice(max(0, part.start - _MARGIN), min(side, part.stop + _MARGIN))
        for part, side in zip(region.window, view.size, strict=True)
    )
    result = yield from _deblur_plane(
        request,
        view.plane(index, (rows, columns)),
        view,
        kernel=None if kernels is None else kernels.at(index),
    )
    inner = [
        slice(part.start - wide.start, part.stop - wide.start)
        for part, wide in zip(region.window, (rows, columns), strict=True)
    ]
    if view.plane_channel_axis is not None:
        inner.insert(view.plane_channel_axis, slice(None))
    shape, offset = list(view.shape), np.zeros(view.ndim)
    for axis, position in zip(view.stack_axes, index, strict=True):
        shape[axis], offset[axis] = 1, position
    for axis, part in zip(view.spatial, region.window, strict=True):
        shape[axis], offset[axis] = part.stop - part.start, part.start
    out = np.empty(shape, dtype=view.dtype)
    view.part(out, (0,) * len(index))[...] = result.image[tuple(inner)]
    name = deblurred_name(request.layer, preview=True)
    attributes = derived_attributes(request.layer, view, name=name, offset=offset)
    about = _record(request, view, result, began)
    about["preview"] = [[part.start, part.stop] for part in region.window]
    return [(out, attributes | {"metadata": {KEY: about}}, "image")]


def _deblur_plane(
    request: DeblurRequest,
    plane: NDArray[Any],
    view: LayerView,
    *,
    kernel: NDArray[Any] | None,
    out: NDArray[Any] | None = None,
    start: float = 0.0,
    share: float = 1.0,
    text: str = "",
) -> Generator[Event, None, Any]:
    from napari_deblur.engine.run import deblur_steps

    steps = deblur_steps(
        plane,
        kernel,
        model=request.model,
        channel_axis=view.engine_channel_axis,
        device=request.device,
        tile=request.tile,
        refine=request.refine,
        noise=request.noise,
        out=out,
    )
    stages = ("load", "kernel", "refine", "deblur") if kernel is None else ("load", "deblur")
    return (yield from follow(steps, stages=stages, start=start, share=share, where=text))


def _pool(
    request: DeblurRequest, view: LayerView, indices: list[Index], share: float
) -> Generator[Event, None, NDArray[np.float32]]:
    from napari_deblur.engine.run import kernel_steps

    steps = kernel_steps(
        *(PlaneSource(view, index) for index in indices),
        model=request.model,
        channel_axis=view.engine_channel_axis,
        device=request.device,
        tile=request.tile,
        refine=request.refine,
    )
    result = yield from follow(steps, stages=("load", "kernel", "refine"), share=share)
    kernel: NDArray[np.float32] = result.kernel
    return kernel


def _kernel_of(
    request: DeblurRequest,
    view: LayerView,
    found: dict[Index, NDArray[np.float32]] | NDArray[np.float32],
    about: dict[str, Any],
) -> LayerDataTuple:
    """Kernel layer of the kernels that were estimated on the way."""
    parameters = {key: value for key, value in about["parameters"].items() if key not in _OWN}
    parameters["planes"] = request.kernel
    known = {
        key: about[key] for key in ("source", "model", "sha256", "device", "seconds", "version")
    }
    record = Record(kind="kernel", parameters=parameters, **known).as_dict()
    return kernel_layer(request.layer, view, found, name=kernel_name(request.layer), about=record)


_OWN = ("kernel", "noise")  # parameters of deblurring that estimation does not have


def _record(request: DeblurRequest, view: LayerView, result: Any, began: float) -> dict[str, Any]:
    return Record(
        kind="deblurred",
        source=describe(request.layer, view),
        parameters=request.parameters(),
        model=result.model,
        sha256=dict(result.settings["weights"]),
        device=str(result.device),
        seconds=time.perf_counter() - began,
    ).as_dict()


def _kernel_text(kernel: Kernel) -> Any:
    if isinstance(kernel, str):
        return kernel
    if isinstance(kernel, np.ndarray):
        return np.asarray(kernel, dtype=float).tolist()
    return {LAYER: str(kernel.name)}
