"""True kernels beside those found, in a file that training reads (`training.kernel_pairs`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage, optimize

from napari_deblur.blur.kernel import check_kernel, resize_kernel_support
from napari_deblur.errors import InputError
from napari_deblur.evaluation.metrics import kernel_similarity
from napari_deblur.files.atomic import atomic_path

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_deblur.evaluation.benchmark import KernelPair

__all__ = ["align_truth", "write_pairs"]

_LEAST_SIMILARITY = 0.6
"""Below it a search has failed, and its kernel teaches a restoration nothing."""

_LARGEST_SHIFT = 4
_STEP = 0.02


def align_truth(true: NDArray[np.float32], found: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shift a true kernel to where the found one is most like it.

    The true one, because a found kernel is centred as the networks expect it; the sharp image that
    goes with the true one shifts with it.

    Parameters
    ----------
    true, found
        ``(m, m)``, sum 1.

    Returns
    -------
    NDArray of float32, shape (m, m)
        Sum 1; a shift by parts of a pixel is interpolated by cubic splines.
    """

    def moved(shift: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(ndimage.shift(true.astype(np.float64), shift, order=3))

    def unlike(shift: NDArray[np.float64]) -> float:
        other = moved(shift)
        norm = np.sqrt(np.square(other).sum() * np.square(found).sum())
        return -float((other * found).sum() / norm) if norm > 0 else 0.0

    whole = range(-_LARGEST_SHIFT, _LARGEST_SHIFT + 1)
    start = min((np.array([y, x], float) for y in whole for x in whole), key=unlike)
    around = start + np.array([[0, 0], [0.5, 0], [0, 0.5]])
    options = {"initial_simplex": around, "xatol": _STEP, "fatol": _STEP**2}
    best = optimize.minimize(unlike, start, method="Nelder-Mead", options=options)
    return check_kernel(moved(best.x).clip(min=0))


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
