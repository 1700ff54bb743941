"""What a run returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_deblur.blur.field import KernelField

__all__ = ["KernelGridResult", "KernelResult", "Result"]


@dataclass(frozen=True)
class KernelResult:
    """An estimated kernel and how it came about.

    Attributes
    ----------
    kernel : ndarray of shape (m, m), float32
        Convolution kernel, centred, sum 1.
    informative : bool
        False if the image has no texture; the kernel is then the one that changes nothing.
    model, device : str
        What estimated it, and where.
    seconds : float
        How long that took, loading included.
    settings : mapping
        Every parameter that decides the result, as plain values fit for JSON.
    """

    kernel: NDArray[np.float32]
    informative: bool
    model: str
    device: str
    seconds: float
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class KernelGridResult:
    """Kernels on a grid over the image and how they came about.

    Attributes
    ----------
    field : KernelField
        `field.kernels` are the kernels (rows, columns, m, m), float32, each with sum 1, aligned
        to each other; `field.grid` tells the cells of the image that they belong to.
    kernel : ndarray of shape (m, m), float32
        The one kernel that explains the whole image best.
    varies : bool
        False if the cells do not differ by more than the image gives evidence for.  All of them
        then have `kernel`.
    evidence : ndarray of shape (rows, columns), float32
        Strength of the edges that each cell's kernel was seen at, relative to the mean cell's.
    trusted : ndarray of shape (rows, columns), bool
        False where the image gave no kernel that could be believed, and those of the neighbours
        took its place.
    informative : bool
        False if the image has no texture; the kernels are then the one that changes nothing.
    model, device, seconds, settings
        See `KernelResult`.
    """

    field: KernelField
    kernel: NDArray[np.float32]
    varies: bool
    evidence: NDArray[np.float32]
    trusted: NDArray[np.bool_]
    informative: bool
    model: str
    device: str
    seconds: float
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Result:
    """A deblurred image and how it came about.

    Attributes
    ----------
    image : ndarray
        Of the input's shape and dtype; the array given as `out` if there was one.
    kernel : ndarray of shape (m, m), float32
        The kernel that it was deblurred with, estimated or given.  Where the blur varies, the
        one that would explain the whole image best, or the one in the middle of a given field.
    field : KernelField or None
        Where the blur varies, the kernels that it was deblurred with, on a grid that may be finer
        than the one that was asked for; None where one kernel did.
    informative : bool
        False if a kernel was to be estimated and the image has no texture; the image is then
        returned as it was.
    model, device, seconds, settings
        See `KernelResult`.
    """

    image: Any
    kernel: NDArray[np.float32]
    field: KernelField | None
    informative: bool
    model: str
    device: str
    seconds: float
    settings: Mapping[str, Any]
