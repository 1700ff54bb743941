"""Sharp images of one's own, blurred by simulated camera shake: a benchmark from any photographs.

Kernels and noise depend on the seed alone, so that two methods, or two machines, see the same
images.  Blur is what a sensor sees (no border is made up): the blurry image is smaller than the
sharp one by the kernel.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_deblur.errors import InputError
from napari_deblur.evaluation.benchmark import Protocol, Sample
from napari_deblur.evaluation.listing import blurry_files
from napari_deblur.evaluation.pictures import read_picture

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["PROTOCOL", "SimulatedCase", "find_cases"]

PROTOCOL = Protocol(crop=15, largest_shift=5, luma=False)
"""A kernel is known only up to a shift, so images are aligned here, too."""

_LUMA = (0.299, 0.587, 0.114)  # Rec. 601
_LARGEST = 171


@dataclass(frozen=True)
class SimulatedCase:
    """A sharp image file and how it is blurred.

    Attributes
    ----------
    name, group
        The file's stem; ``all``.
    path
        The sharp image; its luma is used.
    kernel
        ``(m, m)`` float32, sum 1.
    noise
        Standard deviation of the Gaussian noise; images are in [0, 1].
    seed
        Of the noise.
    side
        Side in pixels of the blurry image, from the middle of the sharp one; None for all of it.
    """

    name: str
    group: str
    path: Path
    kernel: NDArray[np.float32]
    noise: float
    seed: tuple[int, ...]
    side: int | None = None

    @property
    def has_kernel(self) -> bool:
        """Always."""
        return True

    def load(self) -> Sample:
        """Read the sharp image and blur it."""
        import torch

        from napari_deblur.blur.forward import convolve

        margin = self.kernel.shape[-1] // 2
        sharp = _middle(_luma(read_picture(self.path)), self.side, margin, self.path)
        batch = torch.from_numpy(np.ascontiguousarray(sharp))[None]
        blurry = convolve(batch, torch.from_numpy(self.kernel)[None], boundary="valid")[0].numpy()
        rng = np.random.default_rng(self.seed)
        blurry = blurry + self.noise * rng.standard_normal(blurry.shape, np.float32)
        inner = sharp[:, margin : sharp.shape[1] - margin, margin : sharp.shape[2] - margin]
        return Sample(blurry.astype(np.float32), inner, self.kernel)


def find_cases(
    folder: Path,
    *,
    sizes: tuple[int, int] = (9, 31),
    noise: float = 0.005,
    seed: int = 11,
    side: int | None = None,
) -> list[SimulatedCase]:
    """Take every image of a folder with a kernel of its own.

    Parameters
    ----------
    folder
        Sharp grey or RGB images.
    sizes
        Smallest and largest side of the kernels in pixels.
    noise
        Standard deviation; images are in [0, 1].
    seed
        The same seed, folder and sizes give the same kernels, whatever the noise.
    side
        Side in pixels of the blurry images; None for whole ones.

    Raises
    ------
    FileError
        If there is no image.
    InputError
        If a number is out of its range.
    """
    from napari_deblur.blur.kernel_bank import KernelSampler, class_size

    smallest, largest = sizes
    if not 1 <= smallest <= largest <= _LARGEST:
        raise InputError(
            f"kernels of {smallest} to {largest} px are not possible; give 1 <= smallest <= "
            f"largest <= {_LARGEST}"
        )
    if not 0 <= noise <= 1:
        raise InputError(f"a noise of {noise:g} is not possible; give 0 to 1 (images have 0 to 1)")
    files = [path for path, _ in blurry_files(folder, re.compile(".+"), "NAME.png")]
    sampler = KernelSampler(smallest=smallest, largest=largest, size=class_size(sizes))
    kernels = sampler.sample_many(np.random.default_rng(seed), len(files))
    return [
        SimulatedCase(path.stem, "all", path, kernel, noise, (seed, index), side)
        for index, (path, kernel) in enumerate(zip(files, kernels, strict=True))
    ]


def _luma(image: NDArray[np.float32]) -> NDArray[np.float32]:
    if image.shape[0] == 1:
        return image
    return np.tensordot(np.asarray(_LUMA, np.float32), image, axes=1)[None].astype(np.float32)


def _middle(
    image: NDArray[np.float32], side: int | None, margin: int, path: Path
) -> NDArray[np.float32]:
    least = 2 * (margin + PROTOCOL.crop) + 1 if side is None else side + 2 * margin
    if min(image.shape[-2:]) < least:
        raise InputError(
            f"'{path}' has {image.shape[-1]} x {image.shape[-2]} px; at least {least} a side are "
            "needed; take it away, or choose smaller kernels"
        )
    if side is None:
        return image
    top, left = ((length - least) // 2 for length in image.shape[-2:])
    return image[:, top : top + least, left : left + least]
