"""Exact cross-correlation of feature maps at short lags, block by block.

The paper correlates every pair of feature maps over the whole image (section 3.1) but keeps only
the lags that a blur kernel can reach.  Here the image is cut into blocks of ``P`` pixels; a block
of one map is correlated with the same block of the other map *plus a halo of R pixels*, so that
no product of pixels at a lag within ``R`` is missed or counted twice.  The spectra's products add
up over the blocks, as one batched matrix product per frequency, and a single small inverse
transform gives the lags.  Time is linear in the number of pixels and the largest intermediate
depends on ``P``, ``R`` and the number of channels, never on the image.

The gradient has the same structure (it filters the maps with the lag maps' gradient) and is
computed by blocks too, hence the two `torch.autograd.Function` classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from napari_deblur.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CrossCorrelation", "append_flips", "correlate", "standardise"]

# Complex values that one chunk of block spectra, or one group of summed cross-spectra, may hold:
# 16 million values are 128 MB.
_CHUNK_VALUES = 4_000_000
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


@dataclass(frozen=True)
class _Blocks:
    """How an image is cut: blocks of ``size`` pixels, halo ``radius``, transforms of ``span``."""

    radius: int
    size: int
    rows: int
    columns: int

    @property
    def span(self) -> int:
        return self.size + 2 * self.radius

    @property
    def half(self) -> int:
        """Columns of a half-plane spectrum."""
        return self.span // 2 + 1

    @property
    def frequencies(self) -> int:
        return self.span * self.half

    @property
    def lags(self) -> int:
        return 2 * self.radius + 1

    def padded(self, stack: Tensor) -> Tensor:
        """Zeros around the image: a halo on every side, and up to a whole number of blocks."""
        height, width = stack.shape[-2:]
        r = self.radius
        below = self.rows * self.size - height + r
        right = self.columns * self.size - width + r
        return functional.pad(stack, (r, right, r, below))

    def chunks(self, maps: int) -> Iterator[tuple[slice, slice]]:
        """Rows and columns of blocks whose spectra of `maps` maps fit into one chunk."""
        fit = max(1, _CHUNK_VALUES // (maps * self.frequencies))
        width = min(self.columns, fit)
        height = min(self.rows, max(1, fit // width))
        for top in range(0, self.rows, height):
            for left in range(0, self.columns, width):
                yield (
                    slice(top, min(top + height, self.rows)),
                    slice(left, min(left + width, self.columns)),
                )

    def halo_spectra(self, padded: Tensor, rows: slice, columns: slice) -> Tensor:
        """Spectra of the blocks with their halo: ``(B * frequencies, blocks, C)``."""
        region = self._region(padded, rows, columns, 0, self.span)
        blocks = region.unfold(2, self.span, self.size).unfold(3, self.span, self.size)
        return self._spectra(blocks.movedim(1, 3).contiguous())

    def block_spectra(self, padded: Tensor, rows: slice, columns: slice) -> Tensor:
        """Conjugate spectra of the bare blocks, zero beyond: ``(B * frequencies, C, blocks)``."""
        region = self._region(padded, rows, columns, self.radius, self.size)
        blocks = region.unfold(2, self.size, self.size).unfold(3, self.size, self.size)
        return self._spectra(blocks.flatten(2, 3).unsqueeze(2)).conj_physical()

    def _region(
        self, padded: Tensor, rows: slice, columns: slice, offset: int, side: int
    ) -> Tensor:
        top, bottom = rows.start * self.size, (rows.stop - 1) * self.size + side
        left, right = columns.start * self.size, (columns.stop - 1) * self.size + side
        return padded[..., offset + top : offset + bottom, offset + left : offset + right]

    def _spectra(self, blocks: Tensor) -> Tensor:
        """Transform ``(B, ., ., ., rows, columns)`` and bring the frequencies to the front."""
        batch, inner = blocks.shape[0], blocks.shape[3]
        spectra = torch.fft.rfft2(blocks, s=(self.span, self.span))
        turned = spectra.reshape(batch, -1, self.frequencies).mT.contiguous()
        result: Tensor = turned.view(batch * self.frequencies, -1, inner)
        return result


@lru_cache(maxsize=256)
def _fast_span(smallest: int) -> int:
    """Smallest 5-smooth multiple of 8 that is not below `smallest`: quick in every FFT library."""
    span = smallest + -smallest % 8
    while True:
        rest = span
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return span
        span += 8


@lru_cache(maxsize=256)
def _cheapest_block(height: int, width: int, radius: int, channels: int) -> int:
    """Block size with the least arithmetic for this image."""

    def cost(span: int) -> float:
        size = span - 2 * radius
        blocks = math.ceil(height / size) * math.ceil(width / size)
        transform = span * span * 5 * math.log2(span)
        products = span * span * 4 * channels**2
        return blocks * (2 * channels * transform + products) + channels**2 / 2 * transform

    largest = min(max(height, width), max(4 * radius, 64))
    spans = {_fast_span(2 * radius + size) for size in range(min(largest, 8), largest + 1)}
    return min(sorted(spans), key=cost) - 2 * radius


def _cut(height: int, width: int, radius: int, block: int | None, channels: int) -> _Blocks:
    size = block or _cheapest_block(height, width, radius, channels)
    return _Blocks(radius, size, math.ceil(height / size), math.ceil(width / size))


def _cross_spectra(first: Tensor, second: Tensor, cut: _Blocks) -> Tensor:
    """Cross-spectra summed over the blocks: ``(B * frequencies, C1, C2)``, complex."""
    batch, one, two = first.shape[0], first.shape[1], second.shape[1]
    total = first.new_zeros(
        (batch * cut.frequencies, one, two), dtype=torch.promote_types(first.dtype, torch.cfloat)
    )
    padded_first = cut.padded(first)
    padded_second = padded_first if second is first else cut.padded(second)
    for rows, columns in cut.chunks(batch * max(one, two)):
        bare = cut.block_spectra(padded_first, rows, columns)
        total.baddbmm_(bare, cut.halo_spectra(padded_second, rows, columns))
    return total


def _to_lags(spectra: Tensor, pairs: Tensor, batch: int, cut: _Blocks) -> Tensor:
    """Inverse transform of columns of ``(B * frequencies, K)``: ``(B, pairs, 2R + 1, 2R + 1)``."""
    parts = []
    for chosen in torch.split(pairs, max(1, _CHUNK_VALUES // spectra.shape[0])):
        planes = spectra[:, chosen].view(batch, cut.frequencies, -1).mT.contiguous()
        planes = planes.view(batch, -1, cut.span, cut.half)
        maps: Tensor = torch.fft.irfft2(planes, s=(cut.span, cut.span))
        parts.append(maps[..., : cut.lags, : cut.lags].contiguous())
    return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]


def _from_lags(maps: Tensor, cut: _Blocks) -> Tensor:
    """Spectra ``(B * frequencies, K)`` of lag maps, lag 0 at the origin."""
    wide = functional.pad(maps, (0, cut.span - cut.lags, 0, cut.span - cut.lags))
    planes: Tensor = torch.fft.rfft2(wide.roll((-cut.radius, -cut.radius), (-2, -1)))
    return planes.flatten(-2).mT.reshape(maps.shape[0] * cut.frequencies, -1)


def _filter(stack: Tensor, transfer: Tensor, cut: _Blocks) -> Tensor:
    """Filter ``(B, C1, H, W)`` with transfer functions ``(B * frequencies, C1, C2)``, by blocks."""
    batch, _, height, width = stack.shape
    channels = transfer.shape[2]
    result = stack.new_empty(batch, channels, cut.rows * cut.size, cut.columns * cut.size)
    padded = cut.padded(stack)
    inner = slice(cut.radius, cut.radius + cut.size)
    for rows, columns in cut.chunks(batch * max(stack.shape[1], channels)):
        spectra = torch.bmm(cut.halo_spectra(padded, rows, columns), transfer)
        planes = spectra.view(batch, cut.frequencies, -1).mT.contiguous()
        across = columns.stop - columns.start
        planes = planes.view(batch, -1, across, channels, cut.span, cut.half)
        blocks = torch.fft.irfft2(planes, s=(cut.span, cut.span))[..., inner, inner]
        result[
            ...,
            rows.start * cut.size : rows.stop * cut.size,
            columns.start * cut.size : columns.stop * cut.size,
        ] = blocks.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)
    return result[..., :height, :width]


class _PairCorrelation(torch.autograd.Function):
    """All pairs ``i <= j`` of one stack."""

    @staticmethod
    def forward(ctx: Any, stack: Tensor, cut: _Blocks) -> Tensor:
        ctx.save_for_backward(stack)
        ctx.cut = cut
        channels = stack.shape[1]
        row, column = torch.triu_indices(channels, channels, device=stack.device)
        spectra = _cross_spectra(stack, stack, cut).flatten(1)
        return _to_lags(spectra, row * channels + column, stack.shape[0], cut)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (stack,) = ctx.saved_tensors
        channels = stack.shape[1]
        row, column = torch.triu_indices(channels, channels, device=stack.device)
        spectra = _from_lags(gradient, ctx.cut)
        upper = spectra.new_zeros(spectra.shape[0], channels * channels)
        upper[:, row * channels + column] = spectra
        upper = upper.view(-1, channels, channels)
        # A map takes part as the first of a pair and as the second: the same lags, turned round,
        # which is the conjugate transpose.
        return _filter(stack, upper + upper.mH, ctx.cut), None


class _StackCorrelation(torch.autograd.Function):
    """Every channel of one stack with every channel of another."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor, cut: _Blocks) -> Tensor:
        ctx.save_for_backward(first, second)
        ctx.cut = cut
        spectra = _cross_spectra(first, second, cut).flatten(1)
        pairs = torch.arange(spectra.shape[1], device=spectra.device)
        return _to_lags(spectra, pairs, first.shape[0], cut)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        first, second = ctx.saved_tensors
        transfer = _from_lags(gradient, ctx.cut).view(-1, first.shape[1], second.shape[1])
        to_first = to_second = None
        if ctx.needs_input_grad[0]:
            to_first = _filter(second, transfer.mH.contiguous(), ctx.cut)
        if ctx.needs_input_grad[1]:
            to_second = _filter(first, transfer, ctx.cut)
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
    cut = _cut(first.shape[-2], first.shape[-1], radius, block, channels)
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
        cut = _cut(height, width, self.radius, self.block, channels)
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
