"""Exact cross-correlation of feature maps at short lags, block by block.

The paper correlates every pair of feature maps over the whole image (section 3.1) but keeps only
the lags that a blur kernel can reach.  Here the image is cut into blocks
(`napari_deblur.networks.blockwise`).  The spectra's products add up over the blocks, as one batched
matrix product per frequency, and a single small inverse transform gives the lags.  Time is linear
in the number of pixels and the largest intermediate depends on the blocks' size, the lags and the
number of channels, never on the image.

The gradient has the same structure (it filters the maps with the lag maps' gradient) and is
computed by blocks too, hence the two `torch.autograd.Function` classes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from napari_deblur.errors import InputError
from napari_deblur.networks.blockwise import (
    Blocks,
    cross_spectra,
    cut_image,
    filter_stack,
    from_lags,
    to_lags,
)

__all__ = ["CrossCorrelation", "append_flips", "correlate", "standardise"]

# Complex values that the summed cross-spectra of one group of images may hold: 128 MB.
_GROUP_VALUES = 16_000_000
_SMALLEST_VARIANCE = 1e-12


def standardise(maps: Tensor) -> Tensor:
    """Zero mean and unit Euclidean norm for every channel.

    Parameters
    ----------
    maps
        ``(B, C, H, W)``, real.

    Returns
    -------
    Tensor
        Same shape.  A channel's auto-correlation at lag 0 is then 1; a constant channel becomes 0.
    """
    centred = maps - maps.mean(dim=(-2, -1), keepdim=True)
    variance = centred.square().mean(dim=(-2, -1), keepdim=True)
    pixels = maps.shape[-2] * maps.shape[-1]
    return centred * ((variance + _SMALLEST_VARIANCE) * pixels).rsqrt()


def append_flips(correlations: Tensor) -> Tensor:
    """Append every lag map rotated by 180° as an extra channel.

    ``C_ij(s, t) = C_ji(-s, -t)``, so the flips are the correlations of the pairs ``i > j``.
    """
    return torch.cat((correlations, correlations.flip((-2, -1))), dim=1)


class _PairCorrelation(torch.autograd.Function):
    """All pairs ``i <= j`` of one stack."""

    @staticmethod
    def forward(ctx: Any, stack: Tensor, cut: Blocks) -> Tensor:
        ctx.save_for_backward(stack)
        ctx.cut = cut
        channels = stack.shape[1]
        row, column = torch.triu_indices(channels, channels, device=stack.device)
        spectra = cross_spectra(stack, stack, cut).flatten(1)
        return to_lags(spectra, row * channels + column, stack.shape[0], cut)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (stack,) = ctx.saved_tensors
        channels = stack.shape[1]
        row, column = torch.triu_indices(channels, channels, device=stack.device)
        spectra = from_lags(gradient, ctx.cut)
        upper = spectra.new_zeros(spectra.shape[0], channels * channels)
        upper[:, row * channels + column] = spectra
        upper = upper.view(-1, channels, channels)
        # A map takes part as the first of a pair and as the second: the same lags, turned round,
        # which is the conjugate transpose.
        return filter_stack(stack, upper + upper.mH, ctx.cut), None


class _StackCorrelation(torch.autograd.Function):
    """Every channel of one stack with every channel of another."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor, cut: Blocks) -> Tensor:
        ctx.save_for_backward(first, second)
        ctx.cut = cut
        spectra = cross_spectra(first, second, cut).flatten(1)
        pairs = torch.arange(spectra.shape[1], device=spectra.device)
        return to_lags(spectra, pairs, first.shape[0], cut)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        first, second = ctx.saved_tensors
        transfer = from_lags(gradient, ctx.cut).view(-1, first.shape[1], second.shape[1])
        to_first = to_second = None
        if ctx.needs_input_grad[0]:
            to_first = filter_stack(second, transfer.mH.contiguous(), ctx.cut)
        if ctx.needs_input_grad[1]:
            to_second = filter_stack(first, transfer, ctx.cut)
        return to_first, to_second, None


def _real(stack: Tensor) -> Tensor:
    """At least float32: the sums run over the whole image."""
    return stack.to(torch.promote_types(stack.dtype, torch.float32)).contiguous()


def _check(radius: int, block: int | None) -> None:
    if radius < 0:
        raise InputError(f"radius {radius} is negative; give the largest lag in pixels, 0 or more")
    if block is not None and block < 1:
        raise InputError(f"block {block} is below 1; give the block's side in pixels, or None")


def correlate(first: Tensor, second: Tensor, radius: int, block: int | None = None) -> Tensor:
    """Cross-correlation of every channel of one stack with every channel of another.

    ``C_ij(s, t) = sum_xy first_i(x - s, y - t) second_j(x, y)`` (paper, section 3.1), zero outside
    the image, neither standardised nor scaled.

    Parameters
    ----------
    first, second
        ``(B, C1, H, W)`` and ``(B, C2, H, W)``, real.
    radius
        Largest lag R in pixels.
    block
        Side P of a block in pixels; None picks the one with the least arithmetic.

    Returns
    -------
    Tensor
        ``(B, C1, C2, 2R + 1, 2R + 1)``, float32 (float64 for float64); lag ``(s, t)`` lies at
        ``[..., s + R, t + R]``.
    """
    _check(radius, block)
    if first.shape[0] != second.shape[0] or first.shape[-2:] != second.shape[-2:]:
        raise InputError(
            f"stacks of shapes {tuple(first.shape)} and {tuple(second.shape)} cannot be "
            "correlated; batch, height and width must agree"
        )
    channels = max(first.shape[1], second.shape[1])
    cut = cut_image(first.shape[-2], first.shape[-1], radius, block, channels)
    with torch.autocast(first.device.type, enabled=False):
        maps: Tensor = _StackCorrelation.apply(  # type: ignore[no-untyped-call]
            _real(first), _real(second), cut
        )
    return maps.view(first.shape[0], first.shape[1], second.shape[1], *maps.shape[2:])


class CrossCorrelation(nn.Module):
    """Normalised cross-correlation of all pairs of channels at short lags (paper, section 3.1).

    Parameters
    ----------
    radius
        Largest lag R in pixels.
    block
        Side P of the blocks in pixels; None picks the one with the least arithmetic for the
        image at hand.  The result does not depend on it.
    """

    def __init__(self, radius: int, block: int | None = None) -> None:
        super().__init__()
        _check(radius, block)
        self.radius = radius
        self.block = block

    def forward(self, maps: Tensor) -> Tensor:
        """Correlate.

        Parameters
        ----------
        maps
            ``(B, C, H, W)``, real; every channel is standardised first, so that its
            auto-correlation at lag 0 is 1.

        Returns
        -------
        Tensor
            ``(B, C (C + 1) / 2, 2R + 1, 2R + 1)``, float32 (float64 for float64), for the pairs
            ``i <= j`` in the order (0, 0), (0, 1), ..., (1, 1), ...; lag ``(s, t)`` of
            ``C_ij(s, t) = sum_xy f_i(x - s, y - t) f_j(x, y)`` lies at ``[..., s + R, t + R]``.
        """
        channels, height, width = maps.shape[1:]
        cut = cut_image(height, width, self.radius, self.block, channels)
        group = max(1, _GROUP_VALUES // (channels * channels * cut.frequencies))
        with torch.autocast(maps.device.type, enabled=False):
            stack = standardise(_real(maps))
            parts: list[Tensor] = [
                _PairCorrelation.apply(part, cut)  # type: ignore[no-untyped-call]
                for part in torch.split(stack, group)
            ]
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def extra_repr(self) -> str:
        """Return the radius and block size, for ``repr``."""
        return f"radius={self.radius}, block={self.block}"
