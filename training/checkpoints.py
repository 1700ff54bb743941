"""Checkpoints: one safetensors file each, written completely or not at all, the last two kept.

Nothing here is pickled: tensors (weights, their running average, the optimiser's moments) are
safetensors, the rest is JSON in the file's header.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from napari_deblur.errors import FileError, OutputError
from napari_deblur.files.atomic import atomic_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn

__all__ = [
    "Checkpoint",
    "latest_checkpoint",
    "load_optimizer",
    "optimizer_tensors",
    "save_checkpoint",
]

_KEPT = 2
_NAME = re.compile(r"checkpoint-(\d{9})\.safetensors")
_STATE = "state"


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds: tensors by dotted name, and the run's state."""

    path: Path
    tensors: dict[str, torch.Tensor]
    state: dict[str, Any]

    def part(self, prefix: str) -> dict[str, torch.Tensor]:
        """Return the tensors under a prefix, their names without it."""
        start = f"{prefix}/"
        return {
            name[len(start) :]: tensor
            for name, tensor in self.tensors.items()
            if name.startswith(start)
        }


def save_checkpoint(
    folder: Path, step: int, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any]
) -> Path:
    """Write `checkpoint-STEP.safetensors`, then delete all but the last two.

    Raises
    ------
    OutputError
        When it cannot be written; the older ones stay.
    """
    path = folder / f"checkpoint-{step:09d}.safetensors"
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        try:
            save_file(plain, temporary, metadata={_STATE: json.dumps(dict(state))})
        except SafetensorError as error:
            raise OutputError(
                f"cannot write {str(path)!r} ({error}): free some space; "
                "the checkpoint before it is intact"
            ) from error
    for old in _checkpoints(folder)[:-_KEPT]:
        old.unlink(missing_ok=True)
    return path


def latest_checkpoint(folder: Path) -> Checkpoint | None:
    """Read the newest checkpoint of a folder that is whole; None when there is none.

    Raises
    ------
    FileError
        When there are checkpoints and none of them can be read.
    """
    paths = _checkpoints(folder)
    for path in reversed(paths):
        try:
            return _read(path)
        except (SafetensorError, OSError, KeyError, ValueError):
            continue
    if paths:
        raise FileError(
            f"no checkpoint in {str(folder)!r} can be read: delete the folder and start again"
        )
    return None


def _checkpoints(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def _read(path: Path) -> Checkpoint:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        state = json.loads(metadata[_STATE])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return Checkpoint(path, tensors, state)


def optimizer_tensors(
    optimizer: torch.optim.Optimizer, module: nn.Module
) -> dict[str, torch.Tensor]:
    """Return the optimiser's state as tensors named `parameter:quantity`."""
    result = {}
    for name, parameter in module.named_parameters():
        for quantity, value in optimizer.state.get(parameter, {}).items():
            result[f"{name}:{quantity}"] = torch.as_tensor(value)
    return result


def load_optimizer(
    optimizer: torch.optim.Optimizer, module: nn.Module, tensors: Mapping[str, torch.Tensor]
) -> None:
    """Put back what `optimizer_tensors` returned."""
    for name, parameter in module.named_parameters():
        state = {}
        for key, value in tensors.items():
            owner, _, quantity = key.rpartition(":")
            if owner != name:
                continue
            # Moments take the parameter's device and memory layout; the step count stays as it is.
            same_shape = value.shape == parameter.shape and quantity != "step"
            state[quantity] = torch.empty_like(parameter).copy_(value) if same_shape else value
        if state:
            optimizer.state[parameter] = state
