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
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import ndimage

from napari_deblur.blur.alternation import (
    EDGE_COST,
    Schedule,
    alternate,
    energy,
    resize_kernel,
)
from napari_deblur.blur.kernel import resize_kernel_support
from napari_deblur.blur.kernel_step import FLOOR
from napari_deblur.blur.marks import paper_of
from napari_deblur.blur.noise import estimate_noise
from napari_deblur.blur.pyramid import Scale, plan_scales
from napari_deblur.defaults import DEFAULT_ROUNDS
from napari_deblur.engine.progress import Progress, count_up
from napari_deblur.engine.region import Region, busiest_part, luma
from napari_deblur.engine.shrinking import shrink_clipped, shrink_image
from napari_deblur.engine.starts import (
    Path,
    best_and_different,
    count_going_on,
    few_starts,
    first_of,
    going_on,
    many_starts,
)
from napari_deblur.engine.tiles import spread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_deblur.engine.layout import Picture

__all__ = ["DEFAULT_ROUNDS", "better_of", "refine_kernel"]

_LARGEST_VIEW = 1024  # side in pixels of what is read of an image
_LARGEST_STEP = 512  # side in pixels of what one scale works on
_MOST_FRAMES = 8
_CHOICE_FACTOR = 0.5  # the start is chosen once the image has half its size
# Share of the peak from which values of the result count, for kernels larger than the network's:
# their faint strokes carry low frequencies.  What is faint in smaller ones is noise as often.
_LAST_FLOOR = 0.01
# What an edge costs at least, as a multiple of the noise's variance, in the image that a kernel is
# read from and when kernels are compared.  Up to a noise of 0.005 that changes nothing.
_SPARSITY_OF_NOISE = 3.0
_COST_OF_NOISE = 10.0

# For kernels larger than the network's, of which it sees a shrunk image only: where many starts
# become few, how many (four on paper), and how much the residual counts when they are compared.
_CUT_FACTOR = 0.175
_KEPT = 3
_RESIDUAL_WEIGHT = 0.1


@dataclass(frozen=True)
class _Views:
    """What is looked at of the frames, (1, 1, h, w) each: luma, and where it is clipped.

    `clipped` is None where no pixel of any frame is; `variance` is that of the noise.
    """

    images: list[torch.Tensor]
    clipped: list[torch.Tensor] | None
    variance: float

    def energy(self, kernel: NDArray[np.float32], residual_weight: float = 1.0) -> float:
        return energy(
            self.images,
            kernel,
            clipped=self.clipped,
            sparsity=max(EDGE_COST, _COST_OF_NOISE * self.variance),
            residual_weight=residual_weight,
        )

    def follow(self, schedule: Schedule) -> Schedule:
        """A schedule in which noise makes no edges."""
        least = max(schedule.smallest_sparsity, _SPARSITY_OF_NOISE * self.variance)
        return replace(schedule, smallest_sparsity=least)


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
    chosen_at, last = first_of(scales, _CHOICE_FACTOR), len(scales) - 1
    if factor < 1:
        cut_at, kept, residual_weight = first_of(scales, _CUT_FACTOR), _KEPT, _RESIDUAL_WEIGHT
        last_floor = _LAST_FLOOR
        paper = paper_of(views.images)
        starts = many_starts(kernel, factor, scales, schedule, cut_at, paper)
    else:
        cut_at, kept, residual_weight = chosen_at, 1, 1.0
        last_floor = FLOOR
        paper = None
        starts = few_starts(kernel, scales, schedule)
    going = count_going_on(kept, paper)
    total = sum(cut_at + 1 - path.scale for path in starts)
    total += going * (chosen_at - cut_at) + last - chosen_at
    progress = count_up("refine", total)
    yield next(progress)

    def climb(path: Path, to: int) -> Generator[Progress, None, NDArray[np.float32]]:
        current = path.kernel
        for number in range(path.scale, to + 1):
            floor = last_floor if number == last else FLOOR
            current = _at(views, current, scales, number, path.schedule, floor)
            yield next(progress)
        return current

    def cost(kernel: NDArray[np.float32], number: int) -> float:
        return _shrink(views, scales[number]).energy(kernel, residual_weight)

    arrived = []
    for path in starts:
        current = yield from climb(path, cut_at)
        arrived.append(current)
    best = best_and_different(arrived, [cost(each, cut_at) for each in arrived], kept)
    paths = going_on(best, cut_at + 1, schedule, paper)
    arrived = []
    for path in paths:
        current = yield from climb(path, chosen_at)
        arrived.append(current)
    number = int(np.argmin([cost(each, chosen_at) for each in arrived]))
    current = yield from climb(
        replace(paths[number], kernel=arrived[number], scale=chosen_at + 1), last
    )
    side = scales[-1].kernel_size
    start = kernel if kernel.shape[-1] == side else resize_kernel(kernel, 1 / factor, side)
    return min((current, start), key=lambda each: cost(each, last))


def better_of(
    frames: Sequence[tuple[Picture, Region]],
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    device: torch.device,
) -> NDArray[np.float32]:
    """Of two kernels of any sizes the one that explains the frames better.

    Where one was looked for on too small a support it is a dot, so that the residual counts little.
    """
    size = max(first.shape[-1], second.shape[-1])
    views = _shrink(_views(frames, device), Scale(1.0, size))
    # Padded to one size, so that both are judged on the same pixels.
    costs = [
        views.energy(resize_kernel_support(each, size), _RESIDUAL_WEIGHT)
        for each in (first, second)
    ]
    return first if costs[0] <= costs[1] else second


def _at(
    views: _Views,
    kernel: NDArray[np.float32],
    scales: Sequence[Scale],
    number: int,
    schedule: Schedule,
    floor: float,
) -> NDArray[np.float32]:
    """One scale: bring the kernel to its size and improve it there."""
    scale = scales[number]
    if kernel.shape[-1] != scale.kernel_size:
        ratio = scale.factor / scales[number - 1].factor
        kernel = resize_kernel(kernel, ratio, scale.kernel_size)
    shrunk = _shrink(views, scale)
    schedule = shrunk.follow(schedule)
    return alternate(
        shrunk.images, kernel, number, schedule, clipped=shrunk.clipped, last_floor=floor
    )


def _views(frames: Sequence[tuple[Picture, Region]], device: torch.device) -> _Views:
    """The part of each frame that is worked on."""
    found = [_view(*frame) for frame in spread(frames, _MOST_FRAMES)]
    images = [torch.from_numpy(values).to(device)[None, None] for values, _ in found]
    variance = float(np.mean([float(estimate_noise(image)) ** 2 for image in images]))
    if not any(mask.any() for _, mask in found):
        return _Views(images, None, variance)
    masks = [torch.from_numpy(mask).to(device)[None, None] for _, mask in found]
    return _Views(images, masks, variance)


def _view(picture: Picture, region: Region) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The window of the region with the strongest gradients, and where it is clipped."""
    best: tuple[NDArray[np.float32], NDArray[np.bool_]] | None = None
    most = -1.0
    for window in region.windows(_LARGEST_VIEW):
        working = picture.read(window)
        clipped = picture.layout.clipped(working)
        values = region.fade(luma(working), window, _LARGEST_VIEW // 64)
        mask = np.zeros(values.shape, bool)
        if clipped is not None:
            clipped.any(axis=0, out=mask)
        busy = float(_gradient_energy(values, mask).sum())
        if busy > most:
            best, most = (values, mask), busy
    if best is None:
        raise AssertionError("a region has at least one window")
    return best


def _shrink(views: _Views, scale: Scale) -> _Views:
    """Views at a scale; of large ones the busiest part."""
    variance = views.variance * scale.factor**2  # a pixel is the mean of 1 / factor^2
    images = [shrink_image(view, scale.factor) for view in views.images]
    if views.clipped is None:
        return _Views([image[_busiest(image, None)] for image in images], None, variance)
    masks = [shrink_clipped(mask, scale.factor) for mask in views.clipped]
    parts = [_busiest(*each) for each in zip(images, masks, strict=True)]
    return _Views(
        [image[part] for image, part in zip(images, parts, strict=True)],
        [mask[part] for mask, part in zip(masks, parts, strict=True)],
        variance,
    )


def _busiest(view: torch.Tensor, clipped: torch.Tensor | None) -> tuple[slice, ...]:
    """Index of the part, of limited size, where the gradients are strongest."""
    if max(view.shape[-2:]) <= _LARGEST_STEP:
        return (slice(None),) * 4
    mask = None if clipped is None else clipped[0, 0].cpu().numpy()
    strength = _gradient_energy(view[0, 0].cpu().numpy(), mask)
    return (slice(None), slice(None), *busiest_part(strength, _LARGEST_STEP))


def _gradient_energy(
    values: NDArray[np.float32], clipped: NDArray[np.bool_] | None
) -> NDArray[np.float32]:
    """Squared gradients; none where light was cut off, which makes edges that were not blurred."""
    down, across = np.gradient(values)
    strength = np.asarray(down**2 + across**2, np.float32)
    if clipped is not None:
        strength[ndimage.binary_dilation(clipped, np.ones((3, 3), bool))] = 0
    return strength
