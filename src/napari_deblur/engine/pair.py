"""A pair of networks, opened and ready on a device."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import cast

import torch

from napari_deblur.engine.devices import convolution_dtype
from napari_deblur.errors import FileError, ModelError
from napari_deblur.networks.analysis import AnalysisNetwork
from napari_deblur.networks.synthesis import SynthesisNetwork

__all__ = ["PAIR_FILES", "Pair", "load_pair"]

PAIR_FILES = ("analysis.safetensors", "synthesis.safetensors")
"""Names of the two files in a folder that is given as a model."""


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
        """Side m in pixels of the largest kernel."""
        return self.synthesis.config.kernel_size

    def autocast(self) -> AbstractContextManager[None]:
        """Context in which convolutions compute in this pair's precision."""
        reduced = self.precision != torch.float32
        context = torch.autocast(self.device.type, dtype=self.precision, enabled=reduced)
        return cast("AbstractContextManager[None]", context)


def load_pair(
    model: str | Path, device: torch.device, *, precision: torch.dtype | None = None
) -> Pair:
    """Open a pair of networks; the two used last stay in memory.

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
        When no such model is known, or its two networks do not belong together.
    WeightsError
        When a file is missing, damaged, or cannot be fetched.
    """
    files = _find_files(model)
    stamps = tuple((path, path.stat().st_mtime_ns, expected) for path, expected in files)
    return _open_pair(str(model), stamps, device, precision or convolution_dtype(device))


def _find_files(model: str | Path) -> tuple[tuple[Path, str | None], ...]:
    """Paths of the two files, and their expected hashes where the registry knows them."""
    folder = Path(model)
    if isinstance(model, Path) or folder.is_dir():
        paths = [folder / name for name in PAIR_FILES]
        for path in paths:
            if not path.is_file():
                raise ModelError(
                    f"model {str(model)!r} has no {path.name}: give the name of a model, or a "
                    f"folder that holds {' and '.join(PAIR_FILES)}"
                )
        return tuple((path, None) for path in paths)
    from napari_deblur.weights.fetch import weights_path
    from napari_deblur.weights.registry import find_model, find_weights

    entry = find_model(model)
    weights = [find_weights(name) for name in (entry.analysis, entry.synthesis)]
    return tuple((weights_path(each), each.sha256) for each in weights)


@lru_cache(maxsize=2)
def _open_pair(
    name: str,
    files: tuple[tuple[Path, int, str | None], ...],
    device: torch.device,
    precision: torch.dtype,
) -> Pair:
    from napari_deblur.weights.files import open_network

    networks = [open_network(path, sha256=expected) for path, _, expected in files]
    analysis, synthesis = networks
    if not isinstance(analysis, AnalysisNetwork) or not isinstance(synthesis, SynthesisNetwork):
        kinds = " and ".join(type(network).__name__ for network in networks)
        raise ModelError(
            f"model {name!r} holds {kinds}: an AnalysisNetwork and a SynthesisNetwork are needed, "
            "in this order"
        )
    sizes = analysis.config.kernel_size, synthesis.config.kernel_size
    if sizes[0] != sizes[1]:
        raise ModelError(
            f"model {name!r} estimates kernels of {sizes[0]} pixels and deblurs with {sizes[1]}: "
            "give two networks of the same kernel size"
        )
    for network in networks:
        network.requires_grad_(requires_grad=False)
        network.to(device=device, memory_format=torch.channels_last)
    hashes = dict(
        zip(("analysis", "synthesis"), (_sha256(path) for path, _, _ in files), strict=True)
    )
    return Pair(name, analysis, synthesis, device, precision, hashes)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as data:
            return hashlib.file_digest(data, "sha256").hexdigest()
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}; check the file") from error
