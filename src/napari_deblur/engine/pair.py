"""A pair of networks, opened and ready on a device."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, cast

import torch

from napari_deblur.defaults import LARGEST_KERNEL
from napari_deblur.errors import WeightsError
from napari_deblur.networks.analysis import AnalysisNetwork
from napari_deblur.networks.precision import convolution_dtype
from napari_deblur.networks.synthesis import SynthesisNetwork
from napari_deblur.weights.fetch import weights_path
from napari_deblur.weights.files import open_network
from napari_deblur.weights.registry import find_model, find_weights

if TYPE_CHECKING:
    from pathlib import Path

    from torch.nn import Module

__all__ = ["LARGEST_KERNEL", "Pair", "load_pair"]


@dataclass(frozen=True)
class Pair:
    """An analysis and a synthesis network on one device, shared by all runs and never changed.

    Attributes
    ----------
    name : str
        The model's name, or the folder that it was read from.
    analysis, synthesis : torch.nn.Module
        In evaluation mode, float32 weights, channels last.
    device : torch.device
        Where they are.
    precision : torch.dtype
        What convolutions compute in.
    hashes : mapping of str to str
        SHA-256 of the file of each network ("analysis", "synthesis").
    """

    name: str
    analysis: AnalysisNetwork
    synthesis: SynthesisNetwork
    device: torch.device
    precision: torch.dtype
    hashes: Mapping[str, str] = field(default_factory=dict)

    @property
    def kernel_size(self) -> int:
        """Side m in pixels of the kernels that the analysis network finds at an image's own size.

        It sees an image with larger blur shrunk.
        """
        return self.analysis.config.kernel_size

    @property
    def largest_kernel(self) -> int:
        """Side in pixels of the largest kernel that images can be deblurred with.

        Behind a deconvolution the network's own size is no limit: its guides get larger kernels
        shrunk.
        """
        known = self.synthesis.config.kernel_size
        return known if self.synthesis.config.front_end == "none" else max(known, LARGEST_KERNEL)

    def autocast(self) -> AbstractContextManager[None]:
        """Context in which convolutions compute in this pair's precision."""
        reduced = self.precision != torch.float32
        context = torch.autocast(self.device.type, dtype=self.precision, enabled=reduced)
        return cast("AbstractContextManager[None]", context)


def load_pair(
    model: str | Path, device: torch.device, *, precision: torch.dtype | None = None
) -> Pair:
    """Open a pair of networks; the two pairs used last stay in memory.

    Parameters
    ----------
    model : str or Path
        A model's name (see ``napari-deblur models list``), or a folder that holds
        `analysis.safetensors` and `synthesis.safetensors`.
    device : torch.device
        Where to put them.
    precision : torch.dtype, optional
        What convolutions compute in; by default what the device is fastest in.

    Raises
    ------
    ModelError
        When no such model is known.
    WeightsError
        When a file is missing, damaged, cannot be fetched, or is not for this pair.
    """
    entry = find_model(model)
    weights = (find_weights(entry.analysis), find_weights(entry.synthesis))
    files = tuple((weights_path(each), each.sha256) for each in weights)
    return _open_pair(entry.name, files, device, precision or convolution_dtype(device))


@lru_cache(maxsize=2)
def _open_pair(
    name: str,
    files: tuple[tuple[Path, str], ...],
    device: torch.device,
    precision: torch.dtype,
) -> Pair:
    analysis, synthesis = (_open_network(path, expected, device) for path, expected in files)
    if not isinstance(analysis, AnalysisNetwork) or not isinstance(synthesis, SynthesisNetwork):
        kinds = f"{type(analysis).__name__} and {type(synthesis).__name__}"
        raise WeightsError(
            f"model {name!r} holds {kinds}: an AnalysisNetwork and a SynthesisNetwork are needed, "
            "in this order; give another model"
        )
    hashes = {"analysis": files[0][1], "synthesis": files[1][1]}
    return Pair(name, analysis, synthesis, device, precision, hashes)


@lru_cache(maxsize=4)
def _open_network(path: Path, sha256: str, device: torch.device) -> Module:
    """A network in evaluation mode; the two pairs that the default model takes share one."""
    network = open_network(path, sha256=sha256)
    network.requires_grad_(requires_grad=False)
    moved: Module = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved
