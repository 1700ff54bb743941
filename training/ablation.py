"""The ablation table: paper Table 3, the front ends, and the analysis network's switches.

Each row is an ordinary run of a stage with one thing changed, under the budget of `[ablation]`,
measured on the same held-out batches.  The budget is a small part of a real one: the table tells
what helps early, not where training ends.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_deblur.errors import RecipeError
from napari_deblur.files.atomic import atomic_path
from napari_deblur.training.logs import say
from napari_deblur.training.models import network_configs
from napari_deblur.training.stages import (
    Scale,
    class_size,
    train_analysis,
    train_decoder,
    train_joint,
    train_synthesis,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_deblur.training.recipe import Recipe
    from napari_deblur.training.session import Session

__all__ = ["ROWS", "Row", "markdown_table", "run_ablation"]

Figures = dict[str, float]
_WHOLE = Scale()
_GUIDANCE = "Synthesis, true kernels"
_STRATEGY = "Training strategy, blind"
_FRONT_END = "Deconvolution front end, true kernels"
_ANALYSIS = "Analysis network"


@dataclass(frozen=True)
class Row:
    """One row: what it is called, how it is run, and what the paper reports for it (dB)."""

    group: str
    name: str
    run: Callable[[Session], Figures]
    published: float | None = None

    @property
    def folder(self) -> str:
        """Return the row's name as a folder's."""
        return "".join(c if c.isalnum() else "-" for c in f"{self.group} {self.name}".lower())


def _synthesis(**changes: Any) -> Callable[[Session], Figures]:
    def run(session: Session) -> Figures:
        changed = _with_model(session, synthesis=changes)
        return train_synthesis(changed, _WHOLE, None).figures

    return run


def _analysis(*, stage_0: bool = False, flips: bool | None = None, **changes: Any) -> Any:
    def run(session: Session) -> Figures:
        changed = _with_model(session, analysis=changes)
        stage = changed.recipe.stage
        if flips is not None:
            hold, until = (0.4, 0.8) if flips else (0.0, 0.0)
            analysis = dataclasses.replace(stage.analysis, flip_hold=hold, flip_until=until)
            stage = dataclasses.replace(stage, analysis=analysis)
        first = dataclasses.replace(stage.decoder, enabled=stage_0)
        stage = dataclasses.replace(stage, decoder=first)
        changed = dataclasses.replace(
            changed, recipe=dataclasses.replace(changed.recipe, stage=stage)
        )
        if stage_0:
            train_decoder(changed, _WHOLE, None)
        return train_analysis(changed, _WHOLE, None).figures

    return run


def _random_start(session: Session) -> Figures:
    """Both networks from random weights, for as many steps as the other rows have together."""
    stage = session.recipe.stage
    steps = stage.joint.steps + max(stage.analysis.steps, stage.synthesis.steps)
    changed = _with_joint(session, random_start=True, steps=steps)
    return train_joint(changed, _WHOLE, None).figures


def _before_joint(session: Session) -> Figures:
    _pretrain(session, _WHOLE)
    return train_joint(_with_joint(session, steps=0), _WHOLE, None).figures


def _after_joint(session: Session) -> Figures:
    _pretrain(session, _WHOLE)
    return train_joint(session, _WHOLE, None).figures


def _scale_optimised(session: Session) -> Figures:
    """A pair for each size class, the class known; the mean over classes."""
    parts = []
    for index, limits in enumerate(session.recipe.stage.joint.kernels.classes):
        scale = Scale(f"class-{index}", limits, class_size(limits))
        _pretrain(session, scale)
        parts.append(train_joint(session, scale, None).figures)
    return {name: sum(part[name] for part in parts) / len(parts) for name in parts[0]}


def _pretrain(session: Session, scale: Scale) -> None:
    decoder = session.recipe.stage.decoder
    if decoder.enabled:
        train_decoder(session, scale, None)
    train_analysis(session, scale, None)
    train_synthesis(session, scale, None)


ROWS: tuple[Row, ...] = (
    Row(_GUIDANCE, "no guidance", _synthesis(guidance="none", front_end="none"), 24.80),
    Row(_GUIDANCE, "additive", _synthesis(guidance="additive", front_end="none"), 28.58),
    Row(_GUIDANCE, "multiplying", _synthesis(guidance="multiplicative", front_end="none"), 28.41),
    Row(_GUIDANCE, "both", _synthesis(guidance="both", front_end="none"), 28.73),
    Row(_STRATEGY, "random start", _random_start, 25.70),
    Row(_STRATEGY, "before joint training", _before_joint, 24.82),
    Row(_STRATEGY, "after joint training", _after_joint, 26.78),
    Row(_STRATEGY, "scale-optimised", _scale_optimised, 27.12),
    Row(_FRONT_END, "none", _synthesis(front_end="none", iterations=1)),
    Row(_FRONT_END, "Wiener", _synthesis(front_end="wiener")),
    Row(_FRONT_END, "hyper-Laplacian", _synthesis(front_end="hyper-laplacian")),
    Row(
        _FRONT_END,
        "hyper-Laplacian, no guidance",
        _synthesis(front_end="hyper-laplacian", guidance="none"),
    ),
    Row(_ANALYSIS, "as the recipe says", _analysis()),
    Row(_ANALYSIS, "without the loss that forgives a flip", _analysis(flips=False)),
    Row(_ANALYSIS, "with the loss that forgives a flip", _analysis(flips=True)),
    Row(_ANALYSIS, "decoder first (stage 0)", _analysis(stage_0=True)),
    Row(_ANALYSIS, "learned channels only", _analysis(fixed_features=[], learned_channels=8)),
    Row(_ANALYSIS, "fixed channels only", _analysis(learned_channels=0)),
    Row(_ANALYSIS, "the paper's decoder", _analysis(decoder="paper")),
)


def run_ablation(session: Session, minutes: float | None) -> None:
    """Run the rows of a recipe (all, or those that `ablation.rows` names) and write the table.

    `minutes` is not used: the rows have equal step budgets.

    Raises
    ------
    RecipeError
        When `ablation.rows` names an unknown row.
    """
    if minutes is not None:
        raise RecipeError("--minutes does not suit 'ablation': set ablation.*_steps instead")
    budgeted = _budgeted(session)
    folder = session.folder("ablation")
    results: dict[str, Figures] = {}
    for row in _chosen(session.recipe):
        say(f"ablation: {row.group}: {row.name}")
        results[row.folder] = row.run(dataclasses.replace(budgeted, out=folder / row.folder))
        if session.fabric.is_global_zero:
            _write(session, results)


def _write(session: Session, results: Mapping[str, Figures]) -> None:
    folder = session.out / "ablation"
    with atomic_path(folder / "results.json") as path:
        path.write_text(json.dumps(results, indent=2), encoding="utf-8")
    with atomic_path(folder / "table.md") as path:
        path.write_text(markdown_table(session.recipe, results), encoding="utf-8")


def markdown_table(recipe: Recipe, results: Mapping[str, Figures]) -> str:
    """Return the table, with its budget, as Markdown."""
    stage, budget = recipe.stage, recipe.ablation
    kernels = stage.synthesis.kernels
    budget_words = (
        f"Budget of a row: {budget.synthesis_steps} steps of {stage.synthesis.batch} crops of "
        f"{stage.synthesis.crop} px (synthesis), {budget.analysis_steps} of "
        f"{stage.analysis.batch} of {stage.analysis.crop} px (analysis), {budget.joint_steps} of "
        f"{stage.joint.batch} of {stage.joint.crop} px (joint); random start: both together. "
        f"Kernels of {kernels.smallest} to {kernels.largest} px. Recipe `{recipe.name}`."
    )
    lines = [
        budget_words,
        "",
        "| | | PSNR (dB) | blurry (dB) | kernel L1 | kernel correlation | paper (dB) |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        if row.folder in results:
            figures = results[row.folder]
            cells = [
                _cell(figures.get(name), digits)
                for name, digits in (
                    ("PSNR", 2),
                    ("PSNR blurry", 2),
                    ("kernel L1", 3),
                    ("kernel correlation", 3),
                )
            ]
            cells.append(_cell(row.published, 2))
            lines.append(f"| {row.group} | {row.name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


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


def _budgeted(session: Session) -> Session:
    """Return the session with the steps of `[ablation]`, each row's folder resumable by itself."""
    recipe, budget = session.recipe, session.recipe.ablation
    stage = dataclasses.replace(
        recipe.stage,
        decoder=_with_steps(recipe.stage.decoder, budget.analysis_steps),
        analysis=_with_steps(recipe.stage.analysis, budget.analysis_steps),
        synthesis=_with_steps(recipe.stage.synthesis, budget.synthesis_steps),
        joint=_with_steps(recipe.stage.joint, budget.joint_steps),
    )
    return dataclasses.replace(session, recipe=dataclasses.replace(recipe, stage=stage))


def _with_steps(stage: Any, steps: int) -> Any:
    return dataclasses.replace(stage, steps=steps, validate_every=steps)


def _with_joint(session: Session, **changes: Any) -> Session:
    stage = session.recipe.stage
    stage = dataclasses.replace(stage, joint=dataclasses.replace(stage.joint, **changes))
    return dataclasses.replace(session, recipe=dataclasses.replace(session.recipe, stage=stage))


def _with_model(
    session: Session,
    analysis: Mapping[str, Any] | None = None,
    synthesis: Mapping[str, Any] | None = None,
) -> Session:
    model = session.recipe.model
    model = dataclasses.replace(
        model,
        analysis={**model.analysis, **(analysis or {})},
        synthesis={**model.synthesis, **(synthesis or {})},
    )
    network_configs(model)
    return dataclasses.replace(session, recipe=dataclasses.replace(session.recipe, model=model))
