"""Room for results: in memory, or in a file that nobody sees where the memory is too small.

Neither Qt nor, before it is called, torch here.
"""

from __future__ import annotations

import math
import tempfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["room_for"]

_SHARE = 0.5  # of the free memory that one result may take


def room_for(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Zeros of a shape, mapped from an unnamed file where they would fill the memory.

    The file is in the system's folder for temporary files and goes with the array.

    Parameters
    ----------
    shape : tuple of int
        Shape of the result.
    dtype : dtype
        Type of its values.
    """
    import torch

    from napari_deblur.engine.devices import free_memory

    size = math.prod(shape) * dtype.itemsize
    if size <= _SHARE * free_memory(torch.device("cpu")):
        return np.zeros(shape, dtype)
    with tempfile.TemporaryFile(prefix="napari-deblur-") as file:
        return np.memmap(file, dtype=dtype, mode="w+", shape=shape)
