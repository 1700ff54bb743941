"""Kernels of one blur, found at several sizes, compared."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final

from napari_deblur.blur.kernel import resize_kernel_support
from napari_deblur.blur.pyramid import Scale
from napari_deblur.engine.views import Views, look_at

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from napari_deblur.engine.layout import Picture
    from napari_deblur.engine.region import Region

__all__ = ["Comparison"]

# What is looked for on too small a support is a dot, which leaves little residual.
_RESIDUAL_WEIGHT: Final = 0.1


class Comparison:
    """Which of two kernels explains frames better.

    Parameters
    ----------
    frames : sequence of (Picture, Region)
        Images, and the part of each that counts; read once, at the first comparison.
    device : torch.device
        Where to compute.
    """

    def __init__(self, frames: Sequence[tuple[Picture, Region]], device: torch.device) -> None:
        self._frames = frames
        self._device = device

    @cached_property
    def _views(self) -> Views:
        return look_at(self._frames, self._device)

    def better(
        self, first: NDArray[np.float32], second: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return that of two kernels, of any sizes, which needs the fewer edges."""
        size = max(first.shape[-1], second.shape[-1])
        views = self._views.at(Scale(1.0, size))
        # Padded to one size, so that both are judged on the same pixels.
        costs = [
            views.energy(resize_kernel_support(each, size), _RESIDUAL_WEIGHT)
            for each in (first, second)
        ]
        return first if costs[0] <= costs[1] else second
