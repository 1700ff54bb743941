"""Running the ablation: equal budgets, one row after the other, each kept as soon as it is there.

The budget is a small part of a real one: the table tells what helps early, not where training
ends.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_deblur.errors import OutputError, RecipeError
from napari_deblur.files.atomic import atomic_path
from napari_deblur.training.ablation_rows import PAIR, ROWS, Bench, Figures, Row, total_cost
from napari_deblur.training.logs import say
from napari_deblur.training.recipe import PAIR_STAGES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_deblur.training.recipe import Recipe
    from napari_deblur.training.session import Session

__all__ = ["markdown_table", "run_ablation"]

_NEVER = 10**9  # steps
_COLUMNS = (
    ("PSNR", 2, "PSNR (dB)"),
    ("PSNR blurry", 2, "blurry (dB)"),
    ("kernel L1", 3, "kernel L1"),
    ("kernel correlation", 3, "kernel correlation"),
    ("steps", 0, "steps"),
)


@dataclass
class _Results:
    """What is there already, in `results.json`: the budget, and the figures of each finished row.

    `minutes` is the time for a stage of share 1; None: the recipe's steps.
    """

    path: Path
    minutes: float | None
    fingerprint: str
    rows: dict[str, Figures]

    def write(self) -> None:
        values = {"minutes": self.minutes, "fingerprint": self.fingerprint, "rows": self.rows}
        with atomic_path(self.path) as path:
            path.write_text(json.dumps(values, indent=2), encoding="utf-8")


def run_ablation(session: Session, minutes: float | None) -> None:
    """Run the rows of a recipe (all, or those that `ablation.rows` names) and write the table.

    Parameters
    ----------
    session
        Its `resume` keeps the rows that are finished and goes on with the next.
    minutes
        Time for all rows together; each stage of a row gets its `share` of it.  None: the steps of
        `[ablation]`.

    Raises
    ------
    RecipeError
        When `ablation.rows` names an unknown row, or a run with another budget or recipe is to be
        resumed.
    OutputError
        When there is a run already that is not to be resumed.
    """
    rows = _chosen(session.recipe)
    budgeted = _budgeted(session.recipe)
    time = None if minutes is None else minutes / total_cost(budgeted, rows)
    folder = session.folder("ablation")
    results = _begin(session, folder, budgeted, time)
    session = dataclasses.replace(session, recipe=budgeted, out=folder, resume=True)
    bench = Bench(session, time)
    for row in _in_order(rows):
        if row.folder not in results.rows:
            say(f"ablation: {row.group}: {row.name}")
            results.rows[row.folder] = _run(row, bench, results)
        if session.fabric.is_global_zero:
            results.write()
            with atomic_path(folder / "table.md") as path:
                path.write_text(markdown_table(budgeted, results.rows, time), encoding="utf-8")


def _run(row: Row, bench: Bench, results: _Results) -> Figures:
    if row.same_as in results.rows:
        return results.rows[row.same_as]
    return row.run(bench.within(row.folder))


def _in_order(rows: list[Row]) -> list[Row]:
    """Put the pair before the first row that starts from it."""
    first = next((index for index, row in enumerate(rows) if row.on_pair), None)
    return rows if first is None else [*rows[:first], PAIR, *rows[first:]]


def _begin(session: Session, folder: Path, recipe: Recipe, time: float | None) -> _Results:
    path = folder / "results.json"
    fingerprint = _fingerprint(recipe, time)
    fresh = _Results(path, time, fingerprint, {})
    if not path.is_file():
        return fresh
    if not session.resume:
        raise OutputError(
            f"{str(folder)!r} holds an ablation already: give --resume to go on, or another --out"
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        found, rows = values["fingerprint"], values["rows"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{str(path)!r} cannot be read ({error}): give another --out") from error
    if found != fingerprint:
        raise RecipeError(
            f"{str(path)!r} comes from another recipe or other minutes: give the same to --resume, "
            "or another --out"
        )
    return dataclasses.replace(fresh, rows=rows)


def _fingerprint(recipe: Recipe, time: float | None) -> str:
    text = recipe.fingerprint(*PAIR_STAGES) + repr(time)
    return hashlib.sha256(text.encode()).hexdigest()


def markdown_table(
    recipe: Recipe, results: Mapping[str, Figures], minutes: float | None = None
) -> str:
    """Return the table, with its budget, as Markdown.

    Parameters
    ----------
    recipe
        With the budget's steps.
    results
        Held-out figures by the row's folder.
    minutes
        Time for a stage of share 1; None: the recipe's steps.
    """
    head = ["", "", *(title for *_, title in _COLUMNS), "paper (dB)"]
    lines = [
        _budget_words(recipe, minutes),
        "",
        f"| {' | '.join(head)} |",
        "|" + "---|" * len(head),
    ]
    for row in ROWS:
        if row.folder in results:
            figures = results[row.folder]
            cells = [_cell(figures.get(name), digits) for name, digits, _ in _COLUMNS]
            cells.append(_cell(row.published, 2))
            lines.append(f"| {row.group} | {row.name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _budget_words(recipe: Recipe, minutes: float | None) -> str:
    stage = recipe.stage
    names = ("synthesis", "analysis", "joint")
    parts = []
    for name in names:
        part = getattr(stage, name)
        time = f"{part.steps} steps" if minutes is None else f"{minutes * part.share:.1f} minutes"
        parts.append(f"{time} of {part.batch} crops of {part.crop} px ({name})")
    kernels = stage.synthesis.kernels
    return (
        f"Budget of each row: {', '.join(parts)}; random start: all of it in one stage; "
        "scale-optimised: all of it for each size class. "
        f"Kernels of {kernels.smallest} to {kernels.largest} px, noise "
        f"{stage.synthesis.sensor.noise[0]:g} to {stage.synthesis.sensor.noise[1]:g}, "
        f"{stage.synthesis.validation_images} held-out images. Recipe `{recipe.name}`."
    )


def _cell(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _chosen(recipe: Recipe) -> list[Row]:
    wanted = recipe.ablation.rows
    names = {row.folder: row for row in ROWS}
    for name in wanted:
        if name not in names:
            raise RecipeError(
                f"ablation.rows holds {name!r}, which is unknown: allowed are {', '.join(names)}"
            )
    return [names[name] for name in wanted] or list(ROWS)


def _budgeted(recipe: Recipe) -> Recipe:
    """Return the recipe with the steps of `[ablation]`, measured at the end of a stage only."""
    budget, stage = recipe.ablation, recipe.stage
    stage = dataclasses.replace(
        stage,
        decoder=_with_steps(stage.decoder, budget.analysis_steps),
        analysis=_with_steps(stage.analysis, budget.analysis_steps),
        deconvolution=_with_steps(stage.deconvolution, budget.synthesis_steps),
        synthesis=_with_steps(stage.synthesis, budget.synthesis_steps),
        joint=_with_steps(stage.joint, budget.joint_steps),
    )
    return dataclasses.replace(recipe, stage=stage)


def _with_steps(stage: Any, steps: int) -> Any:
    return dataclasses.replace(stage, steps=steps, validate_every=_NEVER)
