"""A learned deconvolution: half-quadratic splitting with filters and shrinkage from training.

Cascades of shrinkage fields (U. Schmidt and S. Roth, "Shrinkage fields for effective image
restoration", CVPR 2014), with a weight of the data that knows the noise level (J. Kruse, C. Rother
and U. Schmidt, "Learning to push the limits of efficient FFT-based image deconvolution", ICCV
2017).  What a hyper-Laplacian deconvolution does with two gradients and one formula in each round,
a stage does with a bank of filters and a function of all their responses.

The few parameters know nothing of a kernel's size: one set serves all.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_deblur.blur.boundaries import crop_padding, pad_for_deconvolution
from napari_deblur.blur.deconvolution import DataTerm, data_term, solve_data_step
from napari_deblur.blur.spectra import gradient_power, kernel_spectrum

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ShrinkageFields"]

# Pixels whose responses are in memory at once: a processor's caches hold so many, and a graphics
# card wants many.
_STRIP: Final = 2**14
_STRIP_ON_CARD: Final = 2**20
# Where training starts: the weight of the data times the noise's variance, the noise below which
# it does not rise, and soft thresholds, which fall from stage to stage as the weight does.
_FIRST_WEIGHT: Final = 2e-3
_FIRST_FLOOR: Final = 2e-3
_FIRST_THRESHOLD: Final = 0.04
_WEIGHT_DECAY: Final = math.exp(-1.0)
_THRESHOLD_DECAY: Final = 0.6
_FILTER_SCALE: Final = 0.3
_LEAST_POWER: Final = 1e-6  # where neither the data nor the filters tell anything


class ShrinkageFields(nn.Module):
    """Deconvolve with a known kernel: a Tikhonov solution, then `stages` of learned splitting.

    Parameters
    ----------
    stages
        How many.
    filter_size
        Side f of the filters in pixels, odd; a stage has ``f * f - 1``, all with mean 0.
    channels
        Hidden channels of the function of the responses, at least twice the filters.
    """

    def __init__(self, stages: int, filter_size: int, channels: int) -> None:
        super().__init__()
        self.weight = _DataWeight(_FIRST_WEIGHT)
        self.stages = nn.ModuleList(_Stage(n, filter_size, channels) for n in range(stages))

    def forward(self, blurry: Tensor, kernel: Tensor, noise_sigma: Tensor) -> list[Tensor]:
        """Deconvolve.

        Parameters
        ----------
        blurry
            ``(B, C, H, W)`` in [0, 1]; every channel goes through alone.
        kernel
            ``(B, n, n)`` with odd n, sum 1.
        noise_sigma
            ``(B,)``, standard deviation of the noise in the image's unit.

        Returns
        -------
        list of Tensor
            The estimates ``(B, C, H, W)`` of all stages, float32, the first being the Tikhonov
            solution and the last the best.
        """
        return list(self._estimates(blurry, kernel, noise_sigma))

    def ends(self, blurry: Tensor, kernel: Tensor, noise_sigma: Tensor) -> tuple[Tensor, Tensor]:
        """First and last of what `forward` returns; those between are not kept."""
        estimates = self._estimates(blurry, kernel, noise_sigma)
        first = last = next(estimates)
        for estimate in estimates:
            last = estimate
        return first, last

    def _estimates(self, blurry: Tensor, kernel: Tensor, noise_sigma: Tensor) -> Iterator[Tensor]:
        precision = _precision(blurry)
        # No gradient: the continuation of the image learns nothing, and costs much.
        with torch.autocast(blurry.device.type, enabled=False), torch.no_grad():
            padded = pad_for_deconvolution(blurry, kernel)
            term = data_term(padded, kernel)
        shape, side = (blurry.shape[-2], blurry.shape[-1]), kernel.shape[-1]
        with torch.autocast(blurry.device.type, enabled=False):
            estimates = self._on_torus(padded, term, noise_sigma.to(padded), precision)
            for each in estimates:
                yield crop_padding(each, shape, side)

    def _on_torus(
        self, padded: Tensor, term: DataTerm, noise_sigma: Tensor, precision: torch.dtype
    ) -> Iterator[Tensor]:
        nothing = torch.zeros_like(padded)
        smooth = gradient_power(term.shape, padded) + _LEAST_POWER
        estimate = solve_data_step(term, nothing, self.weight(noise_sigma), smooth)
        yield estimate
        for stage in self.stages:
            estimate = stage(estimate, term, noise_sigma, precision)
            yield estimate


def _precision(blurry: Tensor) -> torch.dtype:
    """The type that autocast asks for, where nothing is learned; else that of the image."""
    kind = blurry.device.type
    if torch.is_grad_enabled() or not torch.is_autocast_enabled(kind):
        return blurry.dtype
    return torch.get_autocast_dtype(kind)


class _DataWeight(nn.Module):
    """Weight of the data: learned, over the noise's variance and a learned floor of it."""

    def __init__(self, first: float) -> None:
        super().__init__()
        self.log_weight = nn.Parameter(torch.tensor(math.log(first)))
        self.log_floor = nn.Parameter(torch.tensor(2 * math.log(_FIRST_FLOOR)))

    def forward(self, noise_sigma: Tensor) -> Tensor:
        """``(B,)`` to ``(B,)``."""
        return self.log_weight.exp() / (noise_sigma.square() + self.log_floor.exp())


class _Stage(nn.Module):
    """Solve ``argmin_x w |k * x - b|^2 + sum_i |f_i * x - r_i|^2``, r = shrunk responses.

    The responses of all filters at a pixel go through one hidden layer, which starts as soft
    thresholding: ``relu(v - t) - relu(-v - t)``.
    """

    def __init__(self, number: int, side: int, channels: int) -> None:
        super().__init__()
        count = side * side - 1
        self.side = side
        self.weight = _DataWeight(_FIRST_WEIGHT * _WEIGHT_DECAY**number)
        self.mixture = nn.Parameter(_FILTER_SCALE * torch.eye(count))
        self.expand = nn.Parameter(0.02 * torch.randn(channels, count))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.contract = nn.Parameter(2e-3 * torch.randn(count, channels))
        self.register_buffer("basis", _cosines(side), persistent=False)
        self._start_as_threshold(_FIRST_THRESHOLD * _THRESHOLD_DECAY**number)

    @torch.no_grad()
    def _start_as_threshold(self, threshold: float) -> None:
        count = len(self.mixture)
        both = torch.cat((torch.eye(count), -torch.eye(count)))
        self.expand[: 2 * count] = both
        self.bias[: 2 * count] = -threshold
        self.contract[:, : 2 * count] = both.T

    def forward(
        self, estimate: Tensor, term: DataTerm, noise_sigma: Tensor, precision: torch.dtype
    ) -> Tensor:
        """``(B, C, h, w)``, circular, to the same; responses are computed in `precision`."""
        filters = self.mixture @ self.get_buffer("basis")
        # Both banks of filters are folded into the layers beside them.
        inwards, outwards = self.expand @ filters, filters.T @ self.contract
        # No filter sees a patch's mean: the middle pixel can be taken off all of them, and its
        # place takes the bias.
        middle = self.side**2 // 2
        inwards = torch.cat(
            (inwards[:, :middle], self.bias[:, None], inwards[:, middle + 1 :]), dim=1
        )
        layers = (inwards.to(precision), outwards.to(precision))
        target = torch.stack([self._shrunk(image, *layers) for image in estimate.flatten(0, 1)])
        power = _power(filters.view(-1, 1, self.side, self.side), term.shape) + _LEAST_POWER
        return solve_data_step(term, target.view_as(estimate), self.weight(noise_sigma), power)

    def _shrunk(self, image: Tensor, inwards: Tensor, outwards: Tensor) -> Tensor:
        """Sum of the shrunk responses of one image (h, w), each correlated with its filter."""
        reach, (height, width) = self.side // 2, image.shape
        padded = functional.pad(image[None], (reach,) * 4, mode="circular")[0]
        rows = max(1, (_STRIP if image.device.type == "cpu" else _STRIP_ON_CARD) // width)
        spread = padded.new_zeros(height + 2 * reach, width + 2 * reach)
        for top in range(0, height, rows):
            strip = slice(top, min(top + rows, height) + 2 * reach)
            patches = _Gather.apply(  # type: ignore[no-untyped-call]
                padded[strip], self.side, inwards.dtype
            )
            wanted = outwards @ _rectified(inwards @ patches)
            spread[strip] += _Scatter.apply(wanted, width)  # type: ignore[no-untyped-call]
        return _wrapped(spread, reach)


def _rectified(values: Tensor) -> Tensor:
    """ReLU in place."""
    if values.dtype != torch.bfloat16 or values.requires_grad:
        return values.relu_()
    # A negative number is one as an integer, too; processors clamp those five times as fast.
    values.view(torch.int16).clamp_(min=0)
    return values


def _patches(image: Tensor, side: int) -> Tensor:
    """All square patches of (H, W), as a view (side, side, H - side + 1, W - side + 1)."""
    return image.unfold(0, side, 1).unfold(1, side, 1).permute(2, 3, 0, 1)


def _summed(patches: Tensor) -> Tensor:
    """Adjoint of `_patches`, in float32 at least: add patches where they lie."""
    side, _, height, width = patches.shape
    reach = side - 1
    # With zeros around, a view that shifts each image of pixels by their place in the patch is
    # summed in one go; zeros behind a row serve the next one, too.
    padded = functional.pad(patches, (0, reach, reach, reach))
    plane, row = padded.stride(1), padded.stride(2)
    shifted = padded.as_strided(
        (side, side, height + reach, width + reach),
        (side * plane - row, plane - 1, row, 1),
        padded.storage_offset() + reach * row,
    )
    return shifted.sum((0, 1), dtype=torch.promote_types(patches.dtype, torch.float32))


class _Gather(torch.autograd.Function):
    """Patches of (H, W) as columns (side^2, n) of a type, less their middle pixel, which is 1."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, side: int, dtype: torch.dtype) -> Tensor:
        ctx.side, ctx.width = side, image.shape[1] - side + 1
        patches = _patches(image, side)
        # Small numbers lose little to rounding.  Left alone, torch would choose a slow layout.
        small = patches.new_empty(patches.shape)
        torch.sub(patches, patches[side // 2, side // 2], out=small)
        columns = small.view(side * side, -1).to(dtype)
        columns[side * side // 2] = 1
        return columns

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        side = ctx.side
        patches = gradient.view(side, side, -1, ctx.width).clone()
        middle = side // 2
        patches[middle, middle] = 0
        patches[middle, middle] = -patches.sum((0, 1))
        return _summed(patches), None, None


class _Scatter(torch.autograd.Function):
    """Columns (side^2, n), `width` of which lie in a row, added where the patches lie."""

    @staticmethod
    def forward(ctx: Any, columns: Tensor, width: int) -> Tensor:
        side = math.isqrt(len(columns))
        ctx.side, ctx.dtype = side, columns.dtype
        return _summed(columns.view(side, side, -1, width))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        columns = _patches(gradient, ctx.side).flatten(2).flatten(0, 1)
        return columns.to(ctx.dtype), None


def _wrapped(spread: Tensor, reach: int) -> Tensor:
    """Add what reaches beyond the borders of a torus to its other side."""
    height, width = (side - 2 * reach for side in spread.shape)
    rows = spread[reach : reach + height].clone()
    rows[:reach] += spread[-reach:]
    rows[-reach:] += spread[:reach]
    result = rows[:, reach : reach + width].clone()
    result[:, :reach] += rows[:, -reach:]
    result[:, -reach:] += rows[:, :reach]
    return result


def _power(filters: Tensor, shape: tuple[int, int]) -> Tensor:
    """Sum of the filters' (n, 1, f, f) power spectra: that of their summed auto-correlation."""
    side = filters.shape[-1]
    padded = functional.pad(filters, (side - 1,) * 4).transpose(0, 1)
    correlation = functional.conv2d(padded, filters.transpose(0, 1))
    return kernel_spectrum(correlation[0], shape).real


def _cosines(side: int) -> Tensor:
    """Discrete cosine basis (side^2 - 1, side^2) of square filters, without the constant."""
    places = (torch.arange(side) + 0.5) * math.pi / side
    waves = torch.cos(torch.arange(side)[:, None] * places) * math.sqrt(2 / side)
    waves[0] /= math.sqrt(2)
    return torch.kron(waves, waves)[1:]
