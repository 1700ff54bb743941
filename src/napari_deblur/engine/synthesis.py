"""A working image through the synthesis network, block by block and tile by tile.

Two sizes of windows, because two parts of the network look differently far.  The classical
deconvolution (front end and data steps) works in the frequency domain, cheaply, and has no finite
reach: cutting it into tiles would show.  It is computed on *blocks*, which hold most photographs
whole; a larger image is cut into blocks that overlap by several kernels and fade into each other
(see `napari_deblur.engine.blending`).  The U-Net takes nearly all the time and memory and has a
finite receptive field: it is computed on *tiles* of a block, with a halo that makes them exactly
what the whole block would give.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_deblur.blur import saturation
from napari_deblur.blur.alternation import resize_kernel
from napari_deblur.blur.kernel import kernel_support, resize_kernel_support
from napari_deblur.engine.blending import Block, fade_blocks
from napari_deblur.engine.devices import free_memory
from napari_deblur.engine.tiles import Tile, plan_part, plan_tiles, spread
from napari_deblur.errors import WeightsError
from napari_deblur.networks.fold import fold
from napari_deblur.networks.frontend import candidates, pull_to_data

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_deblur.engine.layout import Picture, Window
    from napari_deblur.engine.pair import Pair
    from napari_deblur.networks.config import SynthesisConfig
    from napari_deblur.networks.fold import FoldedUNet

__all__ = [
    "Plan",
    "block_halo",
    "choose_block",
    "choose_tile",
    "count_steps",
    "cut_blocks",
    "deblur_block",
    "plan_blocks",
    "receptive_radius",
]

_LARGEST_BLOCK = 4096
_LARGEST_TILES = {"cpu": 1024}
_LARGEST_TILE = 2048  # elsewhere
_SMALLEST = 64
_KERNELS_REACHED = 6  # beyond this many kernels, a deconvolution hardly sees a border any more
_LARGEST_HALO = 512
_LIVE_MAPS = 8  # maps of the finest level that exist at once in the U-Net
_LIVE_IMAGES = 32  # float32 images of the padded size that exist at once in a deconvolution
_CLIPPING_WINDOW = 1024
_CLIPPING_WINDOWS = 4


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
    """

    blocks: tuple[Block, ...]
    tile: int
    kernel: NDArray[np.float32]
    steps: int


@dataclass(frozen=True)
class _Batch:
    """Images (B, c, h, w) that go through the network together, and what it is told about them.

    `kernel` has no empty margin; it is for deconvolutions.
    """

    blurry: torch.Tensor
    kernel: torch.Tensor
    sigma: torch.Tensor


def receptive_radius(config: SynthesisConfig) -> int:
    """Pixels that a pixel of the U-Net's result looks to each side."""
    scales = [2**level for level in range(config.downsamplings + 1)]
    risen = sum(scales[:-1])
    # Encoder blocks; strided 3x3 convolutions; per level up a transposed 5x5 and a block; the last.
    return int(config.block_convolutions * (sum(scales) + risen) + risen + 2 * risen + 1)


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
    pair: Pair,
    size: tuple[int, int],
    part: Window,
    channels: int,
    kernel: NDArray[np.float32],
    tile: int,
) -> Plan:
    """Cut an image into blocks that fit into memory, and count the steps of its deblurring.

    Parameters
    ----------
    pair : Pair
        Its synthesis network is used.
    size : tuple of int
        Height and width of the image in pixels.
    part : tuple of slice
        Rows and columns that are wanted; nothing else is computed but what they depend on.
    channels : int
        Of the image.
    kernel, tile
        See `Plan`.
    """
    halo = block_halo(pair, kernel)
    blocks = _cut_part(pair, size, part, halo, choose_block(pair, halo))
    steps = sum(
        count_steps(pair, _shape(block), channels, tile, block.counted_in(part)) for block in blocks
    )
    return Plan(blocks, tile, kernel, steps)


def _cut_part(
    pair: Pair, size: tuple[int, int], part: Window, halo: int, side: int
) -> tuple[Block, ...]:
    tiles = plan_part(size, part, side, halo, align=pair.synthesis.unet.stride)
    return fade_blocks(tiles, halo)


def count_steps(
    pair: Pair, size: tuple[int, int], channels: int, tile: int, wanted: Window | None = None
) -> int:
    """Count the steps in which `deblur_block` deblurs a window of `size` (height, width)."""
    config = pair.synthesis.config
    passes = len(list(_batch_channels(pair, channels)))
    solves = config.iterations if config.front_end != "none" else 0
    between = (config.iterations - 1) * len(_plan_unet(pair, size, tile))
    return passes * (solves + between + len(_plan_unet(pair, size, tile, wanted)))


def deblur_block(
    pair: Pair,
    image: NDArray[np.float32],
    plan: Plan,
    noise: NDArray[np.float32],
    clipped: NDArray[np.bool_] | None = None,
    wanted: Window | None = None,
) -> Generator[None, None, NDArray[np.float32]]:
    """Deblur one block; yields after each step.

    Parameters
    ----------
    pair : Pair
        Its synthesis network is used.
    image : ndarray of shape (C, h, w), float32
        Working image of the block.
    plan : Plan
        The kernel and the size of the tiles.
    noise : ndarray of shape (C,), float32
        Standard deviation of each channel's noise, in the working range.
    clipped : ndarray of shape (C, h, w), bool, optional
        Saturated pixels, whose values are predicted from all others.
    wanted : tuple of slice, optional
        Rows and columns that the result is kept of; it is 0 far from them.

    Returns
    -------
    ndarray of shape (C, h, w), float32
        Networks for RGB get RGB as it is, and any other channel alone as a grey RGB image, of
        whose result the mean is taken; one-channel networks get every channel alone.

    Raises
    ------
    WeightsError
        When the result is not finite.
    """
    result = np.empty_like(image)
    kernel = resize_kernel_support(plan.kernel, kernel_support(plan.kernel, fraction=0))
    unet = _fold(pair, kernel)
    if clipped is not None:
        image = _unclipped(pair, image, kernel, clipped)
    for part in _batch_channels(pair, len(image)):
        batch = _make_batch(pair, image[part], kernel, noise[part])
        sharp = yield from _deblur_batch(pair, unet, batch, plan.tile, wanted)
        result[part] = _planes(sharp, part.stop - part.start)
    if not np.isfinite(result).all():
        raise WeightsError(
            f"model {pair.name} gave values that are not finite: its weights are damaged or "
            "untrained; choose another model"
        )
    return result


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
def _unclipped(
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


def _make_batch(
    pair: Pair,
    channels: NDArray[np.float32],
    kernel: NDArray[np.float32],
    noise: NDArray[np.float32],
) -> _Batch:
    blurry = torch.from_numpy(channels).to(pair.device)
    sigma = torch.from_numpy(noise).to(pair.device)
    if pair.synthesis.config.image_channels == 1:
        blurry = blurry[:, None]
    else:
        blurry, sigma = blurry[None].expand(-1, 3, -1, -1), sigma.mean(dim=0, keepdim=True)
    bare = torch.from_numpy(kernel).to(pair.device).expand(len(blurry), -1, -1)
    return _Batch(blurry, kernel=bare, sigma=sigma)


def _fold(pair: Pair, kernel: NDArray[np.float32]) -> FoldedUNet:
    """The U-Net for one kernel, which its guides see padded, or shrunk if it is larger."""
    size = pair.synthesis.config.kernel_size
    guide = resize_kernel(kernel, min(1.0, size / kernel.shape[-1]), size)
    return fold(pair.synthesis.unet, torch.from_numpy(guide).to(pair.device), pair.precision)


def _deblur_batch(
    pair: Pair, unet: FoldedUNet, batch: _Batch, tile: int, wanted: Window | None
) -> Generator[None, None, torch.Tensor]:
    """`SynthesisNetwork.forward` with its U-Net in tiles, and at last only where it is wanted."""
    network = pair.synthesis
    if network.config.front_end == "none":
        return (yield from _improve(pair, unet, batch, [], tile, wanted))
    best, *others = _deconvolve(network.config, batch)
    yield
    for log_strength in network.log_strengths:
        result = yield from _improve(pair, unet, batch, [best, *others], tile)
        best = _pull(result, batch, log_strength)
        yield
    return (yield from _improve(pair, unet, batch, [best, *others], tile, wanted))


@torch.inference_mode()
def _deconvolve(config: SynthesisConfig, batch: _Batch) -> list[torch.Tensor]:
    return candidates(config.front_end, batch.blurry, batch.kernel, batch.sigma)


@torch.inference_mode()
def _pull(result: torch.Tensor, batch: _Batch, log_strength: torch.Tensor) -> torch.Tensor:
    return pull_to_data(result, batch.blurry, batch.kernel, batch.sigma, log_strength.exp())


def _improve(
    pair: Pair,
    unet: FoldedUNet,
    batch: _Batch,
    deconvolved: list[torch.Tensor],
    tile: int,
    wanted: Window | None = None,
) -> Generator[None, None, torch.Tensor]:
    """What the U-Net makes of the images, tile by tile; a change of the first deconvolved one."""
    result = torch.zeros_like(batch.blurry, memory_format=torch.contiguous_format)
    for part in _plan_unet(pair, (result.shape[-2], result.shape[-1]), tile, wanted):
        made = _improve_tile(pair, unet, batch, deconvolved, part)
        result[..., *part.owned] = made[..., *part.inner]
        yield
    return result


@torch.inference_mode()
def _improve_tile(
    pair: Pair, unet: FoldedUNet, batch: _Batch, deconvolved: list[torch.Tensor], part: Tile
) -> torch.Tensor:
    """The result for the tile's whole window."""
    images = [image[..., *part.source] for image in (batch.blurry, *deconvolved)]
    height, width = images[0].shape[-2:]
    made = unet(pair.synthesis.stack(images, batch.sigma))[..., :height, :width].float()
    return images[1] + made if deconvolved else made


def _plan_unet(
    pair: Pair, size: tuple[int, int], tile: int, wanted: Window | None = None
) -> tuple[Tile, ...]:
    network = pair.synthesis
    halo, align = receptive_radius(network.config), network.unet.stride
    part = wanted or (slice(0, size[0]), slice(0, size[1]))
    return plan_part(size, part, tile, halo, align=align)


def _batch_channels(pair: Pair, channels: int) -> Iterator[slice]:
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


def _planes(sharp: torch.Tensor, channels: int) -> NDArray[np.float32]:
    """(B, c, h, w) as (channels, h, w)."""
    if sharp.shape[1] == 3 and channels == 1:
        sharp = sharp.mean(dim=1, keepdim=True)
    planes: NDArray[np.float32] = sharp.flatten(0, 1).cpu().numpy()
    return planes


def _shape(part: Tile) -> tuple[int, int]:
    rows, columns = part.source
    return rows.stop - rows.start, columns.stop - columns.start
