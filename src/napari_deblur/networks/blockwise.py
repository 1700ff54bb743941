"""Fourier transforms of blocks of an image: what cross-correlation at short lags is made of.

The image is cut into blocks of ``P`` pixels; a block of one map is correlated with the same block
of the other map *plus a halo of R pixels*, so that no product of pixels at a lag within ``R`` is
missed or counted twice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Blocks", "cross_spectra", "cut_image", "filter_stack", "from_lags", "to_lags"]

# Complex values that one chunk of block spectra may hold: 4 million are 32 MB.
_CHUNK_VALUES = 4_000_000


@dataclass(frozen=True)
class Blocks:
    """How an image is cut: blocks of ``size`` pixels, halo ``radius``, transforms of ``span``."""

    radius: int
    size: int
    rows: int
    columns: int

    @property
    def span(self) -> int:
        """Pixels of a block with its halo."""
        return self.size + 2 * self.radius

    @property
    def half(self) -> int:
        """Columns of a half-plane spectrum."""
        return self.span // 2 + 1

    @property
    def frequencies(self) -> int:
        """Values of a half-plane spectrum."""
        return self.span * self.half

    @property
    def lags(self) -> int:
        """Lags on each axis."""
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


def cut_image(height: int, width: int, radius: int, block: int | None, channels: int) -> Blocks:
    """Cut an image; `block` is the blocks' side, or None for the one with the least arithmetic."""
    size = block or _cheapest_block(height, width, radius, channels)
    return Blocks(radius, size, math.ceil(height / size), math.ceil(width / size))


def cross_spectra(first: Tensor, second: Tensor, cut: Blocks) -> Tensor:
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


def to_lags(spectra: Tensor, pairs: Tensor, batch: int, cut: Blocks) -> Tensor:
    """Inverse transform of columns of ``(B * frequencies, K)``: ``(B, pairs, 2R + 1, 2R + 1)``."""
    parts = []
    for chosen in torch.split(pairs, max(1, _CHUNK_VALUES // spectra.shape[0])):
        planes = spectra[:, chosen].view(batch, cut.frequencies, -1).mT.contiguous()
        planes = planes.view(batch, -1, cut.span, cut.half)
        maps: Tensor = torch.fft.irfft2(planes, s=(cut.span, cut.span))
        parts.append(maps[..., : cut.lags, : cut.lags].contiguous())
    return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]


def from_lags(maps: Tensor, cut: Blocks) -> Tensor:
    """Spectra ``(B * frequencies, K)`` of lag maps, lag 0 at the origin."""
    wide = functional.pad(maps, (0, cut.span - cut.lags, 0, cut.span - cut.lags))
    planes: Tensor = torch.fft.rfft2(wide.roll((-cut.radius, -cut.radius), (-2, -1)))
    return planes.flatten(-2).mT.reshape(maps.shape[0] * cut.frequencies, -1)


def filter_stack(stack: Tensor, transfer: Tensor, cut: Blocks) -> Tensor:
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
