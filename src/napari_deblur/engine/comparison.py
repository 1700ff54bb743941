"""Kernels of one blur, found at several sizes, compared."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final

from napari_deblur.blur.kernel import delta_kernel, resize_kernel_support
from napari_deblur.blur.likeness import kernel_likeness
from napari_deblur.blur.pyramid import Scale
from napari_deblur.engine.views import LITTLE_RESIDUAL, Views, look_at

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from napari_deblur.engine.layout import Picture
    from napari_deblur.engine.region import Region

__all__ = ["Comparison", "share_beyond"]

# A kernel reaches beyond a support if more of it lies outside.
_LARGEST_SHARE_BEYOND: Final = 0.02
# Normalised correlation from which both searches found the same kernel, more or less precisely.
_ALIKE: Final = 0.8
# Costs that differ by less do not tell such kernels apart.
_MUCH_CHEAPER: Final = 0.97
# A kernel that is right saves more of what it costs to take the frames for sharp.  Small ones cost
# 0.929 of that at most on 32 images of Levin and 11 of Lai; large ones mostly less than 0.98.
_HARDLY_CHEAPER: Final = 0.98
_HARDLY_CHEAPER_SMALL: Final = 0.935


class Comparison:
    """Which kernels explain frames better.

    Parameters
    ----------
    frames : sequence of (Picture, Region)
        Images, and the part of each that counts; read once, when they are first needed.
    precise : int
        Side of the largest kernels that the network sees at full size.
    device : torch.device
        Where to compute.
    """

    def __init__(
        self,
        frames: Sequence[tuple[Picture, Region]],
        precise: int,
        device: torch.device,
    ) -> None:
        self._frames = frames
        self.precise = precise
        self._device = device

    @cached_property
    def views(self) -> Views:
        """What is looked at of the frames."""
        return look_at(self._frames, self._device)

    def fits(self, kernel: NDArray[np.float32], size: int) -> bool:
        """Whether a kernel needs no more than a support of `size` pixels a side."""
        return share_beyond(kernel, size) <= _LARGEST_SHARE_BEYOND

    def explains_little(self, kernel: NDArray[np.float32]) -> bool:
        """Whether a kernel (m, m) explains the frames hardly better than no blur would.

        Kernels that are wrong often do, and hardly any that is right; nor does any on an image that
        is sharp.
        """
        side = kernel.shape[-1]
        cost, sharp = self._costs((kernel, delta_kernel(side)))
        return cost > sharp * (_HARDLY_CHEAPER if side > self.precise else _HARDLY_CHEAPER_SMALL)

    def much_better(self, other: NDArray[np.float32], kernel: NDArray[np.float32]) -> bool:
        """Whether another kernel, brought to the support of the first, explains far more."""
        side = kernel.shape[-1]
        if not self.fits(other, side):
            return False
        cost, before = self._costs((resize_kernel_support(other, side), kernel))
        return cost < _MUCH_CHEAPER * before

    def wider_is_better(self, narrower: NDArray[np.float32], wider: NDArray[np.float32]) -> bool:
        """Whether of two kernels the one that was looked for on the wider support is believed.

        It is if it needs fewer edges.  But one much like the other kernel that fits the narrower
        support, where the network sees it at full size and the search is the more precise one, must
        need far fewer: how few edges tells no better.
        """
        side = narrower.shape[-1]
        alike = (
            side <= self.precise
            and self.fits(wider, side)
            and kernel_likeness(narrower, wider) > _ALIKE
        )
        # On one support, so that both are judged on the same pixels: on a small one, more of them.
        size = side if alike else wider.shape[-1]
        first, second = self._costs(
            [resize_kernel_support(each, size) for each in (narrower, wider)]
        )
        return second < first * (_MUCH_CHEAPER if alike else 1)

    def _costs(self, kernels: Sequence[NDArray[np.float32]]) -> list[float]:
        """What it costs to explain the frames by each of some kernels of one size."""
        views = self.views.at(Scale(1.0, kernels[0].shape[-1]))
        return [views.energy(each, LITTLE_RESIDUAL) for each in kernels]


def share_beyond(kernel: NDArray[np.float32], size: int) -> float:
    """Return the share of a kernel that lies outside the square of `size`, odd, in its middle."""
    rim = max(0, (kernel.shape[-1] - size) // 2)
    inner = kernel[rim:-rim, rim:-rim] if rim else kernel
    return 1 - float(inner.sum() / kernel.sum())
