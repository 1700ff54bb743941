"""The synthetic uniformly blurred images of Lai et al. (CVPR 2016).

W.-S. Lai, J.-B. Huang, Z. Hu, N. Ahuja, M.-H. Yang, "A comparative study for single image
blind deblurring".  Expected files: ``{category}_{nn}_kernel{1..4}_blurry``,
``{category}_{nn}_sharp`` and ``kernel{1..4}``, PNG or TIFF, convolution kernels.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from napari_deblur.evaluation.benchmark import Protocol
from napari_deblur.evaluation.listing import cases_of_kernels

if TYPE_CHECKING:
    from pathlib import Path

    from napari_deblur.evaluation.benchmark import Case

__all__ = ["PROTOCOL", "find_cases"]

PROTOCOL = Protocol(crop=15, largest_shift=10, luma=True, tells_size=True)
"""As in Ren et al., "Neural blind deconvolution using deep priors", CVPR 2020; the kernel's size is
told, as to all methods compared there."""

_NAME = re.compile(r"(?P<image>(?P<group>[a-z]+)_\d+)_(?P<kernel>kernel\d+)_blurry")


def find_cases(folder: Path) -> list[Case]:
    """List the blurry images of a folder with their truths and kernels, by category.

    Raises
    ------
    FileError
        See `cases_of_kernels`.
    """
    return cases_of_kernels(folder, _NAME, "manmade_01_kernel1_blurry.png")
