"""Benchmark images as they are: channels first, on the nominal range of their file.

Unlike `engine`, nothing is stretched to the image's own range, because the published
figures refer to the nominal one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_deblur.errors import FileError
from napari_deblur.files.images import read_image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["channels_first", "channels_last", "read_picture"]


def read_picture(path: Path) -> NDArray[np.float32]:
    """Read a grey or RGB image file.

    Returns
    -------
    numpy.ndarray
        ``(C, H, W)`` float32 with C = 1 or 3; the dtype's maximum becomes 1, floats are
        kept as they are.  An alpha channel is dropped.

    Raises
    ------
    FileError
        If the file cannot be read or holds no single grey or RGB image.
    """
    array = read_image(path).array
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in (1, 3, 4))):
        raise FileError(
            f"'{path}' holds an array of shape {array.shape}; "
            "benchmarks need one grey (H, W) or RGB (H, W, 3) image in each file"
        )
    if array.dtype.kind not in "uf":
        raise FileError(
            f"'{path}' holds {array.dtype} values; benchmarks need unsigned integers or floats"
        )
    scale = np.iinfo(array.dtype).max if array.dtype.kind == "u" else 1
    return channels_first(
        array[..., :3].astype(np.float64) / scale
        if array.ndim == 3
        else array.astype(np.float64) / scale
    )


def channels_first(image: NDArray[np.floating]) -> NDArray[np.float32]:
    """``(H, W)`` or ``(H, W, C)`` to contiguous float32 ``(C, H, W)``."""
    planes = image[None] if image.ndim == 2 else np.moveaxis(image, -1, 0)
    return np.ascontiguousarray(planes, dtype=np.float32)


def channels_last(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """``(C, H, W)`` to ``(H, W)`` for one channel and ``(H, W, C)`` for more."""
    return image[0] if image.shape[0] == 1 else np.moveaxis(image, 0, -1)
