"""How an image is cut for the synthesis network: which windows, how large, in how many steps.

Two sizes of windows, because two parts of the network look differently far.  The classical
deconvolution (front end and data steps) works in the frequency domain, cheaply, and has no finite
reach: cutting it into tiles would show.  It is computed on *blocks*, which hold most photographs
whole; a larger image is cut into blocks that overlap by several kernels and fade into each other
(see `napari_deblur.engine.blending`).  The U-Net takes nearly all the time and memory and has a
finite receptive field: it is computed on *tiles* of a block, with a halo that makes them exactly
what the whole block would give.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_deblur.blur.kernel import kernel_support
from napari_deblur.engine.blending import Block, fade_blocks
from napari_deblur.engine.devices import free_memory
from napari_deblur.engine.tiles import Tile, plan_part

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_deblur.engine.layout import Layout
    from napari_deblur.engine.pair import Pair
    from napari_deblur.engine.tiles import Window
    from napari_deblur.networks.config import SynthesisConfig

__all__ = [
    "Plan",
    "batch_channels",
    "block_halo",
    "choose_block",
    "choose_tile",
    "count_steps",
    "cut_blocks",
    "plan_blocks",
    "plan_unet",
    "receptive_radius",
    "sees_luma",
]

_LARGEST_BLOCK = 4096
_LARGEST_TILES = {"cpu": 1024}
_LARGEST_TILE = 2048  # elsewhere
_SMALLEST = 64
# Beyond this many kernels a deconvolution hardly sees a border any more: with little noise, half of
# it costs three times the difference where blocks meet, and the rest little time.
_KERNELS_REACHED = 16
_LARGEST_HALO = 768
_LIVE_MAPS = 8  # maps of the finest level that exist at once in the U-Net
_LIVE_IMAGES = 32  # float32 images of the padded size that exist at once in a deconvolution


@dataclass(frozen=True)
class Plan:
    """How an image is cut for one kernel and one size of tiles.

    Attributes
    ----------
    blocks : tuple of Block
        Blocks of the image, which fade into each other.
    tile : int
        Side of the tiles of a block in pixels.
    kernel : ndarray of shape (m, m), float32
        The kernel, of any odd side.
    steps : int
        Steps that all blocks and channels take together.
    luma : bool
        See `sees_luma`.
    """

    blocks: tuple[Block, ...]
    tile: int
    kernel: NDArray[np.float32]
    steps: int
    luma: bool = False


def receptive_radius(config: SynthesisConfig) -> int:
    """Pixels that a pixel of the U-Net's result looks to each side."""
    scales = [2**level for level in range(config.downsamplings + 1)]
    risen = sum(scales[:-1])
    # Encoder blocks; strided 3x3 convolutions; per level up a transposed 5x5 and a block; the last.
    return int(config.block_convolutions * (sum(scales) + risen) + risen + 2 * risen + 1)


def sees_luma(pair: Pair, layout: Layout) -> bool:
    """Whether the U-Net corrects an image's luma alone, and so all its channels alike.

    What a deconvolution leaves to be corrected is much the same in red, green and blue, so a
    network of one channel takes a third of the time with the luma, and is no worse.  Without a
    deconvolution in front of it, or with more of them behind, it needs every channel.
    """
    config = pair.synthesis.config
    corrects = config.front_end != "none" and config.iterations == 1
    return layout.rgb and corrects and config.image_channels == 1


def choose_tile(pair: Pair) -> int:
    """Largest side of tiles, a power of two, of which one takes half the free memory at most."""
    config = pair.synthesis.config
    size = torch.finfo(pair.precision).bits // 8
    largest = _LARGEST_TILES.get(pair.device.type, _LARGEST_TILE)
    return _fitting(pair, largest, receptive_radius(config), _LIVE_MAPS * config.channels[0] * size)


def choose_block(pair: Pair, halo: int) -> int:
    """Largest side of blocks, likewise."""
    return _fitting(pair, _LARGEST_BLOCK, halo, _LIVE_IMAGES * 4)


def _fitting(pair: Pair, largest: int, halo: int, per_pixel: int) -> int:
    pixels = free_memory(pair.device) / 2 / (per_pixel * _batch_size(pair))
    side = largest
    while side > _SMALLEST and (side + 2 * halo) ** 2 > pixels:
        side //= 2
    return side


def block_halo(pair: Pair, kernel: NDArray[np.float32]) -> int:
    """Pixels beyond a block that its result depends on, with this kernel."""
    config = pair.synthesis.config
    halo = receptive_radius(config)
    if config.front_end == "none":
        return halo
    return max(halo, min(_KERNELS_REACHED * kernel_support(kernel), _LARGEST_HALO))


def cut_blocks(
    pair: Pair, size: tuple[int, int], kernel: NDArray[np.float32], side: int
) -> tuple[Block, ...]:
    """Cut an image of `size` (height, width) into blocks of about `side` pixels, for one kernel."""
    whole = (slice(0, size[0]), slice(0, size[1]))
    return _cut_part(pair, size, whole, block_halo(pair, kernel), side)


def plan_blocks(
    pair: Pair, layout: Layout, part: Window, kernel: NDArray[np.float32], tile: int
) -> Plan:
    """Cut an image into blocks that fit into memory, and count the steps of its deblurring.

    Parameters
    ----------
    pair : Pair
        Its synthesis network is used.
    layout : Layout
        Of the image.
    part : tuple of slice
        Rows and columns that are wanted; nothing else is computed but what they depend on.
    kernel, tile
        See `Plan`.
    """
    halo = block_halo(pair, kernel)
    blocks = _cut_part(pair, layout.size, part, halo, choose_block(pair, halo))
    steps = sum(
        count_steps(pair, layout, _shape(block), tile, block.counted_in(part)) for block in blocks
    )
    return Plan(blocks, tile, kernel, steps, sees_luma(pair, layout))


def _cut_part(
    pair: Pair, size: tuple[int, int], part: Window, halo: int, side: int
) -> tuple[Block, ...]:
    tiles = plan_part(size, part, side, halo, align=pair.synthesis.unet.stride)
    return fade_blocks(tiles, halo)


def count_steps(
    pair: Pair, layout: Layout, size: tuple[int, int], tile: int, wanted: Window | None = None
) -> int:
    """Count the steps in which `deblur_block` deblurs a window of `size` (height, width)."""
    config = pair.synthesis.config
    passes = len(list(batch_channels(pair, layout.channels)))
    last = len(plan_unet(pair, size, tile, wanted))
    if sees_luma(pair, layout):
        return passes + last
    solves = config.iterations if config.front_end != "none" else 0
    between = (config.iterations - 1) * len(plan_unet(pair, size, tile))
    return passes * (solves + between + last)


def plan_unet(
    pair: Pair, size: tuple[int, int], tile: int, wanted: Window | None = None
) -> tuple[Tile, ...]:
    """Cut a window of `size` (height, width), or what is wanted of it, into tiles."""
    network = pair.synthesis
    halo, align = receptive_radius(network.config), network.unet.stride
    part = wanted or (slice(0, size[0]), slice(0, size[1]))
    return plan_part(size, part, tile, halo, align=align)


def batch_channels(pair: Pair, channels: int) -> Iterator[slice]:
    """Channels that go through the network together."""
    if pair.synthesis.config.image_channels == 1:
        step = _batch_size(pair)
    else:
        step = 3 if channels == 3 else 1
    for start in range(0, channels, step):
        yield slice(start, min(start + step, channels))


def _batch_size(pair: Pair) -> int:
    """Images at once: a graphics card wants much to do, a processor little memory."""
    if pair.synthesis.config.image_channels == 3:
        return 1
    return 1 if pair.device.type == "cpu" else 4


def _shape(part: Tile) -> tuple[int, int]:
    rows, columns = part.source
    return rows.stop - rows.start, columns.stop - columns.start
