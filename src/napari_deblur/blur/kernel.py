"""Single blur kernels: what one is, where its centre lies, how far it reaches.

A kernel is a *convolution* kernel: a square float32 array of odd side m, non-negative, sum 1,
with its centroid in the middle pixel.  Everything here is numpy and free of torch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_deblur.errors import KernelError

__all__ = [
    "centre_kernel",
    "centroid",
    "check_kernel",
    "check_side",
    "delta_kernel",
    "kernel_support",
    "resize_kernel_support",
]

Kernel = NDArray[np.float32]


def check_side(size: int, *, name: str = "size") -> int:
    """Return `size` as an int if it can be the side of a kernel.

    Parameters
    ----------
    size : int
        Side in pixels; must be odd and at least 1.
    name : str
        What the error calls it.

    Raises
    ------
    KernelError
        If `size` is not an odd positive integer.
    """
    if (
        isinstance(size, bool)
        or not isinstance(size, int | np.integer)
        or size < 1
        or size % 2 == 0
    ):
        raise KernelError(
            f"{name} is {size!r}: a kernel's side is an odd whole number of pixels, 1 or more; "
            "use the next odd number"
        )
    return int(size)


def check_kernel(kernel: ArrayLike, *, largest: int | None = None) -> Kernel:
    """Check a kernel from outside and scale it to sum 1.

    Parameters
    ----------
    kernel : array_like, shape (m, m)
        Any real numeric dtype; m odd; finite, non-negative, not all zero.
    largest : int, optional
        Largest side that the caller can use.

    Returns
    -------
    ndarray, shape (m, m), float32
        A copy with sum 1.  The centroid stays where it is.

    Raises
    ------
    KernelError
        If one of the conditions does not hold.
    """
    try:
        array = np.asarray(kernel)
    except (ValueError, TypeError, RuntimeError) as error:  # ragged lists, tensors with a gradient
        raise KernelError(
            f"kernel is no array ({type(kernel).__name__}): give a square 2-D array of numbers"
        ) from error
    if array.dtype.kind not in "fiu":
        raise KernelError(
            f"kernel has dtype {array.dtype}: it must hold real numbers; convert it to float32"
        )
    if array.ndim != 2:
        raise KernelError(
            f"kernel has shape {array.shape}: it must be 2-D, (m, m); pass one grey kernel"
        )
    if array.shape[0] != array.shape[1] or array.shape[0] % 2 == 0:
        raise KernelError(
            f"kernel is {array.shape[0]}x{array.shape[1]}: it must be square with an odd side; "
            "pad it with zeros"
        )
    if largest is not None and array.shape[0] > largest:
        raise KernelError(
            f"kernel is {array.shape[0]}x{array.shape[0]}: at most {largest}x{largest} is allowed "
            "here; crop its empty margin or work at half the resolution"
        )
    with np.errstate(over="ignore"):  # of long doubles
        values = array.astype(np.float64)
    if not np.isfinite(values).all():
        raise KernelError("kernel holds NaN or infinity: every value must be finite; repair them")
    if values.min() < 0:
        raise KernelError(
            f"kernel holds {values.min():g}: no value may be negative; clip the kernel at 0"
        )
    if values.max() == 0:
        raise KernelError("kernel is all zero: it needs a positive sum; check where it comes from")
    # Scaling by the peak first keeps tiny and huge values within float32.
    return _normalise(values / values.max())


def delta_kernel(size: int) -> Kernel:
    """Return the kernel that changes nothing: 1 in the middle of (size, size) zeros.

    Raises
    ------
    KernelError
        If `size` is not odd and positive.
    """
    side = check_side(size)
    kernel = np.zeros((side, side), np.float32)
    kernel[side // 2, side // 2] = 1
    return kernel


def centroid(kernel: ArrayLike) -> tuple[float, float]:
    """Return the centroid (row, column) of a kernel in pixels, relative to its middle pixel."""
    values = np.asarray(kernel, np.float64)
    offsets = [np.arange(side) - side // 2 for side in values.shape]
    total = values.sum()
    row = float(values.sum(axis=1) @ offsets[0] / total)
    column = float(values.sum(axis=0) @ offsets[1] / total)
    return row, column


def centre_kernel(kernel: ArrayLike) -> Kernel:
    """Shift a kernel so that its centroid lies in the middle.

    The shift is linear interpolation to a fraction of a pixel, which keeps the mass and moves the
    centroid by exactly the shift.  Mass shifted over the border is lost; the rest is scaled to sum
    1 and centred again.  Enlarge the kernel first (`resize_kernel_support`) where none may be lost.

    Parameters
    ----------
    kernel : array_like, shape (m, m)
        A valid kernel (see `check_kernel`).

    Returns
    -------
    ndarray, shape (m, m), float32
        Sum 1, centroid within 0.001 px of the middle unless mass went over the border in each of
        ten attempts.

    Raises
    ------
    KernelError
        If `kernel` is not a valid kernel.
    """
    values = check_kernel(kernel).astype(np.float64)
    # Each linear shift by a fraction blurs a little, so stop as soon as the centroid fits.
    for _ in range(10):
        row, column = centroid(values)
        if max(abs(row), abs(column)) < 1e-3:
            break
        values = _shift(_shift(values, -row, axis=0), -column, axis=1)
        values /= values.sum()
    return _normalise(values)


def kernel_support(kernel: ArrayLike, fraction: float = 0.01) -> int:
    """Return the odd side of the smallest centred square that holds all but negligible values.

    Parameters
    ----------
    kernel : array_like, shape (m, m)
        A kernel.
    fraction : float
        Values up to this fraction of the peak are negligible, in [0, 1).
    """
    values = np.asarray(kernel)
    rows, columns = np.nonzero(values > fraction * values.max())
    middle = values.shape[0] // 2
    reach = max(np.abs(rows - middle).max(initial=0), np.abs(columns - middle).max(initial=0))
    return 2 * int(reach) + 1


def resize_kernel_support(kernel: ArrayLike, size: int) -> Kernel:
    """Crop a kernel to, or pad it with zeros to, (size, size) about its middle; rescale to sum 1.

    Raises
    ------
    KernelError
        If `kernel` is not valid, `size` is not odd and positive, or the crop holds no mass.
    """
    values = check_kernel(kernel)
    side = check_side(size)
    margin = (side - values.shape[0]) // 2
    if margin >= 0:
        return np.pad(values, margin)
    inner = values[-margin:margin, -margin:margin]
    if not inner.any():
        raise KernelError(
            f"size is {side}: the middle {side}x{side} pixels of the kernel are all zero; "
            "centre the kernel first or choose a larger size"
        )
    return _normalise(inner)


def _normalise(values: NDArray[np.floating]) -> Kernel:
    scaled: Kernel = (values / values.sum(dtype=np.float64)).astype(np.float32)
    return scaled


def _shift(values: NDArray[np.float64], distance: float, *, axis: int) -> NDArray[np.float64]:
    """Shift by a real distance with linear weights; zeros come in, what leaves is lost."""
    whole = int(np.floor(distance))
    fraction = distance - whole
    near = _shift_whole(values, whole, axis=axis)
    far = _shift_whole(values, whole + 1, axis=axis)
    return (1 - fraction) * near + fraction * far


def _shift_whole(values: NDArray[np.float64], distance: int, *, axis: int) -> NDArray[np.float64]:
    side = values.shape[axis]
    target = np.arange(side) - distance
    inside = (target >= 0) & (target < side)
    taken = np.take(values, np.where(inside, target, 0), axis=axis)
    mask = inside[:, None] if axis == 0 else inside[None, :]
    return np.where(mask, taken, 0.0)
