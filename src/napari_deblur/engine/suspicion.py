"""A quick look, on a small image, whether blur reaches beyond the kernel that was found.

Where it does, the coarse scales of the search for large kernels show it at once: what they find
there reaches beyond the small support, and needs far fewer edges than what was found on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from napari_deblur.blur.alternation import Schedule, resize_kernel, straight_start
from napari_deblur.blur.pyramid import plan_scales
from napari_deblur.engine.comparison import share_beyond
from napari_deblur.engine.refinement import improve_at
from napari_deblur.engine.starts import Path, first_of
from napari_deblur.engine.views import LITTLE_RESIDUAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from napari_deblur.blur.pyramid import Scale
    from napari_deblur.engine.views import Views

__all__ = ["reaches_beyond"]

_FACTOR: Final = 0.175  # of the image that is looked at
_ENTERS: Final = 0.25  # where the network's kernel comes in, of the size at which it was found
_STRICTER: Final = 2.5
# Share of a kernel outside the small support, and cost relative to that of what was found there.
# Of 32 images of Levin and 7 of Lai with small blur none costs below 0.977 with so much outside;
# of 11 of Lai with large blur that a search finds, ten cost up to 0.954, one 0.981.
_LEAST_SHARE_BEYOND: Final = 0.1
_MUCH_CHEAPER: Final = 0.965


def reaches_beyond(
    views: Views,
    found: NDArray[np.float32],
    start: NDArray[np.float32],
    factor: float,
    size: int,
    rounds: int,
) -> bool:
    """Whether frames show blur that reaches beyond the support of a kernel.

    Parameters
    ----------
    views : Views
        What is looked at of the frames.
    found : ndarray, shape (m, m)
        The kernel.
    start : ndarray, shape (n, n)
        The network's kernel of the images shrunk by `factor`.
    factor : float
        Below 1.
    size : int
        Side in pixels of the largest kernel that is thought of, odd.
    rounds : int
        On each scale.
    """
    scales = plan_scales(size)
    last = first_of(scales, _FACTOR)
    scale = scales[last]
    small = views.at(scale)
    side = _odd_within(found.shape[-1] * scale.factor)
    known = small.energy(resize_kernel(found, scale.factor, scale.kernel_size), LITTLE_RESIDUAL)
    for path in _starts(start, factor, scales, Schedule(rounds=rounds)):
        kernel = path.kernel
        for number in range(path.scale, last + 1):
            kernel = improve_at(views, kernel, scales, number, path.schedule)
        if share_beyond(kernel, side) < _LEAST_SHARE_BEYOND:
            continue
        if small.energy(kernel, LITTLE_RESIDUAL) < _MUCH_CHEAPER * known:
            return True
    return False


def _starts(
    start: NDArray[np.float32], factor: float, scales: Sequence[Scale], schedule: Schedule
) -> Iterator[Path]:
    """From the network's kernel, and from nothing."""
    number = first_of(scales, _ENTERS * factor)
    scale = scales[number]
    coarse = resize_kernel(start, scale.factor / factor, scale.kernel_size)
    yield Path(coarse, number, replace(schedule, sparsity=_STRICTER * schedule.sparsity))
    yield Path(straight_start(scales[0].kernel_size, (1, 1)), 0, schedule)


def _odd_within(length: float) -> int:
    """The largest odd whole number that is not above `length`, at least 1."""
    whole = max(1, int(length))
    return whole - 1 + whole % 2
