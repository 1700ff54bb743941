"""The motion of a rolling camera found from all parts of an image at once, from coarse to fine.

As in `refinement`, an image of few edges and a kernel are found by turns; but what the turns find
is one density of poses (see `napari_deblur.blur.motion`) that all patches share.  At the finer
scales the patches are small, because within a large one the kernel changes.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np

from napari_deblur.blur.alternation import Schedule
from napari_deblur.blur.motion import MotionDensity, improve_density
from napari_deblur.blur.pyramid import plan_scales
from napari_deblur.engine.patches import Patch, equations, shrink

__all__ = ["count_rolling_steps", "find_motion"]

_ENTERS = 0.25  # scale that the network's kernels come in at: coarse enough to be corrected
_FINE = 0.4  # scale from which the patches are small


def count_rolling_steps(size: int) -> int:
    """Return in how many steps `find_motion` finds kernels of side `size`."""
    return sum(each.factor > _ENTERS * 0.99 for each in plan_scales(size))


def find_motion(
    start: MotionDensity,
    size: int,
    coarse: Sequence[Patch],
    fine: Sequence[Patch],
    rounds: int,
) -> Generator[None, None, MotionDensity]:
    """Find the motion that blurred all patches; yields after each scale.

    Parameters
    ----------
    start : MotionDensity
        Where to start, at any scale: its side tells which.
    size : int
        Side of the kernels in pixels.
    coarse, fine : sequence of Patch
        The image in large and in small parts.
    rounds : int
        Rounds on each scale.
    """
    schedule = Schedule(rounds=rounds)
    density, factor = start, start.size / size
    for number, scale in enumerate(plan_scales(size)):
        if scale.factor <= _ENTERS * 0.99:
            continue
        density = density.scaled(scale.factor / factor, scale.kernel_size)
        factor = scale.factor
        patches = [shrink(each, factor) for each in (fine if factor > _FINE else coarse)]
        positions = np.array([each.position for each in patches])
        for turn in range(rounds):
            sparsity, share = schedule.sparsity_at(number, turn), schedule.share_at(turn)
            found = [
                equations(patch, kernel, sparsity, share)
                for patch, kernel in zip(patches, density.kernels(positions), strict=True)
            ]
            auto, cross = (
                np.concatenate([getattr(each, name).cpu().numpy() for each in found])
                for name in ("auto", "cross")
            )
            density = improve_density(
                density,
                positions,
                auto.astype(np.float64),
                cross.astype(np.float64),
                ridge=schedule.ridge,
            )
        yield
    return density
