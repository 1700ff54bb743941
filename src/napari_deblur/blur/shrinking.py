"""Images at a smaller scale."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

__all__ = ["shrink_image"]


def shrink_image(image: Tensor, factor: float) -> Tensor:
    """Scale (B, C, h, w) by `factor`, at most 1, without aliasing.

    Two pixels are left at least, without which a thin image has no gradient.
    """
    if factor == 1:
        return image
    size = [max(2, round(side * factor)) for side in image.shape[-2:]]
    return functional.interpolate(image, size=size, mode="bilinear", antialias=True)
