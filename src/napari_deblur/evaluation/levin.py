"""The 32 images with real camera shake of Levin et al. (CVPR 2009).

A. Levin, Y. Weiss, F. Durand, W. T. Freeman, "Understanding and evaluating blind
deconvolution algorithms".  Expected files: ``im{1..4}_kernel{1..8}_blurry``,
``im{1..4}_sharp`` and ``kernel{1..8}``, TIFF or PNG, convolution kernels.
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

PROTOCOL = Protocol(crop=15, largest_shift=5, luma=False)
"""As in Ren et al., "Neural blind deconvolution using deep priors", CVPR 2020."""

_NAME = re.compile(r"(?P<image>(?P<group>im\d+))_(?P<kernel>kernel\d+)_blurry")


def find_cases(folder: Path) -> list[Case]:
    """List the blurry images of a folder with their truths and kernels.

    Raises
    ------
    FileError
        See `cases_of_kernels`.
    """
    return cases_of_kernels(folder, _NAME, "im1_kernel1_blurry.tif")
