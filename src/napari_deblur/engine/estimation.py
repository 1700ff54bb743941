"""Kernel estimation: statistics pooled over windows and frames, then decoded once.

An image has one kernel.  The analysis network's lag statistics are averages over pixels, so they
are computed window by window and averaged, and so are those of several frames or channels that
share a kernel; memory does not grow with the image.  Windows count by their pixels times the
standard deviation of their gradients: a flat sky holds noise, not edges, and must not vote.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_deblur.blur.kernel import centre_kernel, delta_kernel
from napari_deblur.blur.shrinking import shrink_image
from napari_deblur.engine.progress import Progress
from napari_deblur.engine.region import Region, luma
from napari_deblur.engine.tiles import spread
from napari_deblur.errors import WeightsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_deblur.engine.layout import Picture
    from napari_deblur.engine.pair import Pair

__all__ = ["Estimate", "estimate"]


_MOST_PIXELS = 1 << 26  # statistics do not get better beyond this, only slower
_LEAST_CONTRAST = 1e-5  # standard deviation of gradients, in the working range; float32's rounding


@dataclass(frozen=True)
class Estimate:
    """An estimated kernel.

    Attributes
    ----------
    kernel : ndarray of shape (m, m), float32
        Centred, sum 1.  The kernel that changes nothing if there was nothing to see.
    informative : bool
        False if no window had any texture.
    corrected : bool
        Whether the correction network had the last word (see `napari_deblur.engine.correction`).
    """

    kernel: NDArray[np.float32]
    informative: bool
    corrected: bool = False


def estimate(
    pair: Pair, frames: Sequence[tuple[Picture, Region]], tile: int, factor: float = 1.0
) -> Generator[Progress, None, Estimate]:
    """Estimate the one kernel that blurred all frames.

    Parameters
    ----------
    pair : Pair
        Its analysis network is used.
    frames : sequence of (Picture, Region)
        Images, and the part of each that counts.
    tile : int
        Side of a window in pixels.
    factor : float
        At most 1: the images are shrunk by it first, for blur larger than the network knows.
        The kernel is that of the shrunk images.
    """
    windows = [
        (picture, region, window) for picture, region in frames for window in region.windows(tile)
    ]
    windows = spread(windows, max(len(frames), _MOST_PIXELS // tile**2))
    pooled: list[torch.Tensor] = []
    total = 0.0
    for done, (picture, region, window) in enumerate(windows):
        yield Progress("kernel", done, len(windows))
        values = luma(picture.read(window))
        values = _shrink(region.fade(values, window, pair.kernel_size // 2), factor)
        contrast = _contrast(values)
        if contrast <= _LEAST_CONTRAST:
            continue
        weight = values.size * contrast
        total += weight
        _pool(pooled, _statistics(pair, values), weight / total)
    result = _decode(pair, pooled) if pooled else None
    yield Progress("kernel", len(windows), len(windows))
    if result is None:
        return Estimate(delta_kernel(pair.kernel_size), informative=False)
    return Estimate(result, informative=True)


def _shrink(values: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    batch = torch.from_numpy(np.ascontiguousarray(values))[None, None]
    return np.asarray(shrink_image(batch, factor)[0, 0].numpy())


def _contrast(values: NDArray[np.float32]) -> float:
    """Standard deviation of the gradients of (h, w)."""
    down, across = np.diff(values, axis=0), np.diff(values, axis=1)
    return float(np.sqrt(down.var(dtype=np.float64) + across.var(dtype=np.float64)))


@torch.inference_mode()
def _statistics(pair: Pair, values: NDArray[np.float32]) -> list[torch.Tensor]:
    batch = torch.from_numpy(np.ascontiguousarray(values))[None, None].to(pair.device)
    with pair.autocast():
        return [maps.float() for maps in pair.analysis.statistics(batch)]


def _pool(pooled: list[torch.Tensor], new: list[torch.Tensor], share: float) -> None:
    """Running weighted mean: the newcomer gets its share of the weight so far."""
    if not pooled:
        pooled.extend(new)
        return
    for index, maps in enumerate(new):
        pooled[index] = torch.lerp(pooled[index], maps, share)


@torch.inference_mode()
def _decode(pair: Pair, pooled: list[torch.Tensor]) -> NDArray[np.float32]:
    # The maps are small, so full precision costs nothing here.
    kernel = pair.analysis.decode(pooled)[0].float().cpu().numpy()
    if not (np.isfinite(kernel).all() and kernel.min() >= 0 and kernel.sum() > 0):
        raise WeightsError(
            f"model {pair.name} gave a kernel that is none (range {kernel.min():g} to "
            f"{kernel.max():g}): its weights are damaged or untrained; choose another model"
        )
    return centre_kernel(kernel)
