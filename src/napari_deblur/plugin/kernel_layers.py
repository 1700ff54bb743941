"""Kernels as layers: made for planes, and found again for them.

Neither Qt nor torch here.
"""

from __future__ import annotations

from typing import Any, TypeGuard

import numpy as np
from napari.layers import Image
from napari.types import LayerDataTuple
from numpy.typing import NDArray

from napari_deblur.defaults import LARGEST_KERNEL
from napari_deblur.errors import InputError, KernelError
from napari_deblur.plugin.metadata import KEY, kernel_attributes, spread
from napari_deblur.plugin.slices import Index, LayerView, view_layer

__all__ = [
    "KernelSource",
    "doubt_about",
    "is_kernel",
    "is_made_of_kernels",
    "is_map",
    "kernel_layer",
    "looks_like_kernel",
    "side_text",
]


def kernel_layer(
    layer: Image,
    view: LayerView,
    kernels: dict[Index, NDArray[np.float32]] | NDArray[np.float32],
    *,
    name: str,
    about: dict[str, Any],
) -> LayerDataTuple:
    """Layer data tuple of a layer's kernels.

    Parameters
    ----------
    layer, view
        The blurry image's layer, and its level and axes.
    kernels : dict or ndarray
        (m, m) for each plane, or one (m, m) for all.
    name : str
        Name of the kernel layer.
    about : dict
        What goes into its metadata; size and support are added.
    """
    from napari_deblur.blur.kernel import kernel_support

    single = next(iter(kernels.values())) if isinstance(kernels, dict) else kernels
    supports = [kernel_support(kernel) for kernel in _each(kernels)]
    if isinstance(kernels, dict) and view.stack_axes:
        data = _stacked(view, kernels)
    else:
        data = spread(view, single)
    attributes = kernel_attributes(layer, view, data, name=name)
    attributes["metadata"] = {
        KEY: about
        | {"size": max(each.shape[-1] for each in _each(kernels)), "support": max(supports)}
    }
    return data, attributes, "image"


def doubt_about(record: dict[str, Any]) -> str:
    """Return what is to be said against the kernels of a record; empty for nothing."""
    support, size = record.get("support", 0), record.get("size", 0)
    if support <= 1:
        return "The kernel is a single pixel: no blur was found."
    if support >= size:
        return "The blur may be larger than the kernel, which fills its square: give a larger size."
    return ""


def side_text(side: int) -> str:
    """Return a square's size as people write it, such that no line breaks inside."""
    return f"{side}\N{NO-BREAK SPACE}\N{MULTIPLICATION SIGN}\N{NO-BREAK SPACE}{side}"


class KernelSource:
    """Gives each plane its kernel, out of a kernel layer or an array.

    Parameters
    ----------
    kernel : Image layer or array of shape (m, m)
        A layer holds one kernel for all planes or one for each.
    view : LayerView
        The image that the kernels are for.

    Raises
    ------
    KernelError
        When there is neither one kernel nor as many as planes.
    """

    def __init__(self, kernel: Image | NDArray[Any], view: LayerView) -> None:
        self._held: LayerView | None = None
        self._array: NDArray[Any] = np.empty((0, 0))
        if is_map(kernel):
            if view.count > 1:
                raise KernelError(
                    f"{kernel.name!r} is the map of one plane, and the image has {view.count}: "
                    "choose another kernel"
                )
            self._array = np.asarray(kernel.metadata[KEY]["kernels"])
        elif not isinstance(kernel, np.ndarray):  # a layer may be behind a proxy
            held = _view_kernels(kernel, view)
            if held.count > 1 and held.stack_shape != view.stack_shape:
                raise KernelError(
                    f"{kernel.name!r} holds {_shape_text(held.stack_shape)} kernels where the "
                    f"image has {_shape_text(view.stack_shape)} planes: choose a layer with one "
                    "kernel or with one for each plane"
                )
            self._held = held
        else:
            self._array = np.asarray(kernel)

    def at(self, index: Index) -> NDArray[Any]:
        """Return the kernel (m, m) of one plane, or a map's kernels (rows, columns, m, m)."""
        if self._held is None:
            return self._array
        held = self._held
        plane = held.plane(index if held.count > 1 else (0,) * len(held.stack_axes))
        axis = held.plane_channel_axis
        # All channels of a plane share one kernel.
        return plane if axis is None else np.take(plane, 0, axis=axis)

    def near(self, index: Index, place: tuple[float, float]) -> NDArray[Any]:
        """Return the kernel (m, m) at a place of one plane: row and column, from 0 to 1."""
        kernel = self.at(index)
        if kernel.ndim == 2:
            return kernel
        row, column = (
            min(int(part * count), count - 1)
            for part, count in zip(place, kernel.shape[:2], strict=True)
        )
        found: NDArray[Any] = kernel[row, column]
        return found

    @property
    def largest(self) -> int:
        """Longer side of the kernels in pixels."""
        return int(max(self._array.shape if self._held is None else self._held.size))


def is_kernel(layer: Any) -> bool:
    """Whether a layer holds kernels that this plugin made."""
    return _kind(layer) in ("kernel", "true kernel")


def is_made_of_kernels(layer: Any) -> bool:
    """Whether a layer shows kernels, as kernels or as a map, and so is no image to deblur."""
    return is_kernel(layer) or is_map(layer)


def is_map(layer: Any) -> TypeGuard[Image]:
    """Whether a layer is a map of kernels that this plugin made."""
    return _kind(layer) == "kernel map"


def looks_like_kernel(layer: Any) -> bool:
    """Whether a layer could serve as a kernel: made here, or square, odd and small."""
    if is_made_of_kernels(layer):
        return True
    if not isinstance(layer, Image) or layer.rgb or layer.multiscale or _kind(layer):
        return False
    try:
        height, width = view_layer(layer).size
    except InputError:
        return False
    return height == width and height % 2 == 1 and height <= LARGEST_KERNEL


def _kind(layer: Any) -> str | None:
    about = layer.metadata.get(KEY) if isinstance(layer, Image) else None
    return about.get("kind") if isinstance(about, dict) else None


def _each(
    kernels: dict[Index, NDArray[np.float32]] | NDArray[np.float32],
) -> list[NDArray[np.float32]]:
    return list(kernels.values()) if isinstance(kernels, dict) else [kernels]


def _stacked(view: LayerView, kernels: dict[Index, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Kernels with all axes of the layer; channels repeat theirs without taking memory.

    Smaller kernels stand in the middle of the largest one's pixels.
    """
    side = max(kernel.shape[-1] for kernel in kernels.values())
    shape = list(view.shape[: view.ndim])
    for axis in view.spatial:
        shape[axis] = side
    inner = shape.copy()
    if view.channel_axis is not None and not view.rgb:
        inner[view.channel_axis] = 1
    data = np.zeros(inner, dtype=np.float32)
    for index, found in kernels.items():
        kernel = np.pad(found, (side - found.shape[-1]) // 2)
        key: list[Any] = [slice(None)] * view.ndim
        for axis, position in zip(view.stack_axes, index, strict=True):
            key[axis] = position
        if view.channel_axis is not None and not view.rgb:
            key[view.channel_axis] = 0
        data[tuple(key)] = kernel if view.spatial[0] < view.spatial[1] else kernel.T
    return data if inner == shape else np.broadcast_to(data, shape)


def _view_kernels(kernel: Image, view: LayerView) -> LayerView:
    """See a kernel layer with the axes of the image where it has as many."""
    shared = view.channel_axis if kernel.ndim == view.ndim and not view.rgb else None
    held = view_layer(kernel, channel_axis=shared)
    if kernel.rgb:
        raise KernelError(f"{kernel.name!r} is an RGB layer: a kernel has one channel")
    return held


def _shape_text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "1"
