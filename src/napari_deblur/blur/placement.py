"""Where a kernel lies: blur tells a kernel but for a shift, so two are compared in one place."""

from __future__ import annotations

from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy import ndimage, optimize

from napari_deblur.blur.kernel import check_kernel

__all__ = ["align_truth"]

_STEP: Final = 0.02  # pixels


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

    start = _whole_shift(true, found)
    around = start + np.array([[0, 0], [0.5, 0], [0, 0.5]])
    options = {"initial_simplex": around, "xatol": _STEP, "fatol": _STEP**2}
    best = optimize.minimize(unlike, start, method="Nelder-Mead", options=options)
    return check_kernel(moved(best.x).clip(min=0))


def _whole_shift(true: NDArray[np.float32], found: NDArray[np.float32]) -> NDArray[np.float64]:
    """Whole pixels, down and across, by which the true kernel covers the found one best."""
    grid = [scipy.fft.next_fast_len(2 * side - 1, real=True) for side in true.shape]
    spectra = [scipy.fft.rfft2(np.asarray(each, np.float64), grid) for each in (found, true)]
    products = scipy.fft.irfft2(spectra[0] * spectra[1].conj(), grid)
    lags = np.array(np.unravel_index(products.argmax(), products.shape))
    return np.where(lags > np.array(grid) // 2, lags - grid, lags).astype(np.float64)
