"""Images, and the clipped pixels of images, at a smaller scale."""

from __future__ import annotations

import torch

from napari_deblur.blur.shrinking import shrink_image

__all__ = ["shrink_clipped", "shrink_image"]

_CLIPPED_SHARE = 0.05  # of the pixels that a pixel of a shrunk image is made of


def shrink_clipped(clipped: torch.Tensor, factor: float) -> torch.Tensor:
    """Scale a mask (B, C, h, w): a pixel that is made of clipped ones is too dark as well."""
    return shrink_image(clipped.float(), factor) > _CLIPPED_SHARE
