"""Simulated camera shake on a layer, as a task and as a function for scripts.

Neither Qt nor, before the work begins, torch here.
"""

from __future__ import annotations

import time
from dataclasses import KW_ONLY, dataclass

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray

from napari_deblur.plugin.kernel_layers import kernel_layer
from napari_deblur.plugin.metadata import KEY, derived_attributes
from napari_deblur.plugin.provenance import Record, describe
from napari_deblur.plugin.requests import LayerRequest, layer_function
from napari_deblur.plugin.scratch import room_for
from napari_deblur.plugin.slices import Index, LayerView
from napari_deblur.plugin.tasks import Opened, Step, Task, Written, where

__all__ = ["ShakeRequest", "shake_layer", "shake_task", "shaken_name", "true_kernel_name"]


@dataclass(frozen=True, eq=False)
class ShakeRequest(LayerRequest):
    """Parameters of `shake_layer`."""

    _: KW_ONLY
    size: int = 31
    seed: int = 0
    noise: float = 0.01
    gain: float = 1.0


def shaken_name(layer: Image) -> str:
    """Name of the layer that holds a layer's shaken image."""
    return f"{layer.name} shaken"


def true_kernel_name(layer: Image) -> str:
    """Name of the layer that holds the kernel that a layer was shaken with."""
    return f"true kernel of {shaken_name(layer)}"


@layer_function(ShakeRequest)
def shake_layer(request: ShakeRequest) -> Task:
    """Blur a sharp layer as a shaken camera does, with a kernel that is then known.

    Each plane of a stack is shaken with a kernel of its own.

    Parameters
    ----------
    layer : Image
        A sharp image layer.
    size : int
        Side in pixels that the kernel's support fills.
    seed : int
        The same seed gives the same kernels and the same noise.
    noise : float
        Standard deviation of the noise, as a fraction of the image's working range.
    gain : float
        Factor of at least 1 by which the image is brightened before it is clipped.
    level, channel_axis
        See `napari_deblur.plugin.requests`.

    Returns
    -------
    list of layer data tuples
        The shaken layer, of the source's shape (that of the level) and dtype, and its true kernels.

    Raises
    ------
    DeblurError
        When the layer or a parameter cannot be used.
    """
    return shake_task(request)


def shake_task(request: ShakeRequest) -> Task:
    """Prepare the work: the layer is checked now, pixels are read later."""
    return _shake(request, request.view())


def _shake(request: ShakeRequest, view: LayerView) -> Task:
    from napari_deblur.engine.simulate import shake

    began = time.perf_counter()
    out = room_for(view.shape, view.dtype)
    attributes = derived_attributes(request.layer, view, name=shaken_name(request.layer))
    indices = list(view.indices())
    if len(indices) > 1:
        yield Opened((out, attributes, "image"))
    kernels: dict[Index, NDArray[np.float32]] = {}
    for number, index in enumerate(indices):
        yield Step(number / len(indices), "Shaking" + where(number, len(indices)))
        blurry, kernels[index] = shake(
            view.plane(index),
            size=request.size,
            seed=request.seed + number,
            noise=request.noise,
            gain=request.gain,
            channel_axis=view.engine_channel_axis,
        )
        view.part(out, index)[...] = blurry
        if len(indices) > 1:
            yield Written(out)
    shaken = Record(
        kind="shaken",
        function="shake_layer",
        source=describe(request.layer, view),
        parameters=request.parameters(),
        device="cpu",
        seconds=time.perf_counter() - began,
    )
    about = shaken.as_dict() | {"truth": str(request.layer.name)}
    truth = shaken.of_kind("true kernel").as_dict()
    name = true_kernel_name(request.layer)
    return [
        (out, attributes | {"metadata": {KEY: about}}, "image"),
        kernel_layer(request.layer, view, kernels, name=name, about=truth),
    ]
