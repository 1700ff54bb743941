"""``napari-deblur models``: which pairs of networks there are, and where their files lie."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_deblur.cli.codes import FAILED
from napari_deblur.cli.messages import note, say
from napari_deblur.cli.progress import Report, progress_bar
from napari_deblur.errors import FileError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_deblur.weights.registry import WeightsEntry

__all__ = ["models_app"]

models_app = typer.Typer(no_args_is_help=True, help="List, fetch and verify models.")

_Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="[MODEL]...", help="Names from 'models list'; all by default."),
]


@models_app.command(name="list")
def list_models() -> None:
    """List the models, what they were trained with, and where their files are."""
    from napari_deblur.weights.registry import find_model, models

    default = find_model("default").name
    for name, model in models().items():
        say(f"{name}{' (default)' if name == default else ''}: {model.description}")
        say(f"  kernels up to {model.kernel_size} x {model.kernel_size} px")
        for entry in _files([name]):
            say(f"  {_describe(entry)}")


@models_app.command()
def fetch(names: _Names = None) -> None:
    """Fetch the files of models that are not here yet.

    They come from the server that NAPARI_DEBLUR_WEIGHTS_URL names and are checked before use.
    """
    from napari_deblur.weights.fetch import weights_path

    with progress_bar() as report:
        for entry in _files(names):
            path = weights_path(entry, progress=_bytes(report, entry))
            say(f"{entry.file} -> {path}")


@models_app.command()
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL|FILE]...",
            help="Names from 'models list', or weights files; by default all files that are here.",
        ),
    ] = None,
) -> None:
    """Check weights files against their hashes, and that they open.

    Exit code 1 if one is damaged.
    """
    from napari_deblur.weights.files import open_network

    targets: list[tuple[Path, str | None]] = []
    registered = []
    for name in names or []:
        if Path(name).suffix == ".safetensors":
            targets.append((Path(name), None))
        else:
            registered.append(name)
    for entry in _files(registered or None) if registered or not names else []:
        path = _here(entry)
        if path is None:
            note(f"{entry.file} is not here; 'napari-deblur models fetch' fetches it")
        else:
            targets.append((path, entry.sha256))
    damaged = []
    for path, expected in targets:
        try:
            open_network(path, sha256=expected)
        except (WeightsError, FileError) as error:
            note(str(error))
            damaged.append(path.name)
        else:
            say(f"good: {path}")
    if damaged:
        note(f"{len(damaged)} of {len(targets)} damaged: {', '.join(damaged)}")
        raise typer.Exit(FAILED)


@models_app.command()
def path(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="Name from 'models list'.")] = (
        "default"
    ),
) -> None:
    """Print where the files of a model are, without fetching them."""
    from napari_deblur.weights.fetch import weights_path

    for entry in _files([name]):
        say(str(weights_path(entry, download=False)))


def _files(names: Sequence[str] | None) -> list[WeightsEntry]:
    """Entries of the files of some models, or of all, each once."""
    from napari_deblur.weights.registry import find_model, find_weights, models

    chosen = [find_model(name) for name in names or models()]
    files = dict.fromkeys(file for model in chosen for file in (model.analysis, model.synthesis))
    return [find_weights(file) for file in files]


def _here(entry: WeightsEntry) -> Path | None:
    from napari_deblur.weights.fetch import weights_path

    try:
        return weights_path(entry, download=False)
    except WeightsError:
        return None


def _describe(entry: WeightsEntry) -> str:
    where = _here(entry)
    place = "not fetched" if where is None else str(where)
    return (
        f"{entry.kind}: {entry.file}, {entry.size / 1e6:.1f} MB, {place}\n"
        f"    trained: {entry.trained}\n    data: {entry.training_data}\n"
        f"    licence: {entry.licence}"
    )


def _bytes(report: Report, entry: WeightsEntry) -> object:
    return lambda done, total: report(f"fetching {entry.file}", done, total)
