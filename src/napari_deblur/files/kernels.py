"""Read and write blur kernels as files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_deblur.errors import FileError, KernelError, OutputError
from napari_deblur.files.images import OUTPUT_SUFFIXES, read_image, write_image

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["read_kernel", "write_kernel"]

_LARGEST_PIXELS = 2**24
_NUMPY = b"\x93NUMPY"


def read_kernel(path: str | os.PathLike[str]) -> NDArray[np.float32]:
    """Read a kernel from a TIFF, PNG, JPEG or NumPy file.

    The values are as stored: the caller passes them through
    `napari_deblur.blur.kernel.check_kernel`, which also scales them to the sum 1.

    Parameters
    ----------
    path : path
        The file, recognised by its content.  A colour picture must be grey in truth, and opaque.

    Returns
    -------
    numpy.ndarray
        ``(H, W)`` float32.

    Raises
    ------
    FileError
        If the file cannot be read or holds no single grey picture of real numbers.
    """
    path = Path(path)
    array = _read_numpy(path) if _is_numpy(path) else _read_picture(path)
    if array.ndim > 2:
        array = array.squeeze()
    if array.ndim != 2:
        raise FileError(
            f"'{path}' holds an array of shape {array.shape}; a kernel is one grey picture (H, W)"
        )
    if array.dtype.kind not in "uif":
        raise FileError(
            f"'{path}' holds {array.dtype} values; a kernel is made of integers or real numbers"
        )
    if array.size > _LARGEST_PIXELS:
        raise FileError(f"'{path}' has the shape {array.shape}; that is an image and no kernel")
    with np.errstate(over="ignore"):  # infinities are for check_kernel to name
        return np.ascontiguousarray(array, dtype=np.float32)


def write_kernel(path: str | os.PathLike[str], kernel: ArrayLike) -> None:
    """Write a kernel as a float32 TIFF file, completely or not at all.

    Parameters
    ----------
    path : path
        File to write, named ``*.tif`` or ``*.tiff``.
    kernel : array_like
        ``(m, m)`` kernel.

    Raises
    ------
    KernelError
        If the kernel is not 2-D.
    OutputError
        If the name is another, or the file cannot be written.
    """
    array = np.asarray(kernel, dtype=np.float32)
    if array.ndim != 2 or array.size == 0:
        raise KernelError(f"the kernel has the shape {array.shape}; it must be (m, m) to be saved")
    if OUTPUT_SUFFIXES.get(Path(path).suffix.lower()) != "tiff":
        raise OutputError(
            f"cannot write kernel '{path}': kernels are float32 TIFF files; end the name with .tif"
        )
    write_image(path, array, axes="YX")


def _is_numpy(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_NUMPY)) == _NUMPY
    except (OSError, ValueError):
        return False  # read_image says what is wrong


def _read_numpy(path: Path) -> NDArray[Any]:
    try:
        # Mapped, so that a header that promises more than there is fails at once.
        return np.array(np.load(path, mmap_mode="r", allow_pickle=False))
    except Exception as error:  # the header may hold anything
        detail = " ".join(str(error).split())[:200]
        raise FileError(
            f"cannot read kernel '{path}': damaged or unusual NumPy file ({detail}); "
            "save it again with numpy.save, as an array of numbers"
        ) from error


def _read_picture(path: Path) -> NDArray[Any]:
    image = read_image(path, max_pixels=_LARGEST_PIXELS)
    array: NDArray[Any] = image.array
    if "S" not in image.axes:
        return array
    samples = np.moveaxis(array, image.axes.index("S"), -1)
    if samples.shape[-1] in (2, 4):
        full = np.iinfo(samples.dtype).max if samples.dtype.kind in "ui" else 1
        if np.any(samples[..., -1] != full):
            raise FileError(f"'{path}' has transparent parts; save the kernel without alpha")
        samples = samples[..., :-1]
    if np.any(samples != samples[..., :1]):
        raise FileError(f"'{path}' is a colour picture; a kernel is grey")
    grey: NDArray[Any] = samples[..., 0]
    return grey
