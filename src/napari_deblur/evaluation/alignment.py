"""Sub-pixel alignment of an estimate to the truth, as the benchmarks prescribe it.

A blind method finds image and kernel only up to a common shift.  The protocol of
Levin et al. (CVPR 2009), in the form that Ren et al. (SelfDeblur, CVPR 2020) use
for all published rows, therefore crops the truth, tries every shift of the
estimate on a quarter-pixel grid with bilinear interpolation, and keeps the shift
of least squared error.

Trying 1681 (±5 px) or 6561 (±10 px) interpolated images is slow.  A bilinear
sample is a weighted sum of four integer shifts, so its squared error is a
quadratic form of inner products between integer shifts.  Those are sums over a
sliding window (exact, from summed-area tables) and one cross-correlation with
the truth (FFT).  Both are computed in float64, and the result equals the
exhaustive search.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.signal

from napari_deblur.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Alignment", "align", "shift_bilinear", "squared_errors"]

# Offsets between the four corners of a bilinear cell, up to sign.
_CELL_LAGS = ((0, 0), (0, 1), (1, 0), (1, 1), (1, -1))


@dataclass(frozen=True)
class Alignment:
    """The estimate moved onto the truth, both cropped to what is compared.

    Attributes
    ----------
    estimate, sharp
        Float64 arrays of one shape ``(..., H - 2 crop, W - 2 crop)``.
    shift
        ``(dy, dx)`` in pixels: `estimate` at a pixel is the uncropped estimate at this
        offset from it.
    """

    estimate: NDArray[np.float64]
    sharp: NDArray[np.float64]
    shift: tuple[float, float]

    @property
    def squared_error(self) -> float:
        """Sum of squared differences over the compared area."""
        return float(np.sum((self.estimate - self.sharp) ** 2))


def align(
    estimate: ArrayLike,
    sharp: ArrayLike,
    *,
    crop: int = 15,
    largest: int = 5,
    steps_per_pixel: int = 4,
) -> Alignment:
    """Align `estimate` to `sharp` by exhaustive search on a sub-pixel grid.

    Parameters
    ----------
    estimate, sharp
        Images of one shape ``(H, W)`` or ``(C, H, W)``; channels share one shift.
    crop
        Pixels dropped on each side of `sharp`; at least `largest`.
    largest
        Largest shift in either direction, in pixels.  0 compares without moving.
    steps_per_pixel
        Grid points per pixel; 4 is the published 0.25-px grid.

    Returns
    -------
    Alignment
        The best shift and the two images there.  Of equal errors the one nearest to
        no shift wins.

    Raises
    ------
    InputError
        If shapes differ, or the images are too small for `crop`.

    References
    ----------
    Levin et al., "Understanding and evaluating blind deconvolution algorithms", CVPR 2009.
    Ren et al., "Neural blind deconvolution using deep priors", CVPR 2020.
    """
    source, truth = _checked(estimate, sharp, crop, largest, steps_per_pixel)
    errors = squared_errors(
        source, truth, crop=crop, largest=largest, steps_per_pixel=steps_per_pixel
    )
    grid = np.arange(-largest * steps_per_pixel, largest * steps_per_pixel + 1)
    distance = grid[:, None] ** 2 + grid[None, :] ** 2
    best = np.flatnonzero(errors == errors.min())
    chosen = best[np.argmin(distance.ravel()[best])]
    row, column = np.unravel_index(chosen, errors.shape)
    shift = (float(grid[row] / steps_per_pixel), float(grid[column] / steps_per_pixel))
    return Alignment(shift_bilinear(source, shift, crop), _window(truth, 0, 0, crop), shift)


def squared_errors(
    estimate: ArrayLike,
    sharp: ArrayLike,
    *,
    crop: int,
    largest: int,
    steps_per_pixel: int = 4,
) -> NDArray[np.float64]:
    """Squared error of every shift on the grid.

    Parameters are those of `align`.

    Returns
    -------
    numpy.ndarray
        ``(n, n)`` float64 with ``n = 2 * largest * steps_per_pixel + 1``; rows are
        vertical shifts from ``-largest`` to ``+largest``, columns horizontal ones.
    """
    source, truth = _checked(estimate, sharp, crop, largest, steps_per_pixel)
    # Errors do not change when both lose one constant, and rounding errors shrink.
    level = truth.mean()
    source, truth = source - level, _window(truth - level, 0, 0, crop)
    # One pixel beyond the last integer shift, so that every cell has four corners; its
    # weight is zero there, so the value does not matter.
    reach = largest + 1
    margin = [(0, 0)] * (source.ndim - 2) + [(1, 1)] * 2
    field = _window(np.pad(source, margin), 0, 0, crop + 1 - reach)
    products = _correlate(field, truth)
    energies = {lag: _window_products(field, lag, truth.shape) for lag in _CELL_LAGS}
    return _quadratic_form(products, energies, float(np.sum(truth**2)), largest, steps_per_pixel)


def shift_bilinear(
    image: NDArray[np.float64], shift: tuple[float, float], crop: int
) -> NDArray[np.float64]:
    """Sample `image` at an offset by bilinear interpolation and crop it.

    Parameters
    ----------
    image
        ``(..., H, W)``.
    shift
        ``(dy, dx)`` in pixels; the result at a pixel is `image` at that offset from it.
    crop
        Pixels dropped on each side; at least the size of the shift.
    """
    (top, down), (left, right) = (divmod(value, 1.0) for value in shift)
    weights = (
        (0, 0, (1 - down) * (1 - right)),
        (0, 1, (1 - down) * right),
        (1, 0, down * (1 - right)),
        (1, 1, down * right),
    )
    parts = [
        weight * _window(image, int(top) + dy, int(left) + dx, crop)
        for dy, dx, weight in weights
        if weight > 0
    ]
    return np.asarray(sum(parts), dtype=np.float64)


def _window(image: NDArray[np.float64], dy: int, dx: int, crop: int) -> NDArray[np.float64]:
    height, width = image.shape[-2:]
    return image[..., crop + dy : height - crop + dy, crop + dx : width - crop + dx]


def _correlate(field: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inner product of the truth with the field at every integer shift, summed over channels."""
    flipped = truth[..., ::-1, ::-1]
    planes: NDArray[np.float64] = scipy.signal.fftconvolve(
        field, flipped, mode="valid", axes=(-2, -1)
    )
    return _sum_channels(planes)


def _sum_channels(planes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(planes.reshape(-1, *planes.shape[-2:]).sum(axis=0))


def _window_products(
    field: NDArray[np.float64], lag: tuple[int, int], shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Inner products of the field's windows with those `lag` further, for every window."""
    dy, dx = lag
    rows, columns = field.shape[-2] - dy, field.shape[-1] - abs(dx)
    start = max(0, -dx)
    here = field[..., :rows, start : start + columns]
    there = field[..., dy : dy + rows, start + dx : start + dx + columns]
    product = _sum_channels(here * there)
    table = np.pad(product.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    height, width = shape[-2:]
    left, right = table[:, :-width], table[:, width:]
    sums: NDArray[np.float64] = (right[height:] - right[:-height]) - (
        left[height:] - left[:-height]
    )
    return sums


def _quadratic_form(
    products: NDArray[np.float64],
    energies: dict[tuple[int, int], NDArray[np.float64]],
    truth_energy: float,
    largest: int,
    steps_per_pixel: int,
) -> NDArray[np.float64]:
    """Combine the inner products of integer shifts into errors of all sub-pixel shifts."""
    side = 2 * largest * steps_per_pixel + 1
    errors = np.empty((side, side))
    # Index 1 of the tables is the shift -largest; `cells` counts the integer shifts.
    for row in range(steps_per_pixel):
        for column in range(steps_per_pixel):
            target = errors[row::steps_per_pixel, column::steps_per_pixel]
            fractions = (row / steps_per_pixel, column / steps_per_pixel)
            target[...] = truth_energy + _cell_errors(products, energies, fractions, target.shape)
    return errors


def _cell_errors(
    products: NDArray[np.float64],
    energies: dict[tuple[int, int], NDArray[np.float64]],
    fractions: tuple[float, float],
    cells: tuple[int, ...],
) -> NDArray[np.float64]:
    down, right = fractions
    rows, columns = cells
    weights = {
        (0, 0): (1 - down) * (1 - right),
        (0, 1): (1 - down) * right,
        (1, 0): down * (1 - right),
        (1, 1): down * right,
    }

    def table(lag: tuple[int, int], dy: int, dx: int) -> NDArray[np.float64]:
        # A lag to the left starts one column late in its table.
        first = 1 + dx - max(0, -lag[1])
        return energies[lag][1 + dy : 1 + dy + rows, first : first + columns]

    total = np.zeros(cells)
    for (dy, dx), weight in weights.items():
        total -= 2 * weight * products[1 + dy : 1 + dy + rows, 1 + dx : 1 + dx + columns]
        total += weight**2 * table((0, 0), dy, dx)
    pairs = (
        ((0, 0), (0, 1)),
        ((1, 0), (1, 1)),
        ((0, 0), (1, 0)),
        ((0, 1), (1, 1)),
        ((0, 0), (1, 1)),
        ((0, 1), (1, 0)),
    )
    for first, second in pairs:
        both = 2 * weights[first] * weights[second]
        if both > 0:
            lag = (second[0] - first[0], second[1] - first[1])
            total += both * table(lag, *first)
    return total


def _checked(
    estimate: ArrayLike, sharp: ArrayLike, crop: int, largest: int, steps_per_pixel: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first = np.asarray(estimate, dtype=np.float64)
    second = np.asarray(sharp, dtype=np.float64)
    if first.shape != second.shape or first.ndim < 2:
        raise InputError(
            f"Estimate {first.shape} and sharp image {second.shape} differ in shape; "
            "give two images of one shape (H, W) or (C, H, W)."
        )
    if largest < 0 or crop < largest or steps_per_pixel < 1:
        raise InputError(
            f"A shift of {largest} px with {steps_per_pixel} steps a pixel does not fit into "
            f"a crop of {crop} px; give 0 <= largest <= crop and at least one step."
        )
    if min(first.shape[-2:]) <= 2 * crop:
        raise InputError(
            f"An image of {first.shape[-2]} x {first.shape[-1]} px is too small for a crop of "
            f"{crop} px a side; give one of at least {2 * crop + 1} px or a smaller crop."
        )
    return first, second
