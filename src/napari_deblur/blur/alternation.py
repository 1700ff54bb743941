"""Blind deconvolution by turns: an image of strong edges for the kernel, a kernel for the edges.

One scale of the coarse-to-fine scheme of Cho and Lee (SIGGRAPH Asia 2009), Xu, Zheng and Jia (CVPR
2013) and Pan et al. (CVPR 2014).  Several images may share one kernel: their normal equations are
added up.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from napari_deblur.blur.edges import differences, sparse_edges, strongest_of_all
from napari_deblur.blur.forward import convolve
from napari_deblur.blur.kernel_step import FLOOR, clean_kernel, normal_equations, solve_kernel
from napari_deblur.blur.saturation import fill_clipped

__all__ = [
    "EDGES_OF_NOISE",
    "EDGE_COST",
    "Schedule",
    "alternate",
    "alternate_each",
    "energies",
    "energy",
    "resize_kernel",
    "straight_start",
    "unclipped",
]

EDGE_COST: Final = 3e-4
"""What an edge costs when explanations are compared, where there is little noise."""

EDGES_OF_NOISE: Final = 3.0
"""An edge of the image that a kernel is read from costs at least so many variances of the noise."""

# The squared gradient that makes an edge.
_LEAST_EDGE = 1e-6
# Clipped pixels are predicted anew in every round.  More is worse while the kernel is wrong.
_FILLING = 3


@dataclass(frozen=True)
class Schedule:
    """What changes from round to round, found on photographs blurred with known kernels.

    Attributes
    ----------
    rounds : int
        Rounds on each scale.
    sparsity : float
        Penalty on edges in the very first round of the coarsest scale (see `sparse_edges`).
    decay : float
        By what it is divided from one scale to the next.
    smallest_sparsity : float
        Where it stops falling.
    shares : (float, float)
        Share of the gradients that the kernel is solved from, in a scale's first and last round.
    ridge : float
        See `solve_kernel`.
    latent : callable
        Makes the image of few edges that the kernel is read from, of a blurry image, a kernel and
        the penalty: `sparse_edges`, or `napari_deblur.blur.marks.sparse_marks` with a paper.
    """

    rounds: int = 5
    sparsity: float = 4e-3
    decay: float = 1.6
    smallest_sparsity: float = 1e-4
    shares: tuple[float, float] = (0.1, 0.2)
    ridge: float = 1e-2
    latent: Callable[[Tensor, Tensor, float], Tensor] = sparse_edges

    def sparsity_at(self, scale: int, turn: int) -> float:
        """Penalty on edges at a scale (0 is the coarsest) in one of its rounds."""
        elapsed = scale + turn / self.rounds
        falling: float = self.sparsity / self.decay**elapsed
        return max(falling, self.smallest_sparsity)

    def share_at(self, turn: int) -> float:
        """Share of the gradients that count in a round."""
        first, last = self.shares
        return first + (last - first) * turn / max(1, self.rounds - 1)


def alternate(
    images: Sequence[Tensor],
    kernel: NDArray[np.float32],
    scale: int,
    schedule: Schedule,
    *,
    clipped: Sequence[Tensor] | None = None,
    last_floor: float = FLOOR,
) -> NDArray[np.float32]:
    """Improve a kernel on one scale.

    Parameters
    ----------
    images : sequence of Tensor, each of shape (1, 1, H, W)
        Blurry luma in [0, 1] at this scale; all blurred with the same kernel.
    kernel : ndarray, shape (m, m)
        Where to start.
    scale : int
        Number of the scale, 0 for the coarsest.
    schedule : Schedule
        How often, and how strictly.
    clipped : sequence of Tensor of bool, each of shape (1, 1, H, W), optional
        Saturated pixels of each image.  They count as what the kernel at hand predicts there from
        the others (see `napari_deblur.blur.saturation.fill_clipped`).
    last_floor : float
        Share of the peak below which values go after the last round (see `clean_kernel`).  Rounds
        that others follow need more, as they make noise of their start grow.

    Returns
    -------
    ndarray, shape (m, m), float32
        Non-negative, sum 1, its centroid in the middle pixel.
    """
    turns = range(schedule.rounds)
    improved = alternate_each(
        images, kernel[None], scale, schedule, turns, clipped=clipped, last_floor=last_floor
    )
    return np.asarray(improved[0])


def alternate_each(
    images: Sequence[Tensor],
    kernels: NDArray[np.float32],
    scale: int,
    schedule: Schedule,
    turns: Sequence[int],
    *,
    clipped: Sequence[Tensor] | None = None,
    last_floor: float = FLOOR,
) -> NDArray[np.float32]:
    """Improve several kernels on one scale, each on its own: small images go faster together.

    Parameters
    ----------
    images, scale, clipped
        See `alternate`.
    kernels : ndarray, shape (n, m, m)
        Where to start.
    schedule : Schedule
        How strictly.
    turns : sequence of int
        Which of the schedule's rounds.
    last_floor : float
        As for `alternate`, after the last round of the schedule.

    Returns
    -------
    ndarray, shape (n, m, m), float32
    """
    size = kernels.shape[-1]
    for turn in turns:
        batch = torch.from_numpy(kernels).to(images[0])
        sparsity, share = schedule.sparsity_at(scale, turn), schedule.share_at(turn)
        blurry = unclipped(_repeated(images, len(kernels)), batch, clipped)
        edges = strongest_of_all([schedule.latent(each, batch, sparsity) for each in blurry], share)
        equations = [
            normal_equations(sharp, differences(image), size)
            for sharp, image in zip(edges, blurry, strict=True)
        ]
        solved = solve_kernel(functools.reduce(operator.add, equations), schedule.ridge)
        floor = last_floor if turn == schedule.rounds - 1 else FLOOR
        kernels = np.stack([clean_kernel(each, floor=floor) for each in solved.cpu().numpy()])
    return kernels


def _repeated(images: Sequence[Tensor], count: int) -> list[Tensor]:
    """Each image (1, 1, H, W) as a batch, one for each kernel."""
    return [image.expand(count, -1, -1, -1) for image in images]


def unclipped(
    images: Sequence[Tensor], kernel: Tensor, clipped: Sequence[Tensor] | None
) -> list[Tensor]:
    """Predict the saturated pixels of images (B, 1, H, W) from the others by a kernel (B, m, m)."""
    if clipped is None:
        return list(images)
    return [
        fill_clipped(image, kernel, mask.expand(image.shape), rounds=_FILLING)
        for image, mask in zip(images, clipped, strict=True)
    ]


@torch.no_grad()
def energy(
    images: Sequence[Tensor],
    kernel: NDArray[np.float32],
    *,
    clipped: Sequence[Tensor] | None = None,
    sparsity: float = EDGE_COST,
    residual_weight: float = 1.0,
) -> float:
    """Cost of explaining blurry images by few edges and a kernel: the lower, the likelier.

    The mean over pixels of ``|k * x - b|^2 + sparsity |grad x|_0``, with x from `sparse_edges`,
    in units of 1e-4.  Unlike the energy of a restored image, which a kernel that is too smooth or
    too small always lowers (Levin et al., "Understanding and evaluating blind deconvolution
    algorithms", CVPR 2009), it tells: an image that stayed blurred needs many edges.  The margin
    that the scene outside the image reaches is left out.

    Parameters
    ----------
    images : sequence of Tensor, each of shape (1, 1, H, W)
        Blurry luma in [0, 1]; all blurred with the same kernel.
    kernel : ndarray, shape (m, m)
        The kernel in question.
    clipped : sequence of Tensor of bool, each of shape (1, 1, H, W), optional
        Saturated pixels, as for `alternate`.
    sparsity : float
        What an edge costs.
    residual_weight : float
        Of ``|k * x - b|^2``.  x makes up for the wrong part of a kernel with edges, so that nearly
        all of the evidence is in their number; a dot of a kernel, which leaves an image as it was,
        has a small residual.
    """
    found = energies(
        images, kernel[None], clipped=clipped, sparsity=sparsity, residual_weight=residual_weight
    )
    return float(found[0])


@torch.no_grad()
def energies(
    images: Sequence[Tensor],
    kernels: NDArray[np.float32],
    *,
    clipped: Sequence[Tensor] | None = None,
    sparsity: float = EDGE_COST,
    residual_weight: float = 1.0,
) -> NDArray[np.float64]:
    """`energy` of several kernels, which small images need less time for than one by one.

    Parameters
    ----------
    images, clipped, sparsity, residual_weight
        See `energy`.
    kernels : ndarray, shape (n, m, m)
        The kernels in question.

    Returns
    -------
    ndarray, shape (n,)
    """
    batch = torch.from_numpy(kernels).to(images[0])
    total, count = np.zeros(len(kernels)), 0
    for image in unclipped(_repeated(images, len(kernels)), batch, clipped):
        latent = sparse_edges(image, batch, sparsity)
        rest = convolve(latent, batch, boundary="replicate") - image
        margin = min(kernels.shape[-1] // 2, *(side // 6 for side in image.shape[-2:]))
        rows, columns = (slice(margin, side - margin) for side in image.shape[-2:])
        rest = rest[..., rows, columns]
        edges = differences(latent[..., rows, columns]).square().sum(dim=1) > _LEAST_EDGE
        residuals = rest.square().sum(dim=(1, 2, 3)).cpu().numpy()
        numbers = edges.sum(dim=(1, 2)).cpu().numpy()
        total += residual_weight * np.float64(residuals) + sparsity * np.float64(numbers)
        count += rest[0].numel()
    return 1e4 * total / count


def straight_start(size: int, direction: tuple[int, int] = (0, 1)) -> NDArray[np.float32]:
    """Return two neighbouring pixels: the least blur that is one, for a start from nothing.

    Parameters
    ----------
    size : int
        Side of the kernel, odd.
    direction : (int, int)
        From the first to the second pixel, rows and columns.
    """
    down, across = direction
    kernel = np.zeros((size, size), np.float32)
    middle = size // 2
    kernel[middle, middle] = kernel[middle + down, middle + across] = 0.5
    return kernel


def resize_kernel(kernel: NDArray[np.float32], factor: float, size: int) -> NDArray[np.float32]:
    """Scale a kernel by `factor` and cut it, or pad it with zeros, to (size, size).

    Returns
    -------
    ndarray, shape (size, size), float32
        Non-negative, sum 1.
    """
    side = max(1, round(kernel.shape[-1] * factor))
    side += 1 - side % 2
    scaled = functional.interpolate(
        torch.from_numpy(np.ascontiguousarray(kernel))[None, None],
        size=(side, side),
        mode="bicubic",
        antialias=True,
    )[0, 0].clamp_min(0)
    before = (size - side) // 2
    after = size - side - before
    fitted = functional.pad(scaled, (before, after, before, after))
    return (fitted / fitted.sum()).numpy()
