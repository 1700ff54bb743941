"""True kernels and what a search found in their place: the errors that a restoration must bear.

A perturbation that is made up (`figures.perturbed_kernels`) is milder and of another kind than the
errors of a search, which breaks thin trails, thickens others and adds small spurious parts.
`napari-deblur evaluate simulate --keep-kernels FILE` writes such pairs from any sharp images.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np
import torch

from napari_deblur.errors import RecipeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["KernelPairs", "read_pairs"]

_NAMES = ("true", "found")


@dataclass(frozen=True)
class KernelPairs:
    """Pairs of kernels on the training device.

    Attributes
    ----------
    true, found : Tensor, shape (n, m, m), float32, sum 1
        `found` at the shift at which it is most like `true`.
    sha256
        Of the file.
    """

    true: torch.Tensor
    found: torch.Tensor
    sha256: str

    def __len__(self) -> int:
        """Count the pairs."""
        return len(self.true)


def read_pairs(path: str | Path, size: int, device: torch.device) -> KernelPairs:
    """Read the arrays ``true`` and ``found``, (n, m, m) each, of an .npz file.

    Parameters
    ----------
    path
        The file.
    size
        The network's m; smaller kernels are set into the middle of as many pixels.
    device
        Where the pairs are wanted.

    Raises
    ------
    RecipeError
        If the file cannot be read, or its arrays are not pairs of kernels of at most `size`.
    """
    try:
        content = Path(path).read_bytes()
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            true, found = (np.asarray(file[name], np.float32) for name in _NAMES)
    except (OSError, ValueError, KeyError, BadZipFile, EOFError) as error:
        raise RecipeError(
            f"pairs of kernels {str(path)!r} cannot be read ({error}): give an .npz file with "
            f"arrays {' and '.join(_NAMES)}, as 'evaluate simulate --keep-kernels' writes"
        ) from error
    _check(path, true, found, size)
    fitted = [_fitted(kernels, size).to(device) for kernels in (true, found)]
    return KernelPairs(fitted[0], fitted[1], hashlib.sha256(content).hexdigest())


def _check(
    path: str | Path, true: NDArray[np.float32], found: NDArray[np.float32], size: int
) -> None:
    side = true.shape[-1] if true.ndim == 3 else 0
    square = true.shape == found.shape == (len(true), side, side)
    if not (square and len(true) and side % 2 and side <= size):
        raise RecipeError(
            f"pairs of kernels {str(path)!r} have shapes {true.shape} and {found.shape}: "
            f"both must be (n, m, m) with the same odd m of at most {size}, the network's"
        )
    for kernels in (true, found):
        if not (np.isfinite(kernels).all() and kernels.min() >= 0):
            raise RecipeError(
                f"pairs of kernels {str(path)!r} hold values that are negative or not finite: "
                "write the file anew"
            )
        if not (kernels.sum(axis=(1, 2)) > 0).all():
            raise RecipeError(f"pairs of kernels {str(path)!r} hold an empty one: take it out")


def _fitted(kernels: NDArray[np.float32], size: int) -> torch.Tensor:
    margin = (size - kernels.shape[-1]) // 2
    padded = np.pad(kernels, ((0, 0), (margin, margin), (margin, margin)))
    return torch.from_numpy(padded / padded.sum(axis=(1, 2), keepdims=True))
