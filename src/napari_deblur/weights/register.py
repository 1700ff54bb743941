"""Describe weights files for the registry.

``python -m napari_deblur.weights.register analysis.safetensors synthesis.safetensors --name NAME``
prints the tables to add to ``registry.toml``; with a classifier's file alone, the one for that.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_deblur.weights.entries import ModelEntry, Trained, WeightsEntry
from napari_deblur.weights.header import read_header
from napari_deblur.weights.registry import find_weights, local_model
from napari_deblur.weights.registry_text import parse_registry, to_toml

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

__all__ = ["entry_for", "main"]


def entry_for(
    path: str | os.PathLike[str],
    *,
    preset: str,
    training_data: str,
    licence: str,
    recipe: str = "",
    figures: Mapping[str, float] | None = None,
    file: str | None = None,
) -> WeightsEntry:
    """Make the registry's entry for a weights file.

    Hash, size, kind and kernel size are read from the file; steps and hours from its provenance.

    Parameters
    ----------
    path : path
        The weights file.
    preset : str
        Name of its architecture.
    training_data : str
        What it was trained on, in one sentence.
    licence : str
        SPDX identifier of the weights' licence.
    recipe : str, optional
        Name of the training recipe.
    figures : mapping of str to float, optional
        What was measured with it.
    file : str, optional
        Name under which it is published; by default its own.

    Returns
    -------
    WeightsEntry
        Checked as the registry's parser checks it.

    Raises
    ------
    ModelError
        If there is no such file.
    WeightsError
        If it is no weights file, or something in the entry is not allowed.
    """
    entry = find_weights(Path(path))
    provenance = read_header(Path(path)).provenance
    steps, hours = (provenance.get(key) for key in ("steps", "hours"))
    trained = Trained(
        recipe,
        steps if isinstance(steps, int) else 0,
        float(hours) if isinstance(hours, int | float) else 0.0,
    )
    entry = replace(
        entry,
        file=file or entry.file,
        preset=preset,
        training_data=training_data,
        licence=licence,
        trained=trained,
        figures=dict(figures or {}),
        location=None,
    )
    return parse_registry(to_toml(entry)).files[entry.file]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the registry's tables for a pair of weights files, or for a classifier.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command line without the program; by default that of the process.
    """
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("analysis", type=Path, help="or the classifier, alone")
    parser.add_argument("synthesis", type=Path, nargs="?")
    parser.add_argument("--name", required=True, help="the model's name, or the classifier's")
    parser.add_argument("--description", default="", help="what it is for, in one sentence")
    parser.add_argument("--preset", required=True)
    parser.add_argument("--training-data", required=True)
    parser.add_argument("--licence", required=True, help="SPDX identifier")
    parser.add_argument("--recipe", default="")
    options = parser.parse_args(arguments)

    def entry(path: Path, file: str) -> WeightsEntry:
        return entry_for(
            path,
            preset=options.preset,
            training_data=options.training_data,
            licence=options.licence,
            recipe=options.recipe,
            file=file,
        )

    if options.synthesis is None:
        print(to_toml(entry(options.analysis, f"{options.name}.safetensors")))  # noqa: T201
        return
    model = local_model(options.analysis, options.synthesis)
    first = entry(options.analysis, f"{options.name}-analysis.safetensors")
    second = entry(options.synthesis, f"{options.name}-synthesis.safetensors")
    pair = ModelEntry(options.name, first.file, second.file, model.kernel_size, options.description)
    print("\n".join([to_toml(first), to_toml(second), to_toml(pair)]))  # noqa: T201


if __name__ == "__main__":
    main()
