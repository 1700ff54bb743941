"""Write down what others rely on, so that no change of it goes unseen.

Python functions with their parameters, the command line with its options, the widgets and samples
of the manifest, errors, environment variables, presets, recipes: one line each, in
``tests/public_api.txt``.  A test compares.  ``make snapshots`` writes the file anew; look at the
difference, and put what changed into the changelog.
"""

from __future__ import annotations

import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SNAPSHOT = ROOT / "tests" / "public_api.txt"


def main() -> None:
    """Write the snapshot."""
    SNAPSHOT.write_text("\n".join(lines()) + "\n", "utf-8")
    print(SNAPSHOT)


def lines() -> Iterator[str]:
    """Everything public, sorted within its section."""
    for title, section in (
        ("Python", functions("napari_deblur")),
        ("Plugin, in Python", functions("napari_deblur.plugin")),
        ("Errors", errors()),
        ("Command line", commands()),
        ("Manifest", manifest()),
        ("Environment", variables()),
        ("Presets and recipes", presets()),
        ("Extras", extras()),
    ):
        yield f"# {title}"
        yield from sorted(set(section))


def functions(name: str) -> Iterator[str]:
    """Names of a module, functions with their signatures but without types."""
    from importlib import import_module

    module = import_module(name)
    for public in module.__all__:
        value = getattr(module, public)
        if inspect.isfunction(value):
            yield f"{name}.{public}{signature(value)}"
        else:
            yield f"{name}.{public}"


def signature(function: Any) -> str:
    """Parameters with kinds and defaults."""
    whole = inspect.signature(function)
    bare = [each.replace(annotation=inspect.Parameter.empty) for each in whole.parameters.values()]
    return str(inspect.Signature(bare))


def errors() -> Iterator[str]:
    """Classes of errors with what they are."""
    from napari_deblur import errors as module

    for name in module.__all__:
        bases = ", ".join(base.__name__ for base in getattr(module, name).__bases__)
        yield f"{name}({bases})"


def commands() -> Iterator[str]:
    """Each command with its arguments and options."""
    import typer

    from napari_deblur.cli.app import build_app

    yield from command("napari-deblur", typer.main.get_command(build_app()))


def command(name: str, group: Any) -> Iterator[str]:
    """Return the lines of a command and those below it."""
    for each in group.params:
        if each.name != "help":
            spelt = ", ".join([*each.opts, *each.secondary_opts])
            yield f"{name} {spelt}{' (required)' if each.required else ''}"
    for word, below in getattr(group, "commands", {}).items():
        yield f"{name} {word}"
        yield from command(f"{name} {word}", below)


def manifest() -> Iterator[str]:
    """Identifiers of the plugin's contributions."""
    text = (ROOT / "src" / "napari_deblur" / "napari.yaml").read_text("utf-8")
    pattern = re.compile(r"^\s*-?\s*(id|key|command|display_name): *(.+)$", re.MULTILINE)
    for key, value in pattern.findall(text):
        yield f"{key} {value.strip()}"


def variables() -> Iterator[str]:
    """Environment variables that the source names."""
    for folder in (ROOT / "src", ROOT / "training"):
        for path in folder.rglob("*.py"):
            yield from re.findall(r'"(NAPARI_DEBLUR_[A-Z_]+)"', path.read_text("utf-8"))


def presets() -> Iterator[str]:
    """Names under which architectures, recipes and models are known."""
    from napari_deblur.networks.presets import PRESETS
    from napari_deblur.training.recipe_files import recipe_names
    from napari_deblur.weights.registry import models

    yield from (f"preset {name}" for name in PRESETS)
    yield from (f"recipe {name}" for name in recipe_names())
    yield from (f"model {name}" for name in models())


def extras() -> Iterator[str]:
    """What can be asked for at installation."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    yield from project["optional-dependencies"]


if __name__ == "__main__":
    main()
