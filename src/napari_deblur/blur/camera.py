"""Forward models of blur that varies over the field, with kernels that are known everywhere.

`expose_along` averages the image as seen from every moment of a camera's path, which may roll about
the optical axis; `expose_depths` blurs a near and a far part of a scene with kernels of their own.
Both are exact: what they return at a pixel is the sum of the sharp image over the kernel that
`local_kernel` gives for it (for two depths, away from the edge between them).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_deblur.blur.kernel import Kernel, check_kernel, check_side
from napari_deblur.errors import InputError, KernelError

__all__ = ["CameraPath", "expose_along", "expose_depths", "local_kernel", "random_path"]

_WAVES = 3
_SAMPLES_PER_PIXEL = 4

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CameraPath:
    """Where a camera points during an exposure, at moments evenly spaced in time.

    Attributes
    ----------
    rolls : ndarray of shape (n,)
        Angle about the optical axis, which goes through the middle of the image, in radians.
    shifts : ndarray of shape (n, 2)
        Shift of the image in pixels, rows and columns.

    Raises
    ------
    InputError
        When the lengths differ, or there is no moment at all.
    """

    rolls: Floats
    shifts: Floats

    def __post_init__(self) -> None:
        """Check the shapes."""
        if self.rolls.ndim != 1 or len(self.rolls) < 1 or self.shifts.shape != (len(self.rolls), 2):
            raise InputError(
                f"rolls have shape {self.rolls.shape} and shifts {self.shifts.shape}: give (n,) "
                "angles and (n, 2) shifts"
            )

    def seen_from(self, rows: Floats, columns: Floats, moment: int) -> tuple[Floats, Floats]:
        """Points of the sharp image that positions show at a moment, all from the optical axis."""
        cosine, sine = np.cos(self.rolls[moment]), np.sin(self.rolls[moment])
        down, across = self.shifts[moment]
        return (
            cosine * rows - sine * columns + down,
            sine * rows + cosine * columns + across,
        )


def random_path(
    rng: np.random.Generator, *, roll: float, shift: float, radius: float
) -> CameraPath:
    """Draw a smooth path.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    roll : float
        Difference between the largest and the smallest angle, in radians, 0 or more.
    shift : float
        Side in pixels of the square that the shifts fill, 0 or more.
    radius : float
        Distance in pixels between the optical axis and the image's corner: how many moments are
        needed depends on how far that moves.
    """
    if not (np.isfinite([roll, shift, radius]).all() and min(roll, shift, radius) >= 0):
        raise InputError(f"roll {roll}, shift {shift} and radius {radius} must all be 0 or more")
    reach = roll * radius + shift
    count = max(16, int(np.ceil(_SAMPLES_PER_PIXEL * reach)))
    time = np.linspace(0, 1, count)
    waves = np.arange(1, _WAVES + 1)
    phase = 2 * np.pi * rng.random((3, _WAVES, 1))
    strength = rng.standard_normal((3, _WAVES, 1)) / waves[:, None] ** 1.5
    paths = (strength * np.sin(np.pi * waves[:, None] * time + phase)).sum(axis=1)
    drift = rng.standard_normal((3, 1)) * time
    paths = paths + drift
    paths -= paths.mean(axis=1, keepdims=True)
    extents = np.ptp(paths, axis=1)
    rolls = paths[0] * roll / max(extents[0], 1e-9)
    shifts = (paths[1:] * shift / max(extents[1:].max(), 1e-9)).T
    return CameraPath(rolls, np.ascontiguousarray(shifts))


def expose_along(image: NDArray[np.floating], path: CameraPath) -> NDArray[np.float32]:
    """Average an image over a camera's path; its border's pixels go on outwards.

    Parameters
    ----------
    image : ndarray of shape (C, H, W)
        The sharp image.
    path : CameraPath
        The path.

    Returns
    -------
    ndarray of shape (C, H, W), float32
        Between pixels the sharp image is interpolated linearly, as `local_kernel` has it.

    Raises
    ------
    InputError
        If `image` is not (C, H, W).
    """
    if image.ndim != 3:
        raise InputError(
            f"image has shape {image.shape}: it must be (C, H, W); add the channel axis"
        )
    height, width = image.shape[-2:]
    middle = ((height - 1) / 2, (width - 1) / 2)
    rows, columns = np.meshgrid(
        np.arange(height) - middle[0], np.arange(width) - middle[1], indexing="ij"
    )
    total = np.zeros(image.shape, np.float64)
    for moment in range(len(path.rolls)):
        down, across = path.seen_from(rows, columns, moment)
        points = np.stack([down + middle[0], across + middle[1]])
        for channel, plane in enumerate(image):
            total[channel] += ndimage.map_coordinates(plane, points, order=1, mode="nearest")
    return np.asarray(total / len(path.rolls), np.float32)


def local_kernel(path: CameraPath, position: tuple[float, float], size: int) -> Kernel:
    """Return the convolution kernel at one position of the image.

    Parameters
    ----------
    path : CameraPath
        The path.
    position : tuple of float
        Row and column in pixels from the middle of the image.
    size : int
        Side of the kernel in pixels, odd.

    Returns
    -------
    ndarray of shape (size, size), float32
        Sum 1.  Its middle is the pixel itself, and not the kernel's centroid, so that kernels of
        all positions belong to the same sharp image.

    Raises
    ------
    KernelError
        If the kernel does not fit into `size`.
    """
    check_side(size)
    moments = range(len(path.rolls))
    row, column = (np.array([side], np.float64) for side in position)
    seen = [path.seen_from(row, column, moment) for moment in moments]
    # What a pixel shows of the point p is what the kernel has at (pixel - p).
    offsets = np.array([(position[0] - down[0], position[1] - across[0]) for down, across in seen])
    low = np.floor(offsets).astype(int)
    part = offsets - low
    kernel = np.zeros((size, size), np.float64)
    index = low + size // 2
    if index.min() < 0 or index.max() > size - 2:
        reach = int(np.ceil(np.abs(offsets).max())) + 1
        raise KernelError(
            f"a kernel that reaches {reach} pixels from its middle does not fit {size} x {size}: "
            f"give at least {2 * reach + 1}"
        )
    for down in (0, 1):
        for across in (0, 1):
            weight = np.abs(1 - down - part[:, 0]) * np.abs(1 - across - part[:, 1])
            np.add.at(kernel, (index[:, 0] + down, index[:, 1] + across), weight)
    return np.asarray(kernel / kernel.sum(), np.float32)


def expose_depths(
    image: NDArray[np.floating], near: NDArray[np.bool_], kernels: tuple[Kernel, Kernel]
) -> NDArray[np.float32]:
    """Blur a scene of two depths, the near part of which hides the far one.

    Parameters
    ----------
    image : ndarray of shape (C, H, W)
        The sharp image.
    near : ndarray of shape (H, W), bool
        Where the near part is.
    kernels : pair of ndarray, each of shape (m, m)
        Convolution kernels of the near and of the far part.

    Returns
    -------
    ndarray of shape (C, H, W), float32

    Raises
    ------
    InputError
        If the shapes do not fit.
    KernelError
        If a kernel is none.
    """
    if image.ndim != 3 or near.shape != image.shape[-2:]:
        raise InputError(
            f"image has shape {image.shape} and near {near.shape}: they must be (C, H, W) and "
            "(H, W)"
        )
    first, second = (check_kernel(each).astype(np.float64) for each in kernels)

    def blur(plane: NDArray[np.floating], kernel: Floats) -> Floats:
        blurred: Floats = ndimage.convolve(plane.astype(np.float64), kernel, mode="nearest")
        return blurred

    cover = blur(near.astype(np.float64), first)
    planes = [blur(plane * near, first) + (1 - cover) * blur(plane, second) for plane in image]
    return np.asarray(planes, np.float32)
