"""Images, and the clipped pixels of images, at a smaller scale."""

from __future__ import annotations

from typing import Final

from torch import Tensor
from torch.nn import functional

__all__ = ["shrink_clipped", "shrink_image"]

_CLIPPED_SHARE: Final = 0.05  # of the pixels that a pixel of a shrunk image is made of


def shrink_image(image: Tensor, factor: float) -> Tensor:
    """Scale (B, C, h, w) by `factor`, at most 1, without aliasing.

    Two pixels are left at least, without which a thin image has no gradient.
    """
    if factor == 1:
        return image
    size = [max(2, round(side * factor)) for side in image.shape[-2:]]
    return functional.interpolate(image, size=size, mode="bilinear", antialias=True)


def shrink_clipped(clipped: Tensor, factor: float) -> Tensor:
    """Scale a mask (B, C, h, w): a pixel that is made of clipped ones is too dark as well."""
    return shrink_image(clipped.float(), factor) > _CLIPPED_SHARE
