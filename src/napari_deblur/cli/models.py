"""``napari-deblur models``: which pairs of networks there are, and where their files lie."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_deblur.cli.codes import FAILED
from napari_deblur.cli.messages import note, say
from napari_deblur.cli.progress import progress_bar
from napari_deblur.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_deblur.weights.entries import WeightsEntry

__all__ = ["models_app"]

models_app = typer.Typer(no_args_is_help=True, help="List, fetch and verify models.")

_PLACES = {"embedded": "comes with the program", "cached": "fetched", "absent": "not fetched yet"}


@models_app.command(name="list")
def list_models() -> None:
    """List the models, how they were trained, and whether their files are here."""
    from napari_deblur.weights.registry import classifier_entry, correction_entry, registry

    known = registry()
    if not known.models:
        note("this version knows no model; give --model a folder of your own weights")
    for name, model in known.models.items():
        say(f"{name}{' (default)' if name == known.default else ''}: {model.description}")
        say(f"  kernels up to {model.kernel_size} x {model.kernel_size} px")
        for entry in _files([name]):
            say(_describe(entry))
    classifier = classifier_entry()
    if classifier is not None:
        say("auto: the model of the blur's size class, or the default")
        say(_describe(classifier))
    correction = correction_entry()
    if correction is not None:
        say("correction of refined kernels, with every model:")
        say(_describe(correction))


@models_app.command()
def fetch(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL]...", help="Names from 'models list'; all by default."),
    ] = None,
) -> None:
    """Fetch the files of models that are not here yet.

    They come from the server that NAPARI_DEBLUR_WEIGHTS_URL names, and are used only if their
    SHA-256 is right.
    """
    from napari_deblur.weights.fetch import weights_path

    entries = _files(names)
    with progress_bar() as report:
        for entry in entries:
            path = weights_path(entry, progress=partial(report, f"fetching {entry.file}"))
            say(f"{entry.file}: {path}")


@models_app.command()
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL|FILE]...",
            help="Models, or weights files; by default every known file that is here.",
        ),
    ] = None,
) -> None:
    """Check every byte of weights files against their hashes, and that they open.

    The exit code is 1 if one is damaged.
    """
    from napari_deblur.weights import fetch as store
    from napari_deblur.weights.files import open_network

    entries = _named(names) if names else _files(None)
    damaged = []
    for entry in entries:
        if not names and store.status(entry) == "absent":
            note(f"{entry.file} is not here; 'napari-deblur models fetch' fetches it")
            continue
        try:
            path = store.verify(entry)
            open_network(path, sha256=entry.sha256)
        except WeightsError as error:
            note(str(error))
            damaged.append(entry.file)
        else:
            say(f"good: {path}")
    if damaged:
        note(f"{len(damaged)} of {len(entries)} not usable: {', '.join(damaged)}")
        raise typer.Exit(FAILED)


@models_app.command()
def path(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="Name from 'models list'.")] = (
        "default"
    ),
) -> None:
    """Print where the two files of a model are, without fetching them."""
    from napari_deblur.weights.fetch import weights_path

    for place in [weights_path(entry, download=False) for entry in _files([name])]:
        say(str(place))


def _files(names: Sequence[str] | None) -> list[WeightsEntry]:
    """Return the files of some models, each once; without names, all known files."""
    from napari_deblur.weights.registry import find_model, find_weights, registry

    if not names:
        return list(registry().files.values())
    chosen = [find_model(name) for name in names]
    files = dict.fromkeys(file for model in chosen for file in (model.analysis, model.synthesis))
    return [find_weights(file) for file in files]


def _named(names: Sequence[str]) -> list[WeightsEntry]:
    """Return the files of models and files that are named themselves."""
    from napari_deblur.weights.registry import find_weights

    entries = []
    for name in names:
        is_file = Path(name).suffix == ".safetensors"
        entries += [find_weights(name)] if is_file else _files([name])
    return entries


def _describe(entry: WeightsEntry) -> str:
    from napari_deblur.weights.fetch import status

    trained = entry.trained
    figures = ", ".join(f"{name} {value:g}" for name, value in entry.figures.items())
    text = (
        f"  {entry.kind}: {entry.file}, {entry.size / 1e6:.1f} MB, {_PLACES[status(entry)]}\n"
        f"    trained on {entry.training_data or 'data that nobody wrote down'}, recipe "
        f"{trained.recipe or 'unknown'}, {trained.steps:,} steps in {trained.hours:g} h; "
        f"licence {entry.licence or 'unknown'}"
    )
    return f"{text}\n    measured: {figures}" if figures else text
