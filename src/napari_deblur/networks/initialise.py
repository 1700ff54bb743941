"""How the convolutions start: He's initialisation, no bias."""

from __future__ import annotations

from torch import nn

__all__ = ["start_convolutions", "start_zero"]


def start_convolutions(module: nn.Module) -> None:
    """Initialise every convolution inside `module` for the ReLU that follows it.

    Normal weights with the variance of He et al., "Delving deep into rectifiers" (2015), and zero
    biases.  A transposed convolution with stride s spreads its taps over s² output pixels, so each
    of those sees fewer.
    """
    for layer in module.modules():
        if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            continue
        taps = layer.kernel_size[0] * layer.kernel_size[1]
        if isinstance(layer, nn.ConvTranspose2d):
            spread = taps / (layer.stride[0] * layer.stride[1])
            nn.init.normal_(layer.weight, std=(2 / (layer.in_channels * spread)) ** 0.5)
        else:
            nn.init.normal_(layer.weight, std=(2 / (layer.in_channels * taps)) ** 0.5)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def start_zero(layer: nn.Conv2d | nn.Linear) -> None:
    """Make `layer` give zero until it has learned something."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
