"""The rows of the ablation table: what each changes, and what it costs.

Paper Table 3 (guidance, and how the pair is trained), the deconvolution front ends, and the
analysis network's departures from the paper.  A row is an ordinary run of a stage with one thing
changed.
"""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from napari_deblur.blur.kernel_bank import class_size
from napari_deblur.networks.presets import PRESETS
from napari_deblur.training.models import network_configs
from napari_deblur.training.stages import (
    Scale,
    train_analysis,
    train_decoder,
    train_joint,
    train_synthesis,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from napari_deblur.training.fit import Outcome
    from napari_deblur.training.recipe import Recipe
    from napari_deblur.training.session import Session

__all__ = ["PAIR", "ROWS", "Bench", "Figures", "Row", "total_cost"]

Figures = dict[str, float]
Stage = Literal["analysis", "synthesis", "joint"]

_WHOLE = Scale()
_GUIDANCE = "Synthesis, true kernels"
_STRATEGY = "Training strategy, blind"
_FRONT_END = "Deconvolution front end, true kernels"
_ANALYSIS = "Analysis network"
_FIXED = list(PRESETS["compact"].analysis.fixed_features)


@dataclass(frozen=True)
class Bench:
    """What a row runs on: a session whose recipe has the rows' budget, and the minutes, if any.

    `minutes` is the time for a stage of share 1; None runs the recipe's steps.
    """

    session: Session
    minutes: float | None

    def time_for(self, *stages: Stage) -> float | None:
        """Return the minutes of some stages together."""
        if self.minutes is None:
            return None
        return self.minutes * sum(float(getattr(self.recipe.stage, name).share) for name in stages)

    @property
    def recipe(self) -> Recipe:
        """The session's recipe."""
        return self.session.recipe

    def within(self, folder: str) -> Bench:
        """Return a bench that writes into a folder of this one's."""
        session = dataclasses.replace(self.session, out=self.session.out / folder)
        return dataclasses.replace(self, session=session)

    def with_stage(self, name: str, **changes: Any) -> Bench:
        """Return a bench with keys of a stage changed."""
        stage = self.recipe.stage
        changed = dataclasses.replace(getattr(stage, name), **changes)
        return self._with(stage=dataclasses.replace(stage, **{name: changed}))

    def with_model(self, kind: str, changes: Mapping[str, Any]) -> Bench:
        """Return a bench with keys of a network changed."""
        model = self.recipe.model
        changed: dict[str, Any] = {kind: {**getattr(model, kind), **changes}}
        model = dataclasses.replace(model, **changed)
        network_configs(model)
        return self._with(model=model)

    def _with(self, **changes: Any) -> Bench:
        recipe = dataclasses.replace(self.recipe, **changes)
        return dataclasses.replace(self, session=dataclasses.replace(self.session, recipe=recipe))


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes
    ----------
    group, name
        What it is called.
    run
        Trains in the bench's folder and returns the held-out figures.
    stages
        The stages that it trains, for the share of the time that it gets.
    on_pair
        Whether it starts from the pair that is trained once for all such rows.
    per_class
        Whether it trains its stages once for each size class.
    published
        What the paper reports for it (dB).
    same_as
        Folder of an earlier row that is the same run.
    """

    group: str
    name: str
    run: Callable[[Bench], Figures]
    stages: tuple[Stage, ...]
    on_pair: bool = False
    per_class: bool = False
    published: float | None = None
    same_as: str = ""

    @property
    def folder(self) -> str:
        """Return the row's name as a folder's."""
        return _folder(self.group, self.name)

    def cost(self, recipe: Recipe) -> float:
        """Time of the row, in stages of share 1."""
        if self.same_as:
            return 0.0
        times = len(recipe.stage.joint.kernels.classes) if self.per_class else 1
        return times * sum(float(getattr(recipe.stage, name).share) for name in self.stages)


def total_cost(recipe: Recipe, rows: list[Row]) -> float:
    """Time of some rows together, in stages of share 1."""
    pair = PAIR.cost(recipe) if any(row.on_pair for row in rows) else 0.0
    return pair + sum(row.cost(recipe) for row in rows)


def _folder(group: str, name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in f"{group} {name}".lower())


def _figures(outcome: Outcome) -> Figures:
    return {**outcome.figures, "steps": float(outcome.steps)}


def _synthesis(**changes: Any) -> Callable[[Bench], Figures]:
    def run(bench: Bench) -> Figures:
        changed = bench.with_model("synthesis", changes)
        return _figures(train_synthesis(changed.session, _WHOLE, bench.time_for("synthesis")))

    return run


def _analysis(
    *, stage_0: bool = False, flips: bool = True, **changes: Any
) -> Callable[[Bench], Figures]:
    """Fixed channels, residual decoder, flips forgiven at first; and one thing changed."""
    network = {"learned_channels": 0, "fixed_features": _FIXED, "decoder": "residual", **changes}
    hold, until = (0.4, 0.8) if flips else (0.0, 0.0)

    def run(bench: Bench) -> Figures:
        changed = bench.with_model("analysis", network)
        changed = changed.with_stage("analysis", flip_hold=hold, flip_until=until)
        return _kernels(changed.with_stage("decoder", enabled=stage_0), _WHOLE)

    return run


def _kernels(bench: Bench, scale: Scale) -> Figures:
    """Train an analysis network; its decoder first, if the recipe says so, in the same time."""
    stage, time = bench.recipe.stage, bench.time_for("analysis")
    first = stage.decoder.share / (stage.decoder.share + stage.analysis.share)
    if not stage.decoder.enabled:
        return _figures(train_analysis(bench.session, scale, time))
    train_decoder(bench.session, scale, None if time is None else time * first)
    time = None if time is None else time * (1 - first)
    return _figures(train_analysis(bench.session, scale, time))


def _trained_pair(bench: Bench, scale: Scale, start: Path) -> Bench:
    """Train both networks apart; return a bench whose joint stage starts from them."""
    _kernels(bench, scale)
    train_synthesis(bench.session, scale, bench.time_for("synthesis"))
    start.mkdir(parents=True, exist_ok=True)
    for kind in ("analysis", "synthesis"):
        name = f"{kind}.safetensors"
        shutil.copyfile(bench.session.out / scale.stage_folder(kind) / name, start / name)
    return bench.with_stage("joint", start=str(start))


def _random_start(bench: Bench) -> Figures:
    """Both networks from random weights, for as long as the other rows take together."""
    stage = bench.recipe.stage
    steps = stage.joint.steps + max(stage.analysis.steps, stage.synthesis.steps)
    changed = bench.with_stage("joint", random_start=True, steps=steps)
    time = bench.time_for("analysis", "synthesis", "joint")
    return _figures(train_joint(changed.session, _WHOLE, time))


def _before_joint(bench: Bench) -> Figures:
    changed = bench.with_stage("joint", steps=0, start=str(_pair_folder(bench)))
    return _figures(train_joint(changed.session, _WHOLE, None))


def _after_joint(bench: Bench) -> Figures:
    changed = bench.with_stage("joint", start=str(_pair_folder(bench)))
    return _figures(train_joint(changed.session, _WHOLE, bench.time_for("joint")))


def _pair_folder(bench: Bench) -> Path:
    """Folder of the trained pair, beside those of the rows."""
    return bench.session.out.parent / PAIR.folder / "pair"


def _pair(bench: Bench) -> Figures:
    _trained_pair(bench, _WHOLE, bench.session.out / "pair")
    return {}


def _scale_optimised(bench: Bench) -> Figures:
    """A pair for each size class, each as long as the one for all; the mean, the class known."""
    parts = []
    for index, limits in enumerate(bench.recipe.stage.joint.kernels.classes):
        scale = Scale(f"class-{index}", limits, class_size(limits))
        changed = _trained_pair(bench, scale, bench.session.out / scale.folder / "pair")
        outcome = train_joint(changed.session, scale, bench.time_for("joint"))
        parts.append(_figures(outcome))
    return {name: sum(part[name] for part in parts) / len(parts) for name in parts[0]}


PAIR = Row(_STRATEGY, "trained pair", _pair, ("analysis", "synthesis"))
"""Not a row of the table: what two of its rows start from."""


def _guidance(name: str, kind: str, published: float) -> Row:
    run = _synthesis(guidance=kind, front_end="none", iterations=1)
    return Row(_GUIDANCE, name, run, ("synthesis",), published=published)


def _front_end(name: str, same_as: str = "", **changes: Any) -> Row:
    return Row(_FRONT_END, name, _synthesis(**changes), ("synthesis",), same_as=same_as)


def _kernel_row(name: str, **changes: Any) -> Row:
    return Row(_ANALYSIS, name, _analysis(**changes), ("analysis",))


_ALL: tuple[Stage, ...] = ("analysis", "synthesis", "joint")

ROWS: tuple[Row, ...] = (
    _guidance("no guidance", "none", 24.80),
    _guidance("additive", "additive", 28.58),
    _guidance("multiplying", "multiplicative", 28.41),
    _guidance("both", "both", 28.73),
    Row(_STRATEGY, "random start", _random_start, _ALL, published=25.70),
    Row(_STRATEGY, "before joint training", _before_joint, (), on_pair=True, published=24.82),
    Row(_STRATEGY, "after joint training", _after_joint, ("joint",), on_pair=True, published=26.78),
    Row(_STRATEGY, "scale-optimised", _scale_optimised, _ALL, per_class=True, published=27.12),
    _front_end("none", front_end="none", iterations=1, same_as=_folder(_GUIDANCE, "both")),
    _front_end("Wiener", front_end="wiener"),
    _front_end("hyper-Laplacian", front_end="hyper-laplacian"),
    _front_end("hyper-Laplacian, no guidance", front_end="hyper-laplacian", guidance="none"),
    _front_end("learned with the U-Net", front_end="shrinkage-fields"),
    _kernel_row("fixed channels, residual decoder, flips forgiven"),
    _kernel_row("flips not forgiven (plain L1, as the paper)", flips=False),
    _kernel_row("decoder first (stage 0)", stage_0=True),
    _kernel_row("learned channels only", fixed_features=[], learned_channels=8),
    _kernel_row("learned channels beside the fixed", learned_channels=4),
    _kernel_row("the paper's decoder", decoder="paper"),
)
"""In the order of the table; `PAIR` is trained before the first row that needs it."""
