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
from napari_deblur.blur.kernel_step import clean_kernel
from napari_deblur.blur.pyramid import Scale
from napari_deblur.errors import WeightsError
from napari_deblur.networks.correction import KernelCorrection
from napari_deblur.weights.fetch import weights_path
from napari_deblur.weights.files import open_network
from napari_deblur.weights.registry import correction_entry

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_deblur.engine.views import Views

__all__ = ["correct_kernel"]

_FLOOR: Final = 0.005  # share of the peak


def correct_kernel(
    views: Views, kernel: NDArray[np.float32], device: torch.device
) -> NDArray[np.float32]:
    """Correct a kernel that was refined on the images it is asked of.

    Parameters
    ----------
    views : Views
        At full size.
    kernel : ndarray, shape (m, m)
        Found there, sum 1.
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
    maps = torch.from_numpy(
        kernel_evidence(seen.images, kernel, seen.variance, clipped=seen.clipped)
    )
    with torch.inference_mode():
        corrected = network(maps[None].to(device))[0].cpu().numpy()
    return clean_kernel(corrected, floor=_FLOOR, speck=0)


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
