"""The parts of an image that a field of kernels is found from, at every scale.

All patches together have a bounded number of pixels: of a large cell only the part with the
strongest gradients is looked at.  So neither memory nor time grows with the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_deblur.blur.edges import differences, sparse_edges, strongest_gradients
from napari_deblur.blur.kernel_step import NormalEquations, normal_equations
from napari_deblur.blur.saturation import fill_clipped
from napari_deblur.blur.shrinking import shrink_clipped, shrink_image
from napari_deblur.engine.region import Region, busiest_part, luma, restrict_frames

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_deblur.blur.field import FieldGrid, Window
    from napari_deblur.engine.layout import Picture

__all__ = ["Patch", "equations", "look", "shrink"]

_FILLING = 10  # rounds; clipped pixels are predicted anew with every kernel
_FADE = 16  # pixels


@dataclass(frozen=True)
class Patch:
    """A part of an image that a cell's kernel can be seen in.

    Attributes
    ----------
    cell : tuple of int
        The cell.
    position : tuple of float
        Row and column of the patch's middle, in pixels from the middle of the image.
    image : Tensor of shape (1, 1, h, w)
        Luma.
    clipped : Tensor of shape (1, 1, h, w), bool, or None
        Saturated pixels; None if there is none.
    """

    cell: tuple[int, int]
    position: tuple[float, float]
    image: torch.Tensor
    clipped: torch.Tensor | None


def look(
    frames: Sequence[tuple[Picture, Region]],
    grid: FieldGrid,
    largest: int,
    device: torch.device,
    *,
    around: float = 0.5,
) -> list[Patch]:
    """Read the patches of all cells and frames.

    Parameters
    ----------
    frames : sequence of (Picture, Region)
        Images of one size, and the part of each that counts.
    grid : FieldGrid
        The cells.
    largest : int
        Side in pixels of the largest patch.
    device : torch.device
        Where to put them.
    around : float
        How far patches reach beyond their cells, in cells; with 0 no two share a pixel.
    """
    patches = []
    for cell in grid.cells:
        for picture, part in restrict_frames(frames, grid.patch(cell, around)):
            patches.append(_look_at(picture, part, cell, largest, device))
    return patches


def shrink(patch: Patch, factor: float) -> Patch:
    """Return a patch scaled by `factor`, at most 1, without aliasing; its position as well."""
    if factor == 1:
        return patch
    position = (patch.position[0] * factor, patch.position[1] * factor)
    clipped = None if patch.clipped is None else shrink_clipped(patch.clipped, factor)
    return Patch(patch.cell, position, shrink_image(patch.image, factor), clipped)


def equations(
    patch: Patch, kernel: NDArray[np.float32], sparsity: float, share: float
) -> NormalEquations:
    """What a patch says about its kernel, given the one at hand (see `alternation`).

    Parameters
    ----------
    patch : Patch
        The patch.
    kernel : ndarray of shape (m, m)
        The kernel at hand.
    sparsity, share : float
        Penalty on edges, and share of the gradients that count.
    """
    batch = torch.from_numpy(np.ascontiguousarray(kernel))[None].to(patch.image)
    image = patch.image
    if patch.clipped is not None:
        image = fill_clipped(image, batch, patch.clipped, rounds=_FILLING)
    sharp = strongest_gradients(sparse_edges(image, batch, sparsity), share)
    return normal_equations(sharp, differences(image), kernel.shape[-1])


def _look_at(
    picture: Picture, region: Region, cell: tuple[int, int], largest: int, device: torch.device
) -> Patch:
    window = (region.rows, region.columns)
    working = picture.read(window)
    clipped = picture.layout.clipped(working)
    values = region.fade(luma(working), window, _FADE)
    part = _busiest(values, largest)
    position = [
        outer.start + (inner.start + inner.stop - 1) / 2 - (side - 1) / 2
        for outer, inner, side in zip(window, part, picture.layout.size, strict=True)
    ]
    image = torch.from_numpy(np.ascontiguousarray(values[part])).to(device)[None, None]
    mask = None
    if clipped is not None and clipped[:, *part].any():
        mask = torch.from_numpy(clipped[:, *part].any(axis=0)).to(device)[None, None]
    return Patch(cell, (position[0], position[1]), image, mask)


def _busiest(values: NDArray[np.float32], largest: int) -> Window:
    """The part of at most `largest` pixels a side where the gradients are strongest."""
    height, width = values.shape
    if max(height, width) <= largest:
        return slice(0, height), slice(0, width)
    down, across = np.gradient(values)
    return busiest_part(np.asarray(down**2 + across**2, np.float32), largest)
