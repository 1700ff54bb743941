"""A kernel improved on the image itself: alternation from coarse to fine, from several starts.

The analysis network sees the whole kernel at a glance but blurs it, and cannot always tell it from
its 180° rotation; the alternation is precise but ends wherever its start leads.  So it is started
from nothing, from the network's kernel and from that kernel turned round.  Before the last and
dearest scales the start that explains the image best is chosen (see
`napari_deblur.blur.alternation.energy`), and at the end the result is kept only if it explains the
image no worse than what the network had found.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

from napari_deblur.blur.alternation import (
    Schedule,
    alternate,
    energy,
    resize_kernel,
    straight_start,
)
from napari_deblur.blur.kernel import resize_kernel_support
from napari_deblur.blur.pyramid import Scale, plan_scales
from napari_deblur.defaults import DEFAULT_ROUNDS
from napari_deblur.engine.progress import Progress
from napari_deblur.engine.region import Region, luma

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_deblur.engine.layout import Picture

__all__ = ["DEFAULT_ROUNDS", "better_of", "refine_kernel"]

_LARGEST_VIEW = 1024  # side in pixels of what is read of an image
_LARGEST_STEP = 512  # side in pixels of what one scale works on
_MOST_FRAMES = 8
_CHOICE_FACTOR = 0.5  # the start is chosen once the image has half its size
_NETWORK_FACTOR = 0.25  # where the network's kernel comes in: coarse enough to be corrected

Images = list[torch.Tensor]


@dataclass(frozen=True)
class _Path:
    """A start: a kernel, and the number of the scale that it has and enters at."""

    kernel: NDArray[np.float32]
    scale: int


def refine_kernel(
    frames: Sequence[tuple[Picture, Region]],
    kernel: NDArray[np.float32],
    rounds: int,
    device: torch.device,
    *,
    factor: float = 1.0,
    size: int | None = None,
) -> Generator[Progress, None, NDArray[np.float32]]:
    """Improve the kernel that blurred all frames.

    Parameters
    ----------
    frames : sequence of (Picture, Region)
        Images, and the part of each that counts; of many, some that are spread over all.
    kernel : ndarray, shape (m, m)
        The network's kernel.
    rounds : int
        Rounds on each scale, 1 or more.
    device : torch.device
        Where to compute.
    factor : float
        Scale of the images that `kernel` was found on, relative to the frames; at most 1.
    size : int, optional
        Side of the kernel at full resolution, odd; that of `kernel` by default.

    Returns
    -------
    ndarray, shape (size, size), float32
        Sum 1; centroid in the middle pixel.
    """
    schedule = Schedule(rounds=rounds)
    views = _views(frames, device)
    scales = plan_scales(size or kernel.shape[-1])
    chosen_at = _first_of(scales, _CHOICE_FACTOR)
    paths = _paths(kernel, factor, scales)
    total = sum(chosen_at + 1 - path.scale for path in paths) + len(scales) - chosen_at - 1
    done = 0
    yield Progress("refine", done, total)

    arrived = []
    for path in paths:
        current = path.kernel
        for number in range(path.scale, chosen_at + 1):
            current = _at(views, current, scales, number, schedule)
            done += 1
            yield Progress("refine", done, total)
        arrived.append(current)
    images = _shrink(views, scales[chosen_at])
    current = min(arrived, key=lambda each: energy(images, each))

    for number in range(chosen_at + 1, len(scales)):
        current = _at(views, current, scales, number, schedule)
        done += 1
        yield Progress("refine", done, total)
    images = _shrink(views, scales[-1])
    start = resize_kernel(kernel, 1 / factor, scales[-1].kernel_size)
    return min((current, start), key=lambda each: energy(images, each))


def better_of(
    frames: Sequence[tuple[Picture, Region]],
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    device: torch.device,
) -> NDArray[np.float32]:
    """Of two kernels of any sizes the one that explains the frames better."""
    size = max(first.shape[-1], second.shape[-1])
    images = [_busiest(view, _LARGEST_STEP) for view in _views(frames, device)]
    # Padded to one size, so that both are judged on the same pixels.
    costs = [energy(images, resize_kernel_support(each, size)) for each in (first, second)]
    return first if costs[0] <= costs[1] else second


def _paths(kernel: NDArray[np.float32], factor: float, scales: Sequence[Scale]) -> list[_Path]:
    """Return the starts: from nothing, from the network's kernel either way up."""
    enters = _first_of(scales, _NETWORK_FACTOR * factor)
    scale = scales[enters]
    coarse = resize_kernel(kernel, scale.factor / factor, scale.kernel_size)
    turned = np.ascontiguousarray(coarse[::-1, ::-1])
    return [
        _Path(straight_start(scales[0].kernel_size), 0),
        _Path(coarse, enters),
        _Path(turned, enters),
    ]


def _first_of(scales: Sequence[Scale], factor: float) -> int:
    """Number of the first scale that is not coarser than `factor`."""
    return next(number for number, each in enumerate(scales) if each.factor > factor * 0.99)


def _at(
    views: Images,
    kernel: NDArray[np.float32],
    scales: Sequence[Scale],
    number: int,
    schedule: Schedule,
) -> NDArray[np.float32]:
    """One scale: bring the kernel to its size and improve it there."""
    scale = scales[number]
    if kernel.shape[-1] != scale.kernel_size:
        ratio = scale.factor / scales[number - 1].factor
        kernel = resize_kernel(kernel, ratio, scale.kernel_size)
    return alternate(_shrink(views, scale), kernel, number, schedule)


def _views(frames: Sequence[tuple[Picture, Region]], device: torch.device) -> Images:
    """Luma (1, 1, h, w) of the part of each frame that is worked on."""
    chosen = np.linspace(0, len(frames) - 1, min(len(frames), _MOST_FRAMES)).round().astype(int)
    return [torch.from_numpy(_view(*frames[index])).to(device)[None, None] for index in chosen]


def _view(picture: Picture, region: Region) -> NDArray[np.float32]:
    """The window of the region with the strongest gradients."""
    best: NDArray[np.float32] | None = None
    most = -1.0
    for window in region.windows(_LARGEST_VIEW):
        values = region.fade(luma(picture.read(window)), window, _LARGEST_VIEW // 64)
        energy = float(_gradient_energy(values).sum())
        if energy > most:
            best, most = values, energy
    if best is None:
        raise AssertionError("a region has at least one window")
    return best


def _shrink(views: Images, scale: Scale) -> Images:
    """Views at a scale; of large ones the busiest part."""
    return [_busiest(_resize(view, scale.factor), _LARGEST_STEP) for view in views]


def _resize(view: torch.Tensor, factor: float) -> torch.Tensor:
    if factor == 1:
        return view
    size = [max(1, round(side * factor)) for side in view.shape[-2:]]
    return functional.interpolate(view, size=size, mode="bilinear", antialias=True)


def _busiest(view: torch.Tensor, side: int) -> torch.Tensor:
    """At most `side` x `side` pixels, where the gradients are strongest."""
    height, width = (min(side, length) for length in view.shape[-2:])
    if (height, width) == tuple(view.shape[-2:]):
        return view
    energy = _gradient_energy(view[0, 0].cpu().numpy())
    sums = ndimage.uniform_filter(energy, (height, width), mode="constant")
    rows = slice(height // 2, energy.shape[0] - (height - 1) // 2)
    columns = slice(width // 2, energy.shape[1] - (width - 1) // 2)
    valid = sums[rows, columns]
    top, left = np.unravel_index(int(valid.argmax()), valid.shape)
    return view[..., top : top + height, left : left + width]


def _gradient_energy(values: NDArray[np.float32]) -> NDArray[np.float32]:
    down, across = np.gradient(values)
    return np.asarray(down**2 + across**2, np.float32)
