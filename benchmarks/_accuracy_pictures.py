"""Pictures of the accuracy report: kernels found beside the true ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_deblur.blur.kernel import centre_kernel, resize_kernel_support
from napari_deblur.files.images import write_image

_GAP = 2  # pixels of a kernel
_ZOOM = 3
_EMPTY = 64


def kernel_montage(
    path: Path, rows: Sequence[Sequence[Any]], size: int, *, truth: bool = True
) -> None:
    """Draw rows of kernels, None where there is none, each scaled to its peak.

    With `truth` the first row is set apart: the true kernels.
    """
    drawn = []
    for number, row in enumerate(rows):
        tiles = [np.pad(_tile(kernel, size), _GAP, constant_values=255) for kernel in row]
        strip = np.concatenate(tiles, axis=1)
        drawn.append(
            np.pad(
                strip, ((0, 3 * _GAP if truth and number == 0 else 0), (0, 0)), constant_values=255
            )
        )
    picture = np.concatenate(drawn).repeat(_ZOOM, axis=0).repeat(_ZOOM, axis=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, picture.astype(np.uint8))


def _tile(kernel: Any, size: int) -> Any:
    if kernel is None:
        return np.full((size, size), _EMPTY, np.uint8)
    # Room first: what centring moves must not fall out.
    kernel = resize_kernel_support(kernel, max(size, kernel.shape[-1]) + 8)
    kernel = resize_kernel_support(centre_kernel(kernel), size)
    return np.rint(255 * np.sqrt(kernel / kernel.max())).astype(np.uint8)
