"""The motion of a rolling camera found from all parts of an image at once, from coarse to fine.

As in `refinement`, an image of few edges and a kernel are found by turns; but what the turns find
is one density of poses (see `napari_deblur.blur.motion`) that all patches share.  It starts as a
camera that did not roll, with the kernel of the whole image: that has the shifts roughly right,
while kernels of single cells err by more than a roll changes them.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_deblur.blur.alternation import Schedule, resize_kernel
from napari_deblur.blur.motion import MotionDensity, improve_density
from napari_deblur.blur.pyramid import Scale, plan_scales
from napari_deblur.engine.patches import Patch, equations, shrink

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["count_rolling_steps", "find_motion"]

_ENTERS = 0.25  # scale that the kernel of the whole comes in at: coarse enough to be corrected
_FINE = 0.6  # scale from which the patches are small


def count_rolling_steps(size: int) -> int:
    """Return in how many steps `find_motion` finds kernels of side `size`."""
    return len(_scales(size))


def find_motion(
    kernel: NDArray[np.float32],
    radius: float,
    coarse: Sequence[Patch],
    fine: Sequence[Patch],
    rounds: int,
) -> Generator[None, None, MotionDensity]:
    """Find the motion that blurred all patches; yields after each scale.

    Parameters
    ----------
    kernel : ndarray of shape (m, m), float32
        The one kernel that explains the whole image best.
    radius : float
        Distance in pixels between the optical axis and the image's corner.
    coarse, fine : sequence of Patch
        The image in large and in small parts, for the coarse and the fine scales: within a large
        part the kernel changes.
    rounds : int
        Rounds on each scale.
    """
    schedule = Schedule(rounds=rounds)
    scales = _scales(kernel.shape[-1])
    factor = scales[0][1].factor
    start = resize_kernel(kernel, factor, scales[0][1].kernel_size)
    density = MotionDensity.at_rest(start, radius * factor)
    for number, scale in scales:
        if scale.factor != factor:
            density = density.scaled(scale.factor / factor, scale.kernel_size)
            factor = scale.factor
        patches = [shrink(each, factor) for each in (fine if factor > _FINE else coarse)]
        for turn in range(rounds):
            density = _improved(density, patches, schedule, number, turn)
        yield
    return density


def _scales(size: int) -> list[tuple[int, Scale]]:
    """Scales that are worked on, with their numbers among all."""
    return [
        (number, scale)
        for number, scale in enumerate(plan_scales(size))
        if scale.factor > _ENTERS * 0.99
    ]


def _improved(
    density: MotionDensity, patches: Sequence[Patch], schedule: Schedule, scale: int, turn: int
) -> MotionDensity:
    """One round: edges with the kernels at hand, and the density that explains them best.

    It spreads to new poses once on each scale only; what spreads in every round is a cloud.
    """
    positions = np.array([each.position for each in patches])
    sparsity, share = schedule.sparsity_at(scale, turn), schedule.share_at(turn)
    found = [
        equations(patch, kernel, sparsity, share)
        for patch, kernel in zip(patches, density.kernels(positions), strict=True)
    ]
    auto, cross = (
        np.concatenate([getattr(each, name).cpu().numpy() for each in found]).astype(np.float64)
        for name in ("auto", "cross")
    )
    return improve_density(density, positions, auto, cross, ridge=schedule.ridge, grows=turn == 0)
