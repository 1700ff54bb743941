"""How much nearer a result is to the truth than the image that it was made from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_deblur.plugin.slices import Index, LayerView

__all__ = ["Quality", "judge"]


@dataclass(frozen=True)
class Quality:
    """Distance from the truth before and after.

    Attributes
    ----------
    psnr_before, psnr_after : float
        Peak signal-to-noise ratio in dB.
    ssim_before, ssim_after : float
        Structural similarity (Wang), 0 to 1.
    """

    psnr_before: float
    psnr_after: float
    ssim_before: float
    ssim_after: float

    def as_dict(self) -> dict[str, float]:
        """Plain dictionary."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"PSNR {self.psnr_before:.1f} → {self.psnr_after:.1f} dB, "
            f"SSIM {self.ssim_before:.2f} → {self.ssim_after:.2f}."
        )


def judge(view: LayerView, result: Any, truth: Any, *, index: Index) -> Quality:
    """Compare one plane before and after with the truth.

    Results may be shifted against the truth by a fraction of the kernel, because only their sum is
    determined by the blur; the best shift of up to a few pixels is looked for, for both alike.

    Parameters
    ----------
    view : LayerView
        The blurry image.
    result, truth : arrays
        Of the blurry image's shape.
    index : tuple of int
        The plane to compare.
    """
    key = view.key(index)
    sharp = _channels_first(view, np.asarray(truth[key]))
    low, high = float(sharp.min()), float(sharp.max())
    # Nominal range of photographs; the truth's own range of everything else.
    if sharp.dtype == np.uint8:
        low, high = 0.0, 255.0
    planes = [
        (plane.astype(float) - low) / max(high - low, np.finfo(float).tiny) * 255
        for plane in (
            sharp,
            _channels_first(view, np.asarray(view.data[key])),
            _channels_first(view, np.asarray(result[key])),
        )
    ]
    before, after = (_compare(plane, planes[0]) for plane in planes[1:])
    return Quality(before[0], after[0], before[1], after[1])


_LARGEST_SHIFT = 5  # pixels


def _compare(estimate: NDArray[Any], sharp: NDArray[Any]) -> tuple[float, float]:
    """PSNR and SSIM at the best shift, away from the borders."""
    from napari_deblur.evaluation.alignment import align
    from napari_deblur.evaluation.metrics import psnr, ssim

    side = min(sharp.shape[-2:])
    crop = min(15, side // 8)
    found = align(estimate, sharp, crop=crop, largest=min(_LARGEST_SHIFT, crop))
    return psnr(found.estimate, found.sharp), ssim(found.estimate, found.sharp, downsample=False)


def _channels_first(view: LayerView, plane: NDArray[Any]) -> NDArray[Any]:
    axis = view.plane_channel_axis
    if axis is None:
        return plane
    channels = np.moveaxis(plane, axis, 0)
    return channels[:3] if view.rgb else channels
