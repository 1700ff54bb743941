"""One plane of a layer as an array that the engine reads piece by piece.

Neither Qt nor torch here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_deblur.plugin.slices import Index, LayerView

__all__ = ["PlaneSource"]


@dataclass(frozen=True, eq=False)
class PlaneSource:
    """One plane as an array that is read only where it is indexed.

    For planes that are looked at together, of which only parts are to be in memory at a time.
    """

    view: LayerView
    index: Index

    @property
    def shape(self) -> tuple[int, ...]:
        """(Y, X) with the channels where the view's `plane_channel_axis` says."""
        shape = list(self.view.size)
        axis = self.view.plane_channel_axis
        if axis is not None and self.view.channel_axis is not None:
            shape.insert(axis, self.view.shape[self.view.channel_axis])
        return tuple(shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.view.dtype

    def __getitem__(self, key: tuple[slice, ...]) -> NDArray[Any]:
        spatial = [part for axis, part in enumerate(key) if axis != self.view.plane_channel_axis]
        return self.view.plane(self.index, (spatial[0], spatial[1]))
