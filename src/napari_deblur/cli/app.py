"""All commands put together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from napari_deblur.cli.deblur import deblur
from napari_deblur.cli.demo import demo
from napari_deblur.cli.evaluate import evaluate
from napari_deblur.cli.info import info
from napari_deblur.cli.kernel import kernel
from napari_deblur.cli.models import models_app
from napari_deblur.cli.shake import shake
from napari_deblur.training.cli import train

__all__ = ["build_app"]


def build_app() -> typer.Typer:
    """Build the application ``napari-deblur``."""
    app = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    commands: tuple[Callable[..., None], ...] = (deblur, kernel, shake, evaluate, train)
    for command in commands:
        app.command(no_args_is_help=True)(command)
    app.command()(demo)
    app.command()(info)
    app.add_typer(models_app, name="models")
    return app


def _version(value: bool) -> None:
    if value:
        import napari_deblur

        print(f"napari-deblur {napari_deblur.__version__}")
        raise typer.Exit


def _root(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Find the blur kernel of a shaken photograph or micrograph, and deblur it."""
