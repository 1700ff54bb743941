"""Clipped pixels, whose values are predicted before an image is deblurred."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_deblur.blur import saturation
from napari_deblur.engine.tiles import plan_tiles, spread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_deblur.engine.layout import Picture
    from napari_deblur.engine.pair import Pair

__all__ = ["is_cut_off", "unclipped"]

_CLIPPING_WINDOW = 1024
_CLIPPING_WINDOWS = 4


@torch.inference_mode()
def is_cut_off(pair: Pair, picture: Picture, kernel: NDArray[np.float32]) -> bool:
    """Whether clipped pixels miss light, as lamps do and a white page does not.

    Judged on some windows that are spread over the image.
    """
    windows = [part.owned for part in plan_tiles(picture.layout.size, _CLIPPING_WINDOW, 0)]
    batch = torch.from_numpy(kernel)[None].to(pair.device)
    for window in spread(windows, _CLIPPING_WINDOWS):
        image = picture.read(window)
        clipped = picture.layout.clipped(image)
        if clipped is not None:
            blurry = torch.from_numpy(image)[None].to(pair.device)
            mask = torch.from_numpy(clipped)[None].to(pair.device)
            if saturation.is_cut_off(blurry, batch, mask):
                return True
    return False


@torch.inference_mode()
def unclipped(
    pair: Pair,
    image: NDArray[np.float32],
    kernel: NDArray[np.float32],
    clipped: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """The image with predictions at clipped pixels."""
    batch = torch.from_numpy(kernel)[None].to(pair.device)
    blurry = torch.from_numpy(image)[None].to(pair.device)
    mask = torch.from_numpy(clipped)[None].to(pair.device)
    filled: NDArray[np.float32] = saturation.fill_clipped(blurry, batch, mask)[0].cpu().numpy()
    return filled
