"""What the search for a kernel looks at: the busiest part of each frame, at any scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from scipy import ndimage

from napari_deblur.blur.alternation import EDGE_COST, EDGES_OF_NOISE, Schedule, energies
from napari_deblur.blur.noise import estimate_noise
from napari_deblur.blur.shrinking import shrink_clipped, shrink_image
from napari_deblur.engine.region import Region, busiest_part, luma
from napari_deblur.engine.tiles import spread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_deblur.blur.pyramid import Scale
    from napari_deblur.engine.layout import Picture

__all__ = ["LARGEST_VIEW", "LITTLE_RESIDUAL", "MOST_FRAMES", "Views", "look_at"]

LITTLE_RESIDUAL: Final = 0.1
"""What the residual counts where a dot may stand against a kernel: a dot leaves little of it."""

LARGEST_VIEW: Final = 1024
"""Side in pixels of what is read of an image at once."""

MOST_FRAMES: Final = 8
"""Of how many frames that share a kernel something is read."""

_LARGEST_STEP: Final = 512  # side in pixels of what one scale works on
# What an edge costs at least when kernels are compared, as a multiple of the noise's variance.  Up
# to a noise of 0.005 that changes nothing.
_COST_OF_NOISE: Final = 10.0


@dataclass(frozen=True)
class Views:
    """What is looked at of frames that share a kernel.

    Attributes
    ----------
    images : list of Tensor, each of shape (1, 1, h, w)
        Luma.
    clipped : list of Tensor of bool, each of shape (1, 1, h, w), or None
        Where it is clipped; None where no pixel of any frame is.
    variance : float
        That of the noise.
    largest : int
        Side in pixels of what is kept at most of an image at one scale.
    """

    images: list[torch.Tensor]
    clipped: list[torch.Tensor] | None
    variance: float
    largest: int = _LARGEST_STEP

    def whole(self) -> Views:
        """Return views of which every scale keeps all.

        The part with the strongest gradients, which is enough for small kernels, has the finest
        texture, too: where kernels are longer than its grain, it tells least of them.
        """
        return replace(self, largest=LARGEST_VIEW)

    def energy(self, kernel: NDArray[np.float32], residual_weight: float = 1.0) -> float:
        """Cost of explaining the frames by a kernel (see `napari_deblur.blur.alternation`)."""
        return float(self.energies(kernel[None], residual_weight)[0])

    def energies(
        self, kernels: NDArray[np.float32], residual_weight: float = 1.0
    ) -> NDArray[np.float64]:
        """Cost of explaining the frames by each of some kernels (n, m, m)."""
        return energies(
            self.images,
            kernels,
            clipped=self.clipped,
            sparsity=max(EDGE_COST, _COST_OF_NOISE * self.variance),
            residual_weight=residual_weight,
        )

    def follow(self, schedule: Schedule) -> Schedule:
        """Return a schedule in which noise makes no edges."""
        least = max(schedule.smallest_sparsity, EDGES_OF_NOISE * self.variance)
        return replace(schedule, smallest_sparsity=least)

    def at(self, scale: Scale) -> Views:
        """Return the views at a scale; of large ones the busiest part."""
        variance = self.variance * scale.factor**2  # a pixel is the mean of 1 / factor^2
        images = [shrink_image(view, scale.factor) for view in self.images]
        if self.clipped is None:
            parts = [_busiest(image, None, self.largest) for image in images]
            kept = [image[part] for image, part in zip(images, parts, strict=True)]
            return Views(kept, None, variance)
        masks = [shrink_clipped(mask, scale.factor) for mask in self.clipped]
        parts = [_busiest(*each, self.largest) for each in zip(images, masks, strict=True)]
        return Views(
            [image[part] for image, part in zip(images, parts, strict=True)],
            [mask[part] for mask, part in zip(masks, parts, strict=True)],
            variance,
        )


def look_at(frames: Sequence[tuple[Picture, Region]], device: torch.device) -> Views:
    """Read the part of each frame that is worked on; of many frames, some spread over all."""
    found = [_view(*frame) for frame in spread(frames, MOST_FRAMES)]
    images = [torch.from_numpy(values).to(device)[None, None] for values, _ in found]
    variance = float(np.mean([float(estimate_noise(image)) ** 2 for image in images]))
    if not any(mask.any() for _, mask in found):
        return Views(images, None, variance)
    masks = [torch.from_numpy(mask).to(device)[None, None] for _, mask in found]
    return Views(images, masks, variance)


def _view(picture: Picture, region: Region) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The window of the region with the strongest gradients, and where it is clipped."""
    best: tuple[NDArray[np.float32], NDArray[np.bool_]] | None = None
    most = -1.0
    for window in region.windows(LARGEST_VIEW):
        working = picture.read(window)
        clipped = picture.layout.clipped(working)
        values = region.fade(luma(working), window, LARGEST_VIEW // 64)
        mask = np.zeros(values.shape, bool)
        if clipped is not None:
            clipped.any(axis=0, out=mask)
        busy = float(_gradient_energy(values, mask).sum())
        if busy > most:
            best, most = (values, mask), busy
    if best is None:
        raise AssertionError("a region has at least one window")
    return best


def _busiest(view: torch.Tensor, clipped: torch.Tensor | None, largest: int) -> tuple[slice, ...]:
    """Index of the part, of limited size, where the gradients are strongest."""
    if max(view.shape[-2:]) <= largest:
        return (slice(None),) * 4
    mask = None if clipped is None else clipped[0, 0].cpu().numpy()
    strength = _gradient_energy(view[0, 0].cpu().numpy(), mask)
    return (slice(None), slice(None), *busiest_part(strength, largest))


def _gradient_energy(
    values: NDArray[np.float32], clipped: NDArray[np.bool_] | None
) -> NDArray[np.float32]:
    """Squared gradients; none where light was cut off, which makes edges that were not blurred."""
    down, across = np.gradient(values)
    strength = np.asarray(down**2 + across**2, np.float32)
    if clipped is not None:
        strength[ndimage.binary_dilation(clipped, np.ones((3, 3), bool))] = 0
    return strength
