"""Weights that are not there: which they are, and fetching them as a task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari_deblur.errors import WeightsError
from napari_deblur.plugin.tasks import Step, Task

__all__ = ["fetch_task", "missing_weights"]


def missing_weights(model: str) -> Sequence[tuple[Any, str]]:
    """Entries of a model whose files are not there, each with what the user can do about it.

    Raises
    ------
    ModelError
        When there is no such model.
    """
    from napari_deblur.weights.fetch import weights_path
    from napari_deblur.weights.registry import find_model, find_weights

    entry = find_model(model)
    missing = []
    for weights in (find_weights(entry.analysis), find_weights(entry.synthesis)):
        try:
            weights_path(weights, download=False)
        except WeightsError as error:
            missing.append((weights, str(error)))
    return missing


def fetch_task(model: str) -> Task:
    """Fetch what a model lacks; no layers come of it."""
    from napari_deblur.weights.fetch import weights_path

    missing = missing_weights(model)
    for number, (weights, _) in enumerate(missing):
        yield Step(number / len(missing), f"Downloading {weights.file}")
        weights_path(weights, download=True)
    return []
