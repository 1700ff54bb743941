"""True kernels beside those found, in a file that training reads (`training.kernel_pairs`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_deblur.blur.kernel import resize_kernel_support
from napari_deblur.blur.placement import align_truth
from napari_deblur.errors import InputError
from napari_deblur.evaluation.metrics import kernel_similarity
from napari_deblur.files.atomic import atomic_path

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from napari_deblur.evaluation.benchmark import KernelPair

__all__ = ["write_pairs"]

_LEAST_SIMILARITY = 0.6
"""Below it a search has failed, and its kernel teaches a restoration nothing."""


def write_pairs(path: Path, pairs: Iterable[KernelPair | None]) -> tuple[int, int]:
    """Write arrays ``true`` and ``found``, (n, m, m) float32, into an .npz file.

    Parameters
    ----------
    path
        The file.
    pairs
        Those of `napari_deblur.evaluation.benchmark.Row`.  Failures, where the two are less alike
        than 0.6, are left out.

    Returns
    -------
    kept, all : int
        How many pairs were written, of how many.

    Raises
    ------
    InputError
        If no pair is left.
    """
    every = [pair for pair in pairs if pair is not None]
    good = [p for p in every if kernel_similarity(p.found, p.true) >= _LEAST_SIMILARITY]
    if not good:
        raise InputError(
            f"None of {len(every)} kernels found is like the true one (similarity of "
            f"{_LEAST_SIMILARITY} or more), so there are no pairs to write; give sharper images, "
            "smaller kernels or less noise"
        )
    side = max(kernel.shape[-1] for pair in good for kernel in (pair.true, pair.found))
    true, found = (
        np.stack([resize_kernel_support(kernel, side) for kernel in kernels])
        for kernels in ([p.true for p in good], [p.found for p in good])
    )
    aligned = np.stack([align_truth(*pair) for pair in zip(true, found, strict=True)])
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, true=aligned, found=found)
    return len(good), len(every)
