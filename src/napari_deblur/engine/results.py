"""What a run returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["KernelResult", "Result"]


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
class Result:
    """A deblurred image and how it came about.

    Attributes
    ----------
    image : ndarray
        Of the input's shape and dtype; the array given as `out` if there was one.
    kernel : ndarray of shape (m, m), float32
        The kernel that it was deblurred with, estimated or given.
    informative : bool
        False if a kernel was to be estimated and the image has no texture; the image is then
        returned as it was.
    model, device, seconds, settings
        See `KernelResult`.
    """

    image: Any
    kernel: NDArray[np.float32]
    informative: bool
    model: str
    device: str
    seconds: float
    settings: Mapping[str, Any]
