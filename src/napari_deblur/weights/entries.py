"""What is known of weights files and of models: data, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_deblur.weights.header import Kind

__all__ = ["ModelEntry", "Registry", "Trained", "WeightsEntry"]


@dataclass(frozen=True)
class Trained:
    """How weights were trained.

    Attributes
    ----------
    recipe : str
        Name of the training recipe.
    steps : int
        Optimiser steps.
    hours : float
        Hours that they took.
    """

    recipe: str = ""
    steps: int = 0
    hours: float = 0.0


@dataclass(frozen=True)
class WeightsEntry:
    """A weights file that is known.

    Attributes
    ----------
    file : str
        File name without a folder.
    sha256 : str
        Hash of its bytes in hexadecimal.
    size : int
        Its size in bytes.
    kind : {"analysis", "synthesis", "classifier", "correction"}
        Which network it holds.
    preset : str
        Name of the architecture.
    kernel_size : int
        Side m in pixels of the largest kernel, odd.
    training_data : str
        What it was trained on.
    licence : str
        SPDX identifier of the weights' licence.
    trained : Trained
        Recipe, steps and hours.
    figures : mapping of str to float
        What was measured with them.
    location : Path or None
        Where the file is, if the user named it; None for files of the registry, which
        `napari_deblur.weights.fetch.weights_path` finds.
    """

    file: str
    sha256: str
    size: int
    kind: Kind
    preset: str
    kernel_size: int
    training_data: str = ""
    licence: str = ""
    trained: Trained = Trained()
    figures: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    location: Path | None = None


@dataclass(frozen=True)
class ModelEntry:
    """A pair of networks that belong together.

    Attributes
    ----------
    name : str
        Its name, or the folder of a model of one's own.
    analysis, synthesis : str
        The weights files, as `find_weights` takes them.
    kernel_size : int
        Side m in pixels of the largest kernel that the synthesis network was made for, odd.  The
        analysis network may know smaller ones at full size, and sees larger on a shrunk image.
    description : str
        What it is for, in one sentence.
    size_class : tuple of int or None
        Smallest and largest side in pixels of the kernels that it was trained for alone; None for
        a general pair.
    """

    name: str
    analysis: str
    synthesis: str
    kernel_size: int
    description: str = ""
    size_class: tuple[int, int] | None = None


@dataclass(frozen=True)
class Registry:
    """All that a registry file lists.

    Attributes
    ----------
    files : mapping of str to WeightsEntry
        By file name.
    models : mapping of str to ModelEntry
        By model name, in the order of the file.
    default : str or None
        Name of the default model; None where there is no model at all.
    """

    files: Mapping[str, WeightsEntry]
    models: Mapping[str, ModelEntry]
    default: str | None
