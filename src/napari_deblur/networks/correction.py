"""The correction network: what is left wrong with a kernel that alternation found, put right.

Alternating with an image of few edges ends beside the true kernel: edges that are not there, or
are too straight, bias every least-squares step in the same way, however often it is repeated.  How
they do can be learned.  The network sees the kernel, what single steps from it would make of it,
and what it leaves unexplained (`napari_deblur.blur.evidence`), all maps of the kernel's size, and
adds what is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from napari_deblur.errors import InputError
from napari_deblur.networks.initialise import start_zero
from napari_deblur.networks.residual import ResidualUNet, group_count

if TYPE_CHECKING:
    from napari_deblur.networks.config import CorrectionConfig

__all__ = ["KernelCorrection"]

_LEVELS = 3
_SMALLEST_SUM = 1e-6


class KernelCorrection(ResidualUNet):
    """Correct a kernel by the evidence of the image that it blurred.

    Convolutional throughout, so it takes kernels of any size.  Untrained, it changes nothing.

    Parameters
    ----------
    config
        The architecture; kept as the attribute `config`.
    """

    def __init__(self, config: CorrectionConfig) -> None:
        channels = config.channels
        enter = nn.Conv2d(config.evidence, channels, 3, padding=1)
        super().__init__(enter, channels=channels, levels=_LEVELS, depth=config.depth)
        self.config = config
        self.norm = nn.GroupNorm(group_count(channels), channels)
        self.last = nn.Conv2d(channels, 1, 3, padding=1)
        start_zero(self.last)

    def forward(self, evidence: Tensor) -> Tensor:
        """Correct.

        Parameters
        ----------
        evidence
            ``(B, C, m, m)``, m odd, the kernel scaled to a peak of 1 first; C is the
            configuration's `evidence`.

        Returns
        -------
        Tensor
            Kernels ``(B, m, m)``, float32, non-negative, sum 1, in their places: neither moved nor
            cleaned.

        Raises
        ------
        InputError
            If the shape does not fit.
        """
        side = evidence.shape[-1]
        if evidence.shape[1:] != (self.config.evidence, side, side) or side % 2 == 0:
            raise InputError(
                f"the evidence has shape {tuple(evidence.shape)}; this network takes "
                f"(B, {self.config.evidence}, m, m) with odd m"
            )
        maps = self.enter(evidence)
        stack = [self.encode[0](maps)]
        for lower, encode in zip(self.lower, self.encode[1:], strict=True):
            stack.append(encode(lower(stack[-1])))
        kernel = evidence[:, 0]
        change = self.last(self.norm(self.rise(stack)).relu())[:, 0]
        values = (kernel + change.to(kernel.dtype)).relu()
        total = values.sum(dim=(1, 2), keepdim=True)
        # All gone: no kernel at all, so the one that came in is as good as any.
        values = torch.where(total > _SMALLEST_SUM, values, kernel)
        return values / values.sum(dim=(1, 2), keepdim=True)
