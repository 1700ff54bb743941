"""The guided U-Net for one kernel: the same numbers with less work.

Inference deblurs a whole image with one kernel, so whatever depends on the kernel and the weights
alone is worked out once, in float64, before the first pixel:

- ``(W * x + c) (1 + m(k)) + b(k)`` is a convolution with weights ``W (1 + m)`` and bias
  ``c (1 + m) + b``: guidance costs nothing per pixel, and no guide is evaluated per tile.
- A transposed 5x5 convolution of stride 2 multiplies mostly zeros.  Each of the four positions
  (phases) of a fine pixel within its coarse pixel sees only every other tap: four convolutions of
  3x3, 3x2, 2x3 and 2x2 at the coarse resolution.
- Between the skip's 3x3 convolution and the 1x1 convolution over ``(skip, risen)`` nothing is
  non-linear: they merge into one 3x3 convolution, and the 1x1 convolution's other half commutes
  with the interleaving of the phases.  So nothing is ever concatenated.

Weights are brought to the precision of the convolutions once, and not by autocast in every call.
The modules that are trained know nothing of this; the tests hold the two equal to 1e-10.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_deblur.networks.guides import GuidedBlock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_deblur.networks.unet import GuidedUNet

__all__ = ["FoldedUNet", "fold"]

Layer = TypeVar("Layer", bound=nn.Module)

_PHASES = ((0, 0), (0, 1), (1, 0), (1, 1))


@dataclass(frozen=True)
class _Convolution:
    """A convolution whose weights (O, I, h, w) are final; `bias` is (O,)."""

    weight: Tensor
    bias: Tensor | None
    stride: int = 1
    padding: int = 1

    def __call__(self, maps: Tensor) -> Tensor:
        return functional.conv2d(maps, self.weight, self.bias, self.stride, self.padding)

    def rectified(self, maps: Tensor) -> Tensor:
        """The same with a ReLU, in place of the convolution's own result."""
        return self(maps).relu_()


@dataclass(frozen=True)
class _Block:
    """A `GuidedBlock` whose guide has been folded into its convolutions."""

    convolutions: tuple[_Convolution, ...]
    skips: bool

    def __call__(self, maps: Tensor) -> Tensor:
        *inner, last = self.convolutions
        result = maps
        for convolution in inner:
            result = convolution.rectified(result)
        if not self.skips:
            return last.rectified(result)
        return last(result).add_(maps).relu_()


@dataclass(frozen=True)
class _Ascent:
    """Up by two and joined with the skip: ``relu(skip * S + J relu(rise(maps)))``."""

    skip: _Convolution
    rise: tuple[_Convolution, ...]
    join: _Convolution

    def __call__(self, maps: Tensor, skip: Tensor) -> Tensor:
        result = self.skip(skip)
        for (row, column), rise in zip(_PHASES, self.rise, strict=True):
            risen = self.join(rise.rectified(maps))
            # Padded alike on both sides, a kernel of two taps gives one row or column too many.
            result[..., row::2, column::2].add_(risen[..., row:, column:])
        return result.relu_()


@dataclass(frozen=True)
class FoldedUNet:
    """What `fold` makes of a `GuidedUNet`: for inference with one kernel only.

    Attributes
    ----------
    dtype
        What it computes in.
    """

    encode: tuple[_Block, ...]
    lower: tuple[_Convolution, ...]
    ascend: tuple[_Ascent, ...]
    decode: tuple[_Block, ...]
    last: _Convolution
    dtype: torch.dtype

    @torch.inference_mode()
    def __call__(self, image: Tensor) -> Tensor:
        """``(B, entering, H, W)`` to ``(B, image_channels, H, W)``, in `dtype`."""
        maps = image.to(self.dtype).contiguous(memory_format=torch.channels_last)
        maps = self.encode[0](maps)
        skips: list[Tensor] = []
        for lower, encode in zip(self.lower, self.encode[1:], strict=True):
            skips.append(maps)
            maps = encode(lower.rectified(maps))
        for ascend, decode in zip(reversed(self.ascend), reversed(self.decode), strict=True):
            maps = ascend(maps, skips.pop())
            maps = decode(maps)
        return self.last(maps)


@torch.inference_mode()
def fold(unet: GuidedUNet, kernel: Tensor, dtype: torch.dtype | None = None) -> FoldedUNet:
    """Work out everything of a U-Net that depends on the kernel alone.

    Parameters
    ----------
    unet
        The network; it is not changed.
    kernel
        ``(m, m)`` of the side that the network was made for, sum 1, on the network's device.
    dtype
        Precision of the convolutions; that of the network's weights by default.

    Returns
    -------
    FoldedUNet
        Equal to ``lambda image: unet(image, kernel)`` but for rounding.
    """
    dtype = dtype or unet.last.weight.dtype
    return FoldedUNet(
        encode=tuple(_fold_block(block, kernel, dtype) for block in _all(unet.encode, GuidedBlock)),
        lower=tuple(_final(lower, dtype) for lower in _all(unet.lower, nn.Conv2d)),
        ascend=tuple(
            _fold_ascent(skip, rise, join, dtype)
            for skip, rise, join in zip(
                _all(unet.skip, nn.Conv2d),
                _all(unet.rise, nn.ConvTranspose2d),
                _all(unet.join, nn.Conv2d),
                strict=True,
            )
        ),
        decode=tuple(_fold_block(block, kernel, dtype) for block in _all(unet.decode, GuidedBlock)),
        last=_final(unet.last, dtype),
        dtype=dtype,
    )


def _all(modules: nn.ModuleList, kind: type[Layer]) -> Iterator[Layer]:
    """Members of a module list, whose type torch does not know."""
    for module in modules:
        assert isinstance(module, kind)
        yield module


def _fold_block(block: GuidedBlock, kernel: Tensor, dtype: torch.dtype) -> _Block:
    """Guided convolutions as plain ones (paper, equation 1, solved for weights and bias)."""
    terms = block.guide(kernel[None]) if block.guide is not None else ()
    convolutions = []
    for i, layer in enumerate(_all(block.convolutions, nn.Conv2d)):
        weight, bias = _wide(layer.weight), _wide(layer.bias)
        multiplier, offset = terms[i] if i < len(terms) else (None, None)
        if multiplier is not None:
            factor = 1 + _wide(multiplier[0])
            weight, bias = weight * factor[:, None, None, None], bias * factor
        if offset is not None:
            bias = bias + _wide(offset[0])
        convolutions.append(_convolution(weight, bias, dtype))
    return _Block(tuple(convolutions), block.skips)


def _fold_ascent(
    skip: nn.Conv2d, rise: nn.ConvTranspose2d, join: nn.Conv2d, dtype: torch.dtype
) -> _Ascent:
    mixed = _wide(join.weight)[..., 0, 0]
    kept, risen = mixed[:, : skip.out_channels], mixed[:, skip.out_channels :]
    merged = (kept @ _wide(skip.weight).flatten(1)).view(skip.weight.shape)
    bias = kept @ _wide(skip.bias) + _wide(join.bias)
    # Fine pixel 2 i + p sees taps 2 (i - j) + p + 2 of coarse pixels j: every other one, backwards.
    taps = _wide(rise.weight).transpose(0, 1)
    phases = (taps[..., row::2, column::2].flip((-2, -1)) for row, column in _PHASES)
    return _Ascent(
        skip=_convolution(merged, bias, dtype),
        rise=tuple(_convolution(phase, _wide(rise.bias), dtype) for phase in phases),
        join=_convolution(risen[..., None, None], None, dtype, padding=0),
    )


def _final(layer: nn.Conv2d, dtype: torch.dtype) -> _Convolution:
    """A convolution that nothing is folded into."""
    return _convolution(_wide(layer.weight), _wide(layer.bias), dtype, stride=layer.stride[0])


def _wide(values: Tensor | None) -> Tensor:
    """In float64, so that folding rounds once only; Metal has nothing wider than float32."""
    assert values is not None  # every layer of the U-Net has a bias
    return values if values.device.type == "mps" else values.double()


def _convolution(
    weight: Tensor,
    bias: Tensor | None,
    dtype: torch.dtype,
    *,
    stride: int = 1,
    padding: int = 1,
) -> _Convolution:
    final = weight.to(dtype).contiguous(memory_format=torch.channels_last)
    return _Convolution(final, None if bias is None else bias.to(dtype), stride, padding)
