"""A whole image through the synthesis network, read and written block by block."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_deblur.engine.blending import Blender
from napari_deblur.engine.output import output_for
from napari_deblur.engine.progress import Progress, count_up, counted, with_smaller_tiles
from napari_deblur.engine.synthesis import (
    Plan,
    choose_tile,
    deblur_block,
    is_cut_off,
    plan_blocks,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_deblur.engine.layout import Picture
    from napari_deblur.engine.options import Options
    from napari_deblur.engine.pair import Pair

__all__ = ["Restored", "restore"]


@dataclass(frozen=True)
class Restored:
    """A deblurred image.

    Attributes
    ----------
    image : array
        Of the input's shape and dtype.
    tile : int or None
        Side of the tiles that fitted, in pixels; None if nothing had to be computed.
    """

    image: Any
    tile: int | None


def restore(
    pair: Pair,
    picture: Picture,
    kernel: NDArray[np.float32],
    noise: NDArray[np.float32],
    options: Options,
    out: Any = None,
) -> Generator[Progress, None, Restored]:
    """Deblur an image with one kernel.

    Parameters
    ----------
    pair : Pair
        The networks.
    picture : Picture
        The image.
    kernel : ndarray of shape (m, m), float32
        The kernel.
    noise : ndarray of shape (C,), float32
        See `napari_deblur.engine.noise.noise_levels`.
    options : Options
        `tile` and `saturation` are looked at.
    out : array, optional
        Where to write.
    """
    target = output_for(picture, out)
    fills = options.saturation is not None or is_cut_off(pair, picture, kernel)

    def steps(side: int) -> Generator[Progress, None, int]:
        layout = picture.layout
        plan = plan_blocks(pair, layout.size, layout.channels, kernel, side)
        yield from _deblur_blocks(pair, picture, plan, noise, target, fills=fills)
        return side

    used = yield from with_smaller_tiles(steps, options.tile or choose_tile(pair), pair.device)
    return Restored(target, used)


def _deblur_blocks(
    pair: Pair,
    picture: Picture,
    plan: Plan,
    noise: NDArray[np.float32],
    out: Any,
    *,
    fills: bool,
) -> Generator[Progress, None, None]:
    progress = count_up("deblur", plan.steps)
    yield next(progress)
    blender = Blender(picture.layout.size[1])
    for block in plan.blocks:
        image = picture.read(block.source)
        clipped = picture.layout.clipped(image) if fills else None
        steps = deblur_block(pair, image, plan, noise, clipped, block.counted)
        sharp = yield from counted(steps, progress)
        window, blended = blender.add(block, sharp[:, *block.counted])
        picture.write(out, window, blended)
