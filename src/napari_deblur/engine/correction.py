"""The last step to a kernel: what refinement leaves wrong with it, put right by a network.

The correction network sees the kernel and what single least-squares steps make of it (see
`napari_deblur.networks.correction`).  It belongs to no model: it corrects what the refinement
found, whichever network had the first word.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from napari_deblur.blur.evidence import EVIDENCE, kernel_evidence
from napari_deblur.blur.kernel import resize_kernel_support
from napari_deblur.blur.kernel_step import clean_kernel
from napari_deblur.blur.pyramid import Scale
from napari_deblur.engine.views import Views, look_at
from napari_deblur.errors import WeightsError
from napari_deblur.networks.correction import KernelCorrection
from napari_deblur.weights.fetch import weights_path
from napari_deblur.weights.files import open_network
from napari_deblur.weights.registry import correction_entry

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_deblur.engine.layout import Picture
    from napari_deblur.engine.region import Region

__all__ = ["correct", "correct_given"]

_FLOOR: Final = 0.005  # share of the peak
# How far to go from the kernel towards the network's.  All the way is better on simulated shake and
# worse on real shake, which is not quite a convolution, so that its evidence misleads.
_STRENGTH: Final = 0.6
_ROOM: Final = 4  # pixels around a kernel that is given, into which its strokes may spread


def correct(views: Views, kernel: NDArray[np.float32], device: torch.device) -> NDArray[np.float32]:
    """Correct a kernel by the images that it blurred.

    Parameters
    ----------
    views : Views
        At full size.
    kernel : ndarray, shape (m, m)
        Nearly right, sum 1.
    device : torch.device
        Where to compute.

    Returns
    -------
    ndarray, shape (m, m), float32
        Sum 1, centroid in the middle pixel.  The kernel itself where this version has no network
        for it.

    Raises
    ------
    WeightsError
        When the network's weights are damaged or cannot be fetched, or are for other evidence.
    """
    entry = correction_entry()
    if entry is None:
        return kernel
    network = _open(weights_path(entry), entry.sha256, device)
    seen = views.at(Scale(1.0, kernel.shape[-1]))
    maps = kernel_evidence(seen.images, kernel, seen.variance, clipped=seen.clipped)
    with torch.inference_mode():
        corrected = _ask(network, torch.from_numpy(maps).to(device)).cpu().numpy()
    mixed = (1 - _STRENGTH) * kernel + _STRENGTH * corrected
    return clean_kernel(mixed, floor=_FLOOR, speck=0)


def correct_given(
    picture: Picture, region: Region, kernel: NDArray[np.float32], device: torch.device
) -> NDArray[np.float32]:
    """Correct a kernel (m, m) that is known about as well as one that was refined.

    Returns
    -------
    ndarray, shape (m + 8, m + 8), float32
        As `correct`; there is room for strokes that were cut off.
    """
    # Moved by whole pixels only, as anything else would blur it.
    wider = resize_kernel_support(
        clean_kernel(kernel, floor=0, speck=0), kernel.shape[-1] + 2 * _ROOM
    )
    return correct(look_at([(picture, region)], device), wider, device)


def _ask(network: KernelCorrection, maps: torch.Tensor) -> torch.Tensor:
    """The mean of what the network says of evidence (C, m, m) in its eight orientations."""
    upright = (maps, maps.mT)
    seen = [each.rot90(turns, (1, 2)) for each in upright for turns in range(4)]
    said = network(torch.stack(seen)).unflatten(0, (2, 4))
    plain, mirrored = (
        torch.stack([kernel.rot90(-turns) for turns, kernel in enumerate(part)]).mean(dim=0)
        for part in said
    )
    return (plain + mirrored.mT) / 2


@lru_cache(maxsize=1)
def _open(path: Path, sha256: str, device: torch.device) -> KernelCorrection:
    network = open_network(path, sha256=sha256)
    if not isinstance(network, KernelCorrection) or network.config.evidence != EVIDENCE:
        raise WeightsError(
            f"'{path}' holds no correction network for {EVIDENCE} maps of evidence, which this "
            "version makes; update napari-deblur, or fetch or copy the file again"
        )
    network.requires_grad_(requires_grad=False)
    return network.to(device=device)
