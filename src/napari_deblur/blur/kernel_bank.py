"""Random blur kernels: camera shake, straight motion, defocus, Gaussian, smooth curves.

The camera-shake kernels follow section 4, "Training Set", of the paper, which adapts Chakrabarti,
"A neural approach to blind motion deblurring", ECCV 2016: a random spline is the camera's path,
its speed and acceleration vary, and the result is convolved with a sensor's point spread of random
width.  Here the path is a cubic Hermite spline *in time*: the density of the kernel along the path
is the time that the camera spends there, so speed, acceleration, pauses and cusps come from the
spline's random knot times and tangents.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import ndtr

from napari_deblur.blur.curves import filling_curve
from napari_deblur.blur.kernel import Kernel, check_side
from napari_deblur.errors import KernelError

__all__ = [
    "SIZE_CLASSES",
    "KernelSampler",
    "camera_shake",
    "class_size",
    "defocus",
    "gaussian",
    "straight_motion",
]

SIZE_CLASSES: Final = ((1, 31), (32, 61), (62, 85))
"""Kernel sides (smallest, largest) of the paper's three scale-optimised networks (section 3.3)."""

_KNOTS: Final = 12
_SAMPLES_PER_PIXEL: Final = 16
_PSF_SIGMA: Final = (0.2, 0.9)
_BATCH: Final = 256
_WIDEST_STROKE: Final = 0.7  # standard deviation of a curve's stroke in pixels
_STROKE_REACH: Final = 2.5  # standard deviations
_LEAST_CURVE: Final = 3

Floats = NDArray[np.float64]


def class_size(limits: tuple[int, int]) -> int:
    """Return the side m of arrays for the kernels of a size class: its largest, made odd."""
    return limits[1] + 1 - limits[1] % 2


def camera_shake(rng: np.random.Generator, *, size_range: tuple[int, int] = (1, 31)) -> Kernel:
    """Draw one camera-shake kernel.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance; the same state gives the same kernel.
    size_range : (int, int)
        Smallest and largest side of the support in pixels.  The side is drawn evenly from the odd
        numbers in between.

    Returns
    -------
    ndarray, shape (m, m), float32
        m is the upper end of `size_range`, made odd by rounding up; sum 1; the centroid is in the
        middle; everything outside the drawn support is exactly 0.

    Raises
    ------
    KernelError
        If `size_range` is empty, or holds no positive odd number.
    """
    sides = _odd_sides(*size_range)
    return _only(_camera_shakes(rng, rng.choice(sides, size=1), class_size(size_range)))


def straight_motion(length: float, angle: float, size: int) -> Kernel:
    """Return the kernel of even motion along a straight line.

    Parameters
    ----------
    length : float
        Length of the line in pixels, 0 or more.
    angle : float
        Direction in degrees, counter-clockwise from the x axis as seen on the screen.
    size : int
        Side of the kernel, odd.

    Returns
    -------
    ndarray, shape (size, size), float32
        Bilinear rasterisation with sum 1, centred.

    Raises
    ------
    KernelError
        If the line is longer than fits, negative, or `size` is not odd.
    """
    radius = check_side(size) // 2
    steps = 2 * int(8 * max(length, 0)) + 1
    along = np.linspace(-length / 2, length / 2, steps)
    direction = np.deg2rad(angle)
    path = np.stack([-np.sin(direction) * along, np.cos(direction) * along], axis=-1)
    if length < 0 or np.abs(path).max() > radius:
        raise KernelError(
            f"length is {length:g}: a line at {angle:g} degrees in a kernel of {size} px has a "
            f"length from 0 up to {_longest(direction, radius):g}; shorten it or enlarge size"
        )
    return _only(_finish(_rasterise(path[None], size)))


def defocus(radius: float, size: int) -> Kernel:
    """Return the kernel of a defocused lens: an even disc with anti-aliased rim.

    Parameters
    ----------
    radius : float
        Radius of the disc in pixels, 0 or more (0 is a single pixel).
    size : int
        Side of the kernel, odd.

    Returns
    -------
    ndarray, shape (size, size), float32

    Raises
    ------
    KernelError
        If the disc does not fit, its radius is negative, or `size` is not odd.
    """
    reach = check_side(size) // 2 + 0.5
    if not 0 <= radius <= reach:
        raise KernelError(
            f"radius is {radius:g}: a disc in a kernel of {size} px has a radius from 0 to "
            f"{reach:g}; make it smaller or enlarge size"
        )
    parts = 8
    axis = (np.arange(size * parts) + 0.5) / parts - size / 2
    # At least one sub-pixel's diagonal, so that a tiny disc is a single pixel and not nothing.
    inside = axis[:, None] ** 2 + axis[None, :] ** 2 <= max(radius, 1 / parts) ** 2
    disc = inside.reshape(size, parts, size, parts).mean(axis=(1, 3))
    return _only(_finish(disc[None]))


def gaussian(sigma: float, size: int) -> Kernel:
    """Return a Gaussian kernel, integrated over each pixel.

    Parameters
    ----------
    sigma : float
        Standard deviation in pixels, above 0.
    size : int
        Side of the kernel, odd.  The Gaussian is cut off there and scaled to sum 1.

    Returns
    -------
    ndarray, shape (size, size), float32

    Raises
    ------
    KernelError
        If `sigma` is not above 0 or `size` is not odd.
    """
    check_side(size)
    if not (np.isfinite(sigma) and sigma > 0):
        raise KernelError(f"sigma is {sigma:g}: it must be above 0; use delta_kernel for no blur")
    edges = np.arange(size + 1) - size / 2
    profile = np.diff(ndtr(edges / sigma))
    return _only(_finish(np.outer(profile, profile)[None]))


@dataclass(frozen=True)
class KernelSampler:
    """Draws kernels whose support fills a side drawn evenly from [smallest, largest].

    Parameters
    ----------
    smallest, largest : int
        Sides of the support in pixels; only odd sides are drawn.
    size : int
        Side m of the arrays, odd, at least `largest`.
    shake, straight, defocused, gaussian, curves : float
        Relative frequency of each family, 0 or more, not all 0.  `curves` are thin, smooth strokes
        of nearly even brightness, at least half as long as their support.

    Raises
    ------
    KernelError
        If the sizes are in the wrong order, or the frequencies are negative or all 0.
    """

    smallest: int
    largest: int
    size: int
    shake: float = 0.85
    straight: float = 0.05
    defocused: float = 0.05
    gaussian: float = 0.05
    curves: float = 0.0

    def __post_init__(self) -> None:
        """Check the sizes and the frequencies."""
        check_side(self.size)
        _odd_sides(self.smallest, self.largest)
        if self.largest > self.size:
            raise KernelError(
                f"largest is {self.largest}: it must fit into size {self.size}; enlarge size"
            )
        frequencies = self._frequencies
        if not np.isfinite(frequencies).all() or frequencies.min() < 0 or frequencies.sum() <= 0:
            raise KernelError(
                f"family frequencies are {frequencies.tolist()}: each must be 0 or more and one "
                "above 0; correct them"
            )

    @property
    def _frequencies(self) -> Floats:
        families = (self.shake, self.straight, self.defocused, self.gaussian, self.curves)
        return np.array(families, np.float64)

    def sample(self, rng: np.random.Generator) -> Kernel:
        """Draw one kernel, (size, size) float32, sum 1, centred."""
        return _only(self.sample_many(rng, 1))

    def sample_many(self, rng: np.random.Generator, count: int) -> Kernel:
        """Draw `count` kernels at once, (count, size, size) float32; much faster than one by one.

        The same generator state and count give the same kernels; drawing them in other portions
        gives others.
        """
        frequencies = self._frequencies
        families = rng.choice(len(frequencies), size=count, p=frequencies / frequencies.sum())
        sides = rng.choice(_odd_sides(self.smallest, self.largest), size=count)
        kernels = np.empty((count, self.size, self.size), np.float32)
        shaken = np.flatnonzero(families == 0)
        for start in range(0, len(shaken), _BATCH):
            part = shaken[start : start + _BATCH]
            kernels[part] = _camera_shakes(rng, sides[part], self.size)
        for i in np.flatnonzero(families != 0):
            kernels[i] = _FAMILIES[families[i] - 1](rng, int(sides[i]), self.size)
        return kernels


def _random_straight(rng: np.random.Generator, side: int, size: int) -> Kernel:
    angle = rng.uniform(0, 180)
    return straight_motion(0.999 * _longest(np.deg2rad(angle), side // 2), angle, size)


def _random_defocus(rng: np.random.Generator, side: int, size: int) -> Kernel:
    return defocus(side / 2 - rng.uniform(0, 0.9) * (side > 1), size)


def _random_gaussian(rng: np.random.Generator, side: int, size: int) -> Kernel:
    # The support ends where the Gaussian falls under about one per cent of its peak.
    inner = gaussian(max(side // 2, 0.3) / rng.uniform(2.8, 3.2), side)
    return np.pad(inner, (size - side) // 2)


def _random_curve(rng: np.random.Generator, side: int, size: int) -> Kernel:
    sigma = rng.uniform(0, _WIDEST_STROKE)
    reach = round(_STROKE_REACH * sigma)
    if side - 2 * reach < _LEAST_CURVE:
        return _random_gaussian(rng, side, size)
    curve = filling_curve(rng, side - 2 * reach)
    curve = np.pad(curve, (size - len(curve)) // 2)
    smooth = ndimage.gaussian_filter(curve, sigma, mode="constant", radius=reach)
    return np.asarray(smooth / smooth.sum(), np.float32)


_FAMILIES: Final[tuple[Callable[[np.random.Generator, int, int], Kernel], ...]] = (
    _random_straight,
    _random_defocus,
    _random_gaussian,
    _random_curve,
)


def _camera_shakes(rng: np.random.Generator, sides: NDArray[np.integer], size: int) -> Kernel:
    """Draw len(sides) camera-shake kernels; the i-th fills a square of sides[i] exactly."""
    radius = sides // 2
    sigma = np.minimum(rng.uniform(*_PSF_SIGMA, size=len(sides)), np.maximum(radius / 3, 0.05))
    reach = np.minimum(np.ceil(2.5 * sigma), radius)
    path = _random_paths(rng, len(sides), _SAMPLES_PER_PIXEL * int(max(sides.max(initial=1), 15)))
    path -= path.mean(axis=1, keepdims=True)
    extent = np.abs(path).max(axis=(1, 2))
    path *= ((radius - reach) / np.maximum(extent, 1e-9))[:, None, None]
    # Bilinear rasterisation and a symmetric point spread both keep the centroid, so the kernel is
    # centred because the path is; nothing needs to be shifted (and blurred) afterwards.
    spread = _point_spreads(sigma, reach, size)
    return _finish(spread @ _rasterise(path, size) @ spread)


def _random_paths(rng: np.random.Generator, count: int, samples: int) -> Floats:
    """Random camera paths over one exposure, (count, samples, 2), evenly spaced in time.

    Knots come at random times, so that a mean of 3 to 9 of them falls into the exposure.  Between
    knots the camera goes on with some inertia; at a knot it may come to rest (a cusp, or a pause
    when it also stays there).
    """
    knots = np.arange(_KNOTS)
    gaps = rng.gamma(2.0, 0.5, (count, _KNOTS)) / rng.uniform(1.5, 8.0, (count, 1))
    times = np.cumsum(gaps, axis=1) - gaps[:, :1] * rng.uniform(1, 2, (count, 1))
    inertia = rng.uniform(-0.4, 0.9, (count, 1, 1))
    steps = rng.standard_normal((count, _KNOTS, 2))
    for i in knots[1:]:
        steps[:, i] += inertia[:, 0] * steps[:, i - 1]
    steps *= rng.random((count, _KNOTS, 1)) > 0.06  # a pause
    # A tremor pulls back towards where the camera points; a drift does not.
    points = np.cumsum(steps, axis=1)
    tremor = rng.random((count, 1, 1)) ** 2
    points = (1 - tremor) * points + tremor * rng.standard_normal(points.shape) * 1.5
    points = points @ _random_stretches(rng, count)
    tangents = _tangents(points, times) * (rng.random((count, _KNOTS, 1)) > 0.15)  # a cusp
    tangents *= rng.uniform(0.4, 1.2, (count, _KNOTS, 1))
    return _hermite(points, tangents, times, np.linspace(0, 1, samples))


def _random_stretches(rng: np.random.Generator, count: int) -> Floats:
    """Random 2x2 maps that make a motion longer in one direction than in the other."""
    angle = rng.uniform(0, np.pi, count)
    rotation = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], axis=-1)
    rotation = rotation.reshape(count, 2, 2)
    ratio = np.stack([np.ones(count), rng.uniform(0.2, 1, count)], axis=-1)
    stretches: Floats = (rotation * ratio[:, None, :]) @ rotation.transpose(0, 2, 1)
    return stretches


def _tangents(points: Floats, times: Floats) -> Floats:
    """Velocities at the knots: central differences in time (Catmull-Rom)."""
    velocity = np.zeros_like(points)
    span = (times[:, 2:] - times[:, :-2])[..., None]
    velocity[:, 1:-1] = (points[:, 2:] - points[:, :-2]) / np.maximum(span, 1e-3)
    return velocity


def _hermite(points: Floats, tangents: Floats, times: Floats, at: Floats) -> Floats:
    """Evaluate cubic Hermite splines, (n, knots, 2), at the times `at`; at rest outside them."""
    index = np.stack([np.searchsorted(row, at, side="right") for row in times]) - 1
    index = np.clip(index, 0, times.shape[1] - 2)
    row = np.arange(len(points))[:, None]
    start, end = times[row, index], times[row, index + 1]
    gap = np.maximum(end - start, 1e-9)
    s = np.clip((at - start) / gap, 0, 1)[..., None]
    gap = gap[..., None]
    rest = 1 - s
    position: Floats = (
        (1 + 2 * s) * rest**2 * points[row, index]
        + s * rest**2 * gap * tangents[row, index]
        + s**2 * (3 - 2 * s) * points[row, index + 1]
        - s**2 * rest * gap * tangents[row, index + 1]
    )
    return position


def _rasterise(path: Floats, size: int) -> Floats:
    """Sum (n, samples, 2) points (row, column from the middle) into (n, size, size), bilinearly."""
    count, samples = path.shape[:2]
    position = path + size // 2
    corner = np.clip(np.floor(position), 0, max(size - 2, 0)).astype(np.intp)
    fraction = position - corner
    row, column = fraction[..., 0], fraction[..., 1]
    first = corner[..., 0] * size + corner[..., 1] + np.arange(count)[:, None] * size * size
    total = np.zeros(count * size * size + size + 2)
    for offset, weight in (
        (0, (1 - row) * (1 - column)),
        (1, (1 - row) * column),
        (size, row * (1 - column)),
        (size + 1, row * column),
    ):
        total += np.bincount((first + offset).ravel(), weight.ravel(), minlength=len(total))
    kernels: Floats = total[: count * size * size].reshape(count, size, size) / samples
    return kernels


def _point_spreads(sigma: Floats, reach: Floats, size: int) -> Floats:
    """Matrices (n, size, size) that convolve along one axis with a Gaussian cut off at `reach`."""
    lag = np.arange(size)[:, None] - np.arange(size)[None, :]
    inner = np.abs(lag)[None] <= reach[:, None, None]
    exponent = -0.5 * (lag[None] / sigma[:, None, None]) ** 2
    spread = np.where(inner, np.exp(exponent), 0.0)
    middle = spread[:, size // 2].sum(axis=1)
    return np.asarray(spread / middle[:, None, None])


def _finish(kernels: Floats) -> Kernel:
    """Remove rounding dust, scale each kernel to sum 1, convert."""
    kept = np.where(kernels > 1e-6 * kernels.max(axis=(1, 2), keepdims=True), kernels, 0.0)
    finished: Kernel = (kept / kept.sum(axis=(1, 2), keepdims=True)).astype(np.float32)
    return finished


def _only(kernels: Kernel) -> Kernel:
    """Take the one kernel out of a batch of one."""
    kernel: Kernel = kernels[0]
    return kernel


def _odd_sides(smallest: int, largest: int) -> NDArray[np.int64]:
    """All odd sides in [smallest, largest]."""
    sides = np.arange(smallest + 1 - smallest % 2, largest + 1, 2)
    if smallest < 1 or len(sides) == 0:
        raise KernelError(
            f"sizes are {smallest} to {largest}: they must be positive and hold an odd number; "
            "put the smaller first"
        )
    return sides


def _longest(direction: float, radius: float) -> float:
    """Length of the longest line in `direction` (radians) within +-radius of the middle."""
    return 2 * radius / float(max(abs(np.sin(direction)), abs(np.cos(direction))))
