"""Scales at which a kernel is estimated, from coarse to fine: pure geometry."""

from __future__ import annotations

from dataclasses import dataclass

from napari_deblur.blur.kernel import check_side

__all__ = ["Scale", "odd_side", "plan_scales"]

#: Between neighbouring scales the kernel changes little enough to be followed.
RATIO = 0.5**0.5
#: At the coarsest scale a kernel has hardly any shape left that could be wrong.
COARSEST_SIDE = 5


@dataclass(frozen=True)
class Scale:
    """One level.

    Attributes
    ----------
    factor : float
        Size of the image relative to full resolution, at most 1.
    kernel_size : int
        Side of the kernel in pixels of this scale, odd.
    """

    factor: float
    kernel_size: int


def odd_side(length: float) -> int:
    """Return the smallest odd whole number that is at least `length` and 3."""
    side = max(3, -int(-length // 1))
    return side + 1 - side % 2


def plan_scales(kernel_size: int) -> tuple[Scale, ...]:
    """Scales for kernels of up to `kernel_size` pixels, coarsest first, each wider by sqrt(2).

    Parameters
    ----------
    kernel_size : int
        Side of the kernel at full resolution, odd.

    Raises
    ------
    KernelError
        If `kernel_size` is not odd and positive.
    """
    check_side(kernel_size, name="kernel_size")
    factors = [1.0]
    while kernel_size * factors[-1] * RATIO >= COARSEST_SIDE:
        factors.append(factors[-1] * RATIO)
    return tuple(Scale(factor, odd_side(kernel_size * factor)) for factor in reversed(factors))
