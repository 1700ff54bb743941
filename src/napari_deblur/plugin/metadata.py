"""Where a result lies and how it looks: taken over from the layer that it was made from.

One function does it for every widget, `derived_attributes`, and one places kernels,
`kernel_attributes`.  Both give the keyword arguments of a napari layer.

Neither Qt nor torch here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.layers import Image
from napari.utils import Colormap
from napari.utils.transforms import CompositeAffine
from numpy.typing import NDArray

from napari_deblur.plugin.slices import LayerView

__all__ = [
    "KERNEL_COLORMAP",
    "KEY",
    "MAP_FLOOR",
    "derived_attributes",
    "kernel_attributes",
    "mosaic_attributes",
    "spread",
]

KEY = "napari-deblur"
"""Key in a layer's metadata under which this plugin keeps what it knows."""

MAP_COLORMAP = Colormap(
    colors=[
        (0.0, 0.0, 0.0, 0.0),
        (0.0, 0.0, 0.02, 0.6),
        (0.34, 0.06, 0.43, 0.85),
        (0.74, 0.21, 0.33, 1.0),
        (0.98, 0.55, 0.04, 1.0),
        (0.99, 1.0, 0.64, 1.0),
    ],
    controls=[0.0, 0.02, 0.2, 0.45, 0.75, 1.0],
    name="kernel map",
    display_name="kernel map",
)
"""Nothing where no kernel is, and a veil behind each kernel: it can be read on any image."""

MAP_FLOOR = 0.02
"""Lowest value of a mosaic within a kernel's square; 0 is outside of all of them."""

KERNEL_COLORMAP = "viridis"
"""Its lowest value is no black, so that a kernel's outline can be seen."""

# What makes two layers of the same scene look alike.
_APPEARANCE = (
    "attenuation",
    "blending",
    "depiction",
    "gamma",
    "interpolation2d",
    "interpolation3d",
    "opacity",
    "projection_mode",
    "rendering",
)


def derived_attributes(
    layer: Image,
    view: LayerView,
    *,
    name: str,
    offset: Sequence[float] | NDArray[np.float64] | None = None,
) -> dict[str, Any]:
    """Keyword arguments of a layer that shows the same scene as another one.

    Carried over: scale, translate, rotate, shear, affine, units, axis labels; colormap, gamma,
    blending, opacity, interpolation, rendering; rgb.  **Contrast limits** are those of the source
    as they stand, chosen by hand or not: values and range are kept, so that the two layers can be
    compared by switching one off.

    Parameters
    ----------
    layer : Image
        The source.
    view : LayerView
        The level and axes that the result was made from; a coarser level has larger pixels.
    name : str
        Name of the result.
    offset : sequence of float, optional
        Where the result's first pixel lies in the pixels of `view`, one number per axis of the
        layer, for a part of the image.

    Returns
    -------
    dict
        For `napari.layers.Image` or a layer data tuple.  All axes of the source are kept.
    """
    attributes: dict[str, Any] = {key: _plain(getattr(layer, key)) for key in _APPEARANCE}
    attributes |= _geometry(layer, view, range(view.ndim), offset)
    attributes["name"] = name
    attributes["rgb"] = view.rgb
    attributes["multiscale"] = False
    attributes["metadata"] = {}
    if not view.rgb:
        attributes["colormap"] = layer.colormap
        attributes["contrast_limits"] = [float(value) for value in layer.contrast_limits]
    return attributes


def kernel_attributes(
    layer: Image, view: LayerView, kernels: NDArray[Any], *, name: str
) -> dict[str, Any]:
    """Keyword arguments of the layer that shows a layer's kernels.

    One pixel of the kernel is as large as one pixel of the image.  The kernel stands to the right
    of the image, level with its upper edge, in the image's own frame: where the image is turned or
    sheared, so is the kernel, because it was measured along the image's rows and columns.

    Parameters
    ----------
    layer : Image
        The blurry image's layer.
    view : LayerView
        The level and axes that the kernels belong to.
    kernels : ndarray
        (m, m), one kernel for all planes; or with all axes of the layer.
    name : str
        Name of the kernel layer.
    """
    columns = view.spatial[1]
    side = kernels.shape[-1] if kernels.ndim == 2 else kernels.shape[columns]
    offset = np.zeros(view.ndim)
    offset[columns] = view.size[1] + max(4, side // 4)
    axes = _flat_axes(view) if kernels.ndim == 2 else range(view.ndim)
    attributes = _geometry(layer, view, axes, offset)
    return attributes | {
        "name": name,
        "rgb": False,
        "multiscale": False,
        "colormap": KERNEL_COLORMAP,
        "contrast_limits": [0.0, max(float(np.max(kernels)), np.finfo(np.float32).tiny)],
        "blending": "translucent",
        "interpolation2d": "nearest",
        "metadata": {},
    }


def mosaic_attributes(layer: Image, view: LayerView, *, name: str, pixel: float) -> dict[str, Any]:
    """Keyword arguments of a 2-D mosaic of kernels that lies upon the image.

    Parameters
    ----------
    layer, view
        The blurry image's layer, and its level and axes.
    name : str
        Name of the mosaic.
    pixel : float
        Side of one of the mosaic's pixels in pixels of the image.

    The mosaic itself must have gone through `spread`.
    """
    # Pixels are centred at whole coordinates: the first one's outer corner is at -0.5.
    corner = np.zeros(view.ndim)
    corner[list(view.spatial)] = (pixel - 1) / 2
    attributes = _geometry(layer, view, _flat_axes(view), corner, enlarge=pixel)
    return attributes | {
        "name": name,
        "rgb": False,
        "multiscale": False,
        "colormap": MAP_COLORMAP,
        "contrast_limits": [0.0, 1.0],
        "blending": "translucent",
        "interpolation2d": "nearest",
        "metadata": {},
    }


def spread(view: LayerView, plane: NDArray[Any]) -> NDArray[Any]:
    """Make what belongs to all planes (rows, columns) an array that napari shows with each.

    Layers with fewer axes than the viewer lie along its last ones.  So where rows and columns are
    the layer's last axes the array can stay as it is; elsewhere it gets the layer's axes, repeated
    without taking memory.
    """
    if view.trailing:
        return plane
    rows, columns = view.spatial
    turned = plane if rows < columns else plane.T
    full = np.expand_dims(turned, [axis for axis in range(view.ndim) if axis not in view.spatial])
    shape = list(view.shape[: view.ndim])
    shape[rows], shape[columns] = plane.shape
    return np.broadcast_to(full, shape)


def _flat_axes(view: LayerView) -> Sequence[int]:
    """Axes of the layer that an array from `spread` has."""
    return view.spatial if view.trailing else range(view.ndim)


def _geometry(
    layer: Image,
    view: LayerView,
    axes: Sequence[int],
    offset: Sequence[float] | NDArray[np.float64] | None = None,
    enlarge: float = 1.0,
) -> dict[str, Any]:
    """Scale, translate, rotate, shear, affine, units and axis labels for some of the axes."""
    scale = np.asarray(layer.scale, dtype=float) * view.factors
    whole = CompositeAffine(
        scale=scale,
        translate=np.asarray(layer.translate, dtype=float),
        rotate=np.asarray(layer.rotate, dtype=float),
        shear=np.asarray(layer.shear, dtype=float),
        ndim=view.ndim,
    )
    start = np.zeros(view.ndim) if offset is None else np.asarray(offset, dtype=float)
    corner = np.asarray(whole(start), dtype=float)
    chosen = list(axes)
    part = whole if len(chosen) == view.ndim else whole.set_slice(chosen)
    affine = layer.affine if len(chosen) == view.ndim else layer.affine.set_slice(chosen)
    stretch = [enlarge if axis in view.spatial else 1.0 for axis in chosen]
    return {
        "scale": np.asarray(part.scale, dtype=float) * stretch,
        "translate": corner[chosen],
        "rotate": np.asarray(part.rotate, dtype=float),
        "shear": np.asarray(part.shear, dtype=float),
        "affine": np.asarray(affine.affine_matrix, dtype=float),
        "units": tuple(str(layer.units[axis]) for axis in chosen),
        "axis_labels": tuple(layer.axis_labels[axis] for axis in chosen),
    }


def _plain(value: Any) -> Any:
    """Return the text of napari's enumerations, and everything else as it is."""
    return str(value) if hasattr(value, "name") and hasattr(value, "value") else value
