"""A whole image through the synthesis network, read and written block by block."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_deblur.engine.blending import Blender
from napari_deblur.engine.clipped import is_cut_off
from napari_deblur.engine.output import output_for
from napari_deblur.engine.plans import Plan, choose_tile, plan_blocks
from napari_deblur.engine.progress import Progress, count_up, counted, with_smaller_tiles
from napari_deblur.engine.synthesis import start_block
from napari_deblur.engine.tiles import overlap, within
from napari_deblur.engine.transfers import transfers_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_deblur.engine.blending import Block
    from napari_deblur.engine.layout import Picture
    from napari_deblur.engine.options import Options
    from napari_deblur.engine.pair import Pair
    from napari_deblur.engine.tiles import Window

__all__ = ["Restored", "restore", "restore_part"]


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
    height, width = picture.layout.size
    run = _Run(pair, picture, kernel, noise, fills)
    used = yield from _deblur_part(
        run, (slice(0, height), slice(0, width)), options.tile, partial(picture.write, target)
    )
    return Restored(target, used)


def restore_part(
    pair: Pair,
    picture: Picture,
    part: Window,
    kernel: NDArray[np.float32],
    noise: NDArray[np.float32],
    tile: int | None,
) -> Generator[Progress, None, NDArray[np.float32]]:
    """Deblur a part of an image, whose clipped pixels, if its layout knows of any, miss light.

    Parameters
    ----------
    pair, picture, kernel, noise
        See `restore`.
    part : tuple of slice
        Rows and columns.
    tile : int, optional
        See `napari_deblur.deblur`.

    Returns
    -------
    ndarray of shape (C, h, w), float32
        Working values of the part.
    """
    height, width = (side.stop - side.start for side in part)
    made = np.empty((picture.layout.channels, height, width), np.float32)

    def keep(window: Window, values: NDArray[np.float32]) -> None:
        shared = overlap(window, part)
        made[:, *within(shared, part)] = values[:, *within(shared, window)]

    yield from _deblur_part(_Run(pair, picture, kernel, noise, fills=True), part, tile, keep)
    return made


@dataclass(frozen=True)
class _Run:
    """What an image is deblurred with, and whether its clipped pixels are predicted."""

    pair: Pair
    picture: Picture
    kernel: NDArray[np.float32]
    noise: NDArray[np.float32]
    fills: bool


def _deblur_part(
    run: _Run, part: Window, tile: int | None, keep: Callable[[Window, NDArray[np.float32]], None]
) -> Generator[Progress, None, int]:
    """Hand out windows that hold all of a part, in tiles that fit; returns the tiles' side."""

    def steps(side: int) -> Generator[Progress, None, int]:
        layout = run.picture.layout
        plan = plan_blocks(run.pair, layout, part, run.kernel, side)
        yield from _deblur_blocks(run, part, plan, keep)
        return side

    first = tile or choose_tile(run.pair)
    return (yield from with_smaller_tiles(steps, first, run.pair.device))


def _deblur_blocks(
    run: _Run, part: Window, plan: Plan, keep: Callable[[Window, NDArray[np.float32]], None]
) -> Generator[Progress, None, None]:
    progress = count_up("deblur", plan.steps)
    yield next(progress)
    layout = run.picture.layout
    blender, transfers = Blender(layout.size[1]), transfers_for(run.pair.device)
    begun: deque[tuple[Block, Callable[[], NDArray[np.float32]]]] = deque()

    def end_one() -> None:
        block, finish = begun.popleft()
        keep(*blender.add(block, finish()[:, *block.counted]))

    for block in plan.blocks:
        image = run.picture.read(block.source)
        clipped = layout.clipped(image) if run.fills else None
        wanted = block.counted_in(part)
        steps = start_block(
            run.pair, image, plan, run.noise, transfers, clipped=clipped, wanted=wanted
        )
        begun.append((block, (yield from counted(steps, progress))))
        if len(begun) > transfers.ahead:
            end_one()
    while begun:
        end_one()
