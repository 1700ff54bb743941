"""A working image through the synthesis network, block by block and tile by tile.

`napari_deblur.engine.plans` says what blocks and tiles are.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch

from napari_deblur.blur.alternation import resize_kernel
from napari_deblur.blur.kernel import kernel_support, resize_kernel_support
from napari_deblur.engine.clipped import unclipped
from napari_deblur.engine.plans import batch_channels, plan_unet
from napari_deblur.engine.region import RED_GREEN_BLUE
from napari_deblur.engine.transfers import Direct
from napari_deblur.errors import WeightsError
from napari_deblur.networks.fold import fold
from napari_deblur.networks.frontend import pull_to_data
from napari_deblur.networks.graphs import Replayed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_deblur.engine.pair import Pair
    from napari_deblur.engine.plans import Plan
    from napari_deblur.engine.tiles import Tile, Window
    from napari_deblur.engine.transfers import Transfers

    UNet: TypeAlias = Callable[[torch.Tensor], torch.Tensor]

__all__ = ["deblur_block", "start_block"]


@dataclass(frozen=True)
class _Batch:
    """Images (B, c, h, w) that go through the network together, and what it is told about them.

    `kernel` has no empty margin; it is for deconvolutions.
    """

    blurry: torch.Tensor
    kernel: torch.Tensor
    sigma: torch.Tensor


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
    pair, image, plan, noise, clipped, wanted
        See `start_block`.

    Returns
    -------
    ndarray of shape (C, h, w), float32
        See `start_block`.

    Raises
    ------
    WeightsError
        When the result is not finite.
    """
    steps = start_block(
        pair, image, plan, noise, Direct(pair.device), clipped=clipped, wanted=wanted
    )
    return (yield from steps)()


def start_block(
    pair: Pair,
    image: NDArray[np.float32],
    plan: Plan,
    noise: NDArray[np.float32],
    transfers: Transfers,
    *,
    clipped: NDArray[np.bool_] | None = None,
    wanted: Window | None = None,
) -> Generator[None, None, Callable[[], NDArray[np.float32]]]:
    """Hand one block to the device; yields after each step.

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
    transfers : Transfers
        How it gets to the device and back.
    clipped : ndarray of shape (C, h, w), bool, optional
        Saturated pixels, whose values are predicted from all others.
    wanted : tuple of slice, optional
        Rows and columns that the result is kept of; far from them nothing is made of it.

    Returns
    -------
    callable
        Waits until the device is done, and returns an array of shape (C, h, w), float32, or raises
        `WeightsError` when it is not finite.  Networks for RGB get RGB as it is, and any other
        channel alone as a grey RGB image, of whose result the mean is taken.  One-channel networks
        get every channel alone; of RGB images their U-Net gets the luma (see
        `napari_deblur.engine.plans.sees_luma`).
    """
    kernel = resize_kernel_support(plan.kernel, kernel_support(plan.kernel, fraction=0))
    unet = _fold(pair, kernel)
    if clipped is not None:
        image = unclipped(pair, image, kernel, clipped)
    result = np.empty_like(image)
    waits = []

    def fetch(part: slice, sharp: torch.Tensor) -> None:
        waits.append(transfers.fetch(_planes(sharp, part.stop - part.start), result[part]))

    parts = list(batch_channels(pair, len(image)))
    batches = (
        _make_batch(pair, transfers.send(image[part]), kernel, noise[part]) for part in parts
    )
    if plan.luma:
        made = yield from _deblur_rgb(pair, unet, list(batches), plan.tile, wanted)
        for part, sharp in zip(parts, made, strict=True):
            fetch(part, sharp)
    else:
        for part, batch in zip(parts, batches, strict=True):
            fetch(part, (yield from _deblur_batch(pair, unet, batch, plan.tile, wanted)))

    def finish() -> NDArray[np.float32]:
        for wait in waits:
            wait()
        if not np.isfinite(result).all():
            raise WeightsError(
                f"model {pair.name} gave values that are not finite: its weights are damaged or "
                "untrained; choose another model"
            )
        return result

    return finish


def _make_batch(
    pair: Pair, blurry: torch.Tensor, kernel: NDArray[np.float32], noise: NDArray[np.float32]
) -> _Batch:
    sigma = torch.from_numpy(noise).to(pair.device)
    if pair.synthesis.config.image_channels == 1:
        blurry = blurry[:, None]
    else:
        blurry, sigma = blurry[None].expand(-1, 3, -1, -1), sigma.mean(dim=0, keepdim=True)
    bare = torch.from_numpy(kernel).to(pair.device).expand(len(blurry), -1, -1)
    return _Batch(blurry, kernel=bare, sigma=sigma)


def _fold(pair: Pair, kernel: NDArray[np.float32]) -> UNet:
    """The U-Net for one kernel, which its guides see padded, or shrunk if it is larger."""
    size = pair.synthesis.config.kernel_size
    guide = resize_kernel(kernel, min(1.0, size / kernel.shape[-1]), size)
    folded = fold(pair.synthesis.unet, torch.from_numpy(guide).to(pair.device), pair.precision)
    return Replayed(folded) if pair.device.type == "cuda" else folded


def _deblur_batch(
    pair: Pair, unet: UNet, batch: _Batch, tile: int, wanted: Window | None
) -> Generator[None, None, torch.Tensor]:
    """`SynthesisNetwork.forward` with its U-Net in tiles, and at last only where it is wanted."""
    network = pair.synthesis
    if network.config.front_end == "none":
        return (yield from _improve(pair, unet, batch, [], tile, wanted))
    best, *others = _deconvolve(pair, batch)
    yield
    for log_strength in network.log_strengths:
        change = yield from _improve(pair, unet, batch, [best, *others], tile)
        best = _pull(change.add_(best), batch, log_strength)
        yield
    change = yield from _improve(pair, unet, batch, [best, *others], tile, wanted)
    return change.add_(best)


def _deblur_rgb(
    pair: Pair, unet: UNet, batches: Sequence[_Batch], tile: int, wanted: Window | None
) -> Generator[None, None, list[torch.Tensor]]:
    """Each channel deconvolved, and changed as the U-Net changes the luma (`sees_luma`)."""
    weights = torch.tensor(RED_GREEN_BLUE, device=pair.device)
    shares = [weights[part] for part in batch_channels(pair, len(weights))]
    deconvolved, lumas = [], []
    for batch, share in zip(batches, shares, strict=True):
        images = _deconvolve(pair, batch)
        deconvolved.append(images[0])
        lumas.append([_mixed(image, share) for image in (batch.blurry, *images)])
        yield
    blurry, *others = (sum(images[1:], start=images[0]) for images in zip(*lumas, strict=True))
    # What counts as noise is mostly the kernel's error, which is the same in all channels.
    sigma = sum(
        (share @ batch.sigma for batch, share in zip(batches, shares, strict=True)),
        start=torch.zeros((), device=pair.device),
    )
    grey = _Batch(blurry, kernel=batches[0].kernel[:1], sigma=sigma[None])
    change = yield from _improve(pair, unet, grey, others, tile, wanted)
    return [image + change for image in deconvolved]


def _mixed(image: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted sum (1, 1, h, w) of the images (B, 1, h, w) of a batch."""
    mixed: torch.Tensor = torch.tensordot(weights, image, dims=1)
    return mixed[None]


@torch.inference_mode()
def _deconvolve(pair: Pair, batch: _Batch) -> list[torch.Tensor]:
    with pair.autocast():
        return pair.synthesis.deconvolve(batch.blurry, batch.kernel, batch.sigma)


@torch.inference_mode()
def _pull(result: torch.Tensor, batch: _Batch, log_strength: torch.Tensor) -> torch.Tensor:
    return pull_to_data(result, batch.blurry, batch.kernel, batch.sigma, log_strength.exp())


def _improve(
    pair: Pair,
    unet: UNet,
    batch: _Batch,
    deconvolved: list[torch.Tensor],
    tile: int,
    wanted: Window | None = None,
) -> Generator[None, None, torch.Tensor]:
    """What the U-Net makes of the images, tile by tile; 0 where it is not wanted.

    That is a change of the first deconvolved image if there are any.
    """
    result = torch.zeros_like(batch.blurry, memory_format=torch.contiguous_format)
    for part in plan_unet(pair, (result.shape[-2], result.shape[-1]), tile, wanted):
        made = _improve_tile(pair, unet, batch, deconvolved, part)
        result[..., *part.owned] = made[..., *part.inner]
        yield
    return result


@torch.inference_mode()
def _improve_tile(
    pair: Pair, unet: UNet, batch: _Batch, deconvolved: list[torch.Tensor], part: Tile
) -> torch.Tensor:
    """The result for the tile's whole window."""
    images = [image[..., *part.source] for image in (batch.blurry, *deconvolved)]
    height, width = images[0].shape[-2:]
    return unet(pair.synthesis.stack(images, batch.sigma))[..., :height, :width].float()


def _planes(sharp: torch.Tensor, channels: int) -> torch.Tensor:
    """(B, c, h, w) as (channels, h, w)."""
    if sharp.shape[1] == 3 and channels == 1:
        sharp = sharp.mean(dim=1, keepdim=True)
    return sharp.flatten(0, 1)
