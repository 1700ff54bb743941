"""`napari-deblur train` and `python -m napari_deblur.training`; imports torch only once it runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from napari_deblur.errors import DeblurError

__all__ = ["app", "main", "train"]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def train(  # noqa: PLR0917 - each option of the command is a parameter
    stage: Annotated[
        str,
        typer.Argument(
            help="decoder, analysis, deconvolution, synthesis, joint, classifier, correction, "
            "scales, all, ablation or expert."
        ),
    ],
    recipe: Annotated[
        str, typer.Option(help="paper, compact, ablation, tiny, or the path of a .toml file.")
    ] = "compact",
    data: Annotated[
        list[Path] | None,
        typer.Option(help="Folder, zip or image of sharp images; may be given again."),
    ] = None,
    validation: Annotated[
        list[Path] | None,
        typer.Option(help="Held-out images; without it some of --data are held out."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/training"),
    minutes: Annotated[
        float | None, typer.Option(help="Train for so long, instead of the recipe's steps.")
    ] = None,
    resume: Annotated[  # noqa: FBT002
        bool, typer.Option("--resume", help="Go on from the newest checkpoint in --out.")
    ] = False,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="section.key=value, over the recipe's; may be given again."),
    ] = None,
) -> None:
    """Train the networks (paper sections 3.3 and 3.4)."""
    from napari_deblur.training.recipe_files import load_recipe

    loaded = load_recipe(recipe, setting or ())
    _check_installed()
    from napari_deblur.training.fit import Interrupted
    from napari_deblur.training.regimen import train_stage

    try:
        train_stage(
            stage,
            loaded,
            data=data or [],
            validation=validation or [],
            out=out,
            minutes=minutes,
            resume=resume,
        )
    except Interrupted as interrupted:
        typer.echo(str(interrupted), err=True)
        raise typer.Exit(128 + interrupted.number) from None


def _check_installed() -> None:
    from importlib.util import find_spec

    if find_spec("lightning") is None:
        raise DeblurError(
            "training needs the extra 'training': pip install 'napari-deblur[training]'"
        )


def main() -> None:
    """Run the command; an error that the user can mend is one line and exit code 2."""
    try:
        app()
    except DeblurError as error:
        typer.echo(str(error), err=True)
        sys.exit(2)
