"""``napari-deblur models``: which pairs of networks there are, and where their files lie."""

from __future__ import annotations

import typer

__all__ = ["models_app"]

models_app = typer.Typer(no_args_is_help=True, help="List, fetch and verify models.")
