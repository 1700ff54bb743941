"""Random smooth curves, and kernels bent at random, for a search that begins anywhere.

`napari_deblur.blur.kernel_bank` imitates cameras, for training.  A search wants other things of its
kernels: thin, of nearly the whole support, and shapes as different as possible in small numbers.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_deblur.blur.kernel import check_side

__all__ = ["bend", "filling_curve", "random_curves"]

_WAVES: Final = 4  # cosines that a curve is made of, in either direction
_SPEEDS: Final = 3  # cosines of the logarithm of the speed
_SPEED_SPREAD: Final = 0.4
_LEAST_EXTENT: Final = 0.55  # of the support
_POINTS_PER_PIXEL: Final = 6
_SMOOTHNESS: Final = 0.2  # of a bend, as a share of the support


def random_curves(rng: np.random.Generator, count: int, size: int) -> NDArray[np.float32]:
    """Draw kernels of motion along smooth curves.

    Coordinates and the logarithm of the time spent are sums of a few cosines of the position along
    the curve, with falling random weights, so that lines, arcs, hooks, waves and loops all come up.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    count : int
        How many, 1 or more.
    size : int
        Side m of the kernels in pixels, odd and 3 at least.  The curves extend over half of it to
        all of it.

    Returns
    -------
    ndarray, shape (count, m, m), float32
        Sum 1; the centroid in the middle pixel where the curve leaves room for that.

    Raises
    ------
    KernelError
        If `size` is not odd and positive.
    """
    check_side(size)
    points = _shapes(rng, count, _POINTS_PER_PIXEL * size)
    extent = np.ptp(points, axis=2).max(axis=1)
    wanted = np.minimum(rng.uniform(_LEAST_EXTENT, 1, count) * size, max(size - 2, 1))
    points *= (wanted / extent)[:, None, None]
    masses = _times(rng, points)
    points += size // 2 - (points * masses[:, None]).sum(axis=2, keepdims=True)
    return _draw(np.clip(points, 0, size - 1), masses, size)


def filling_curve(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    """Draw one kernel as `random_curves` does, but centred and as long as its support allows.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    size : int
        Side m of the kernel in pixels, odd and 3 at least.

    Returns
    -------
    ndarray, shape (m, m), float32
        Sum 1; the centroid in the middle, the stroke up to at least one border.

    Raises
    ------
    KernelError
        If `size` is not odd and positive.
    """
    check_side(size)
    points = _shapes(rng, 1, _POINTS_PER_PIXEL * size)
    masses = _times(rng, points)
    points -= (points * masses[:, None]).sum(axis=2, keepdims=True)
    radius = size // 2
    points *= radius / np.abs(points).max()
    return np.asarray(_draw(points + radius, masses, size)[0])


def bend(
    rng: np.random.Generator, kernels: NDArray[np.float32], pixels: float
) -> NDArray[np.float32]:
    """Distort kernels by smooth random displacements.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    kernels : ndarray, shape (n, m, m)
        Each of some mass.
    pixels : float
        Standard deviation of the displacement, in either direction.

    Returns
    -------
    ndarray, shape (n, m, m), float32
        Non-negative, sum 1.
    """
    count, size = len(kernels), kernels.shape[-1]
    noise = rng.standard_normal((count, 2, size, size))
    width = _SMOOTHNESS * size
    smooth = ndimage.gaussian_filter(noise, (0, 0, width, width))
    smooth *= pixels / np.maximum(smooth.std(axis=(2, 3), keepdims=True), 1e-12)
    places = np.mgrid[:size, :size] + smooth
    pairs = zip(kernels, places, strict=True)
    bent = np.stack([ndimage.map_coordinates(kernel, each, order=1) for kernel, each in pairs])
    empty = bent.sum(axis=(1, 2)) <= 0
    bent[empty] = kernels[empty]
    return np.asarray(bent / bent.sum(axis=(1, 2), keepdims=True), np.float32)


def _shapes(rng: np.random.Generator, count: int, length: int) -> NDArray[np.float64]:
    """Points (count, 2, length) along curves of any extent."""
    weights = rng.standard_normal((count, 2, _WAVES)) / np.arange(1, _WAVES + 1)
    return np.asarray(weights @ _waves(_WAVES, length))


def _times(rng: np.random.Generator, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Time (count, n) spent at each of the points (count, 2, n) of curves, sum 1."""
    waves = _waves(_SPEEDS, points.shape[-1])
    speeds = _SPEED_SPREAD * rng.standard_normal((len(points), _SPEEDS)) @ waves
    masses = np.hypot(*np.moveaxis(np.gradient(points, axis=2), 1, 0)) * np.exp(speeds) + 1e-9
    return np.asarray(masses / masses.sum(axis=1, keepdims=True))


def _waves(count: int, length: int) -> NDArray[np.float64]:
    return np.cos(np.pi * np.outer(np.arange(1, count + 1), np.linspace(0, 1, length)))


def _draw(
    points: NDArray[np.float64], masses: NDArray[np.float64], size: int
) -> NDArray[np.float32]:
    """Spread masses (count, n) at points (count, 2, n) over the four pixels around each."""
    count = len(points)
    kernels = np.zeros((count, size, size))
    corner = np.minimum(np.floor(points).astype(int), size - 2)
    rest = points - corner
    number = np.arange(count)[:, None]
    for down in (0, 1):
        for across in (0, 1):
            share = np.abs(1 - down - rest[:, 0]) * np.abs(1 - across - rest[:, 1])
            place = (number, corner[:, 0] + down, corner[:, 1] + across)
            np.add.at(kernels, place, masses * share)
    return np.asarray(kernels, np.float32)
