"""The planes of sharp layers as pictures in files, for the training package.

Neither Qt nor torch here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from napari.layers import Image

from napari_deblur.plugin.slices import LayerView, view_layer

__all__ = ["save_layers"]


def save_layers(layers: Sequence[Image], folder: Path) -> int:
    """Save each plane of each layer as a TIFF for training, and return how many there are.

    Values are stretched from the layer's contrast limits to 16 bits; training looks at shapes and
    not at absolute intensities.
    """
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for number, layer in enumerate(layers):
        view = view_layer(layer)
        for index in view.indices():
            name = "-".join(map(str, (number, *index)))
            for channel, plane in enumerate(_pictures(view.plane(index), view, layer)):
                tifffile.imwrite(folder / f"{name}-{channel}.tif", plane)
                count += 1
    return count


def _pictures(plane: Any, view: LayerView, layer: Image) -> list[Any]:
    """Grey or RGB pictures of one plane, 8 bits for RGB and 16 for grey."""
    if view.rgb:
        rgb = plane[..., :3]
        return [rgb if rgb.dtype == np.uint8 else (np.clip(rgb, 0, 1) * 255).astype(np.uint8)]
    low, high = layer.contrast_limits
    grey = np.clip((plane.astype(float) - low) / max(high - low, 1e-12), 0, 1)
    grey = (grey * 65535).astype(np.uint16)
    axis = view.plane_channel_axis
    return [grey] if axis is None else list(np.moveaxis(grey, axis, 0))
