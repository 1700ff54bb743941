"""What is correlated: learned feature maps, and fixed ones made of whitened derivatives.

Natural images lose their spatial correlation upon differentiation (paper, section 3.1), so the
correlations of derivatives show the blur kernel rather than the scene.  Dividing by the local
contrast keeps one strong edge from outvoting the rest of the image.  Auto-correlation cannot tell
a kernel from its 180° rotation; point-wise functions of the derivatives, correlated with the
derivatives themselves, can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_deblur.networks.initialise import start_convolutions

if TYPE_CHECKING:
    from napari_deblur.networks.config import AnalysisConfig

__all__ = ["FixedFeatures", "LearnedFeatures", "standardise_image"]

# Central first and second differences; a blurred image has little energy in finer ones.
_STENCILS = {
    "horizontal": ((0, 0, 0), (-1, 0, 1), (0, 0, 0)),
    "vertical": ((0, -1, 0), (0, 0, 0), (0, 1, 0)),
    "diagonal": ((-1, 0, 0), (0, 0, 0), (0, 0, 1)),
    "antidiagonal": ((0, 0, -1), (0, 0, 0), (1, 0, 0)),
    "horizontal2": ((0, 0, 0), (1, -2, 1), (0, 0, 0)),
    "vertical2": ((0, 1, 0), (0, -2, 0), (0, 1, 0)),
}
# Contrast below this fraction of the image's own (in energy) is not amplified to full strength:
# such places hold noise, not edges.
_CONTRAST_FLOOR = 0.02
_SMALLEST_ENERGY = 1e-12


def standardise_image(luma: Tensor) -> Tensor:
    """Zero mean and unit variance per image (paper, section 4); a flat image becomes 0."""
    centred = luma - luma.mean(dim=(-3, -2, -1), keepdim=True)
    variance = centred.square().mean(dim=(-3, -2, -1), keepdim=True)
    return centred * (variance + _SMALLEST_ENERGY).rsqrt()


class FixedFeatures(nn.Module):
    """Derivatives divided by the local contrast, and point-wise functions of them.

    Parameters
    ----------
    names
        Channels, from `napari_deblur.networks.config.FIXED_FEATURES`.
    radius
        The contrast is measured in a window of ``2 * radius + 1`` pixels.
    """

    stencils: Tensor

    def __init__(self, names: tuple[str, ...], radius: int) -> None:
        super().__init__()
        self.radius = radius
        self.derivatives = tuple(dict.fromkeys(name.partition(":")[0] for name in names))
        self.channels = tuple(
            (self.derivatives.index(name.partition(":")[0]), name.partition(":")[2])
            for name in names
        )
        stencils = torch.tensor([_STENCILS[name] for name in self.derivatives])
        self.register_buffer("stencils", stencils.float()[:, None], persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """``(B, 1, H, W)`` to ``(B, channels, H - 2, W - 2)``, float32 or float64."""
        with torch.autocast(image.device.type, enabled=False):
            image = image.to(torch.promote_types(image.dtype, torch.float32))
            derivatives = functional.conv2d(image, self.stencils.to(image.dtype))
            energy = derivatives.square().mean(dim=1, keepdim=True)
            floor = _CONTRAST_FLOOR * energy.mean(dim=(-2, -1), keepdim=True) + _SMALLEST_ENERGY
            derivatives = derivatives * (_window_mean(energy, self.radius) + floor).rsqrt()
            return torch.cat(
                [_transform(derivatives[:, i : i + 1], kind) for i, kind in self.channels], dim=1
            )


def _window_mean(energy: Tensor, radius: int) -> Tensor:
    """Mean over the part of a ``2 * radius + 1`` window that lies inside the image."""
    for side in (-1, -2):
        reach = min(radius, energy.shape[side] - 1)
        shape = (1, 2 * reach + 1) if side == -1 else (2 * reach + 1, 1)
        padding = (0, reach) if side == -1 else (reach, 0)
        energy = functional.avg_pool2d(energy, shape, 1, padding, count_include_pad=False)
    return energy


def _transform(derivative: Tensor, kind: str) -> Tensor:
    if kind == "rectified":
        return derivative.relu()
    if kind == "squared":
        return derivative.square()
    if kind == "signed-square":
        return derivative * derivative.abs()
    if kind == "signed-root":
        return derivative.sign() * derivative.abs().sqrt()
    return derivative


class LearnedFeatures(nn.Sequential):
    """Valid convolutions with ReLU, reduced by a 1x1 convolution with ReLU (paper, section 3.1)."""

    def __init__(self, config: AnalysisConfig) -> None:
        layers: list[nn.Module] = []
        channels = 1
        for _ in range(config.convolutions):
            layers += [nn.Conv2d(channels, config.filters, config.filter_size), nn.ReLU()]
            channels = config.filters
        layers += [nn.Conv2d(channels, config.learned_channels, 1), nn.ReLU()]
        super().__init__(*layers)
        start_convolutions(self)
        first = layers[0]
        if isinstance(first, nn.Conv2d):
            with torch.no_grad():  # filters that differentiate whiten natural images
                first.weight -= first.weight.mean(dim=(-2, -1), keepdim=True)
