"""The kernels that an image is deblurred with: given by the caller, or found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_deblur.blur.field import KernelField
from napari_deblur.blur.kernel import check_kernel
from napari_deblur.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_deblur.engine.layout import Picture
    from napari_deblur.engine.options import Options

__all__ = ["Found", "central", "check_given"]


@dataclass(frozen=True)
class Found:
    """What to deblur with.

    Attributes
    ----------
    kernel : ndarray of shape (m, m), float32
        The kernel of the whole image; of a given field, that of the cell in the middle.
    field : KernelField or None
        Kernels that vary over the image; None where one is enough.
    informative : bool
        False if the image has no texture to find a kernel from.
    corrected : bool
        Whether the correction network had the last word.
    """

    kernel: NDArray[np.float32]
    field: KernelField | None
    informative: bool
    corrected: bool = False

    @classmethod
    def of(cls, given: NDArray[np.float32], picture: Picture) -> Found:
        """Take what `check_given` returned."""
        if given.ndim == 2:
            return cls(given, None, informative=True)
        return cls(central(given), KernelField(given, picture.layout.size), informative=True)


def central(given: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a kernel as it is, and of a field the one in the middle."""
    if given.ndim == 2:
        return given
    middle: NDArray[np.float32] = given[given.shape[0] // 2, given.shape[1] // 2]
    return middle


def check_given(
    kernel: ArrayLike, picture: Picture, options: Options, *, largest: int | None = None
) -> NDArray[np.float32]:
    """Check a kernel (m, m) or a field of kernels (rows, columns, m, m) that a caller gives.

    Returns
    -------
    ndarray, float32
        Each kernel with sum 1.

    Raises
    ------
    InputError
        When a field is to be found as well, or the given one does not fit the image.
    KernelError
        When a kernel is none, or is larger than `largest`.
    """
    if options.field != "uniform":
        raise InputError(
            f"field {options.field!r} has kernels estimated, and one is given: leave one of the "
            "two out"
        )
    values = np.asarray(kernel)
    if values.ndim != 4:
        return check_kernel(kernel, largest=largest)
    KernelField(values, picture.layout.size)
    rows, columns, height, width = values.shape
    checked = [check_kernel(each, largest=largest) for each in values.reshape(-1, height, width)]
    return np.stack(checked).reshape(rows, columns, height, width)
