"""Weights of a network for smaller kernels as the start of one for larger kernels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

__all__ = ["first_weights", "widen_guides"]

_FIRST_OF_GUIDE = "guide.layers.0.weight"
_LEARNED_FRONT_END = "shrinkage."
_LAST_LAYER = "unet.last."


def first_weights(tensors: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Make the weights of another network fit for one to start from.

    Guides are widened (`widen_guides`).  A network with a learned front end may start from one
    without: the front end then keeps its own weights, and the U-Net adds nothing at first, because
    what it has learned to add belongs to another deconvolution.

    Parameters
    ----------
    tensors, network
        See `widen_guides`.

    Returns
    -------
    dict of str to Tensor
        The weights.
    """
    weights = widen_guides(tensors, network)
    own = {n: w for n, w in network.state_dict().items() if n.startswith(_LEARNED_FRONT_END)}
    if own and not any(name in weights for name in own):
        weights |= own
        weights |= {
            n: w.new_zeros(w.shape) for n, w in weights.items() if n.startswith(_LAST_LAYER)
        }
    return weights


def widen_guides(tensors: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Lay the first layers of smaller kernel guides into the middle of the network's own.

    Nothing changes for kernels that the smaller network knew: the padded parts of their guides
    count nothing, and what a guide multiplies its kernel with (its side, see
    `napari_deblur.networks.guides.KernelGuide`) is made up for.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        Weights by name.
    network : Module
        Where they are to go.

    Returns
    -------
    dict of str to Tensor
        The weights; those of the guides' first layers ``(hidden, M * M)`` in place of
        ``(hidden, m * m)`` where the network's M is larger than m.
    """
    own = network.state_dict()
    widened = dict(tensors)
    for name, weights in tensors.items():
        if not name.endswith(_FIRST_OF_GUIDE) or name not in own:
            continue
        small, large = math.isqrt(weights.shape[1]), math.isqrt(own[name].shape[1])
        if small < large and (large - small) % 2 == 0:
            margin = (large - small) // 2
            maps = functional.pad(weights.view(-1, small, small), (margin,) * 4)
            widened[name] = maps.flatten(1) * (small / large)
    return widened
