"""What `napari-deblur train STAGE` runs: which stages, in which order, for how long."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from napari_deblur.blur.kernel_bank import class_size
from napari_deblur.errors import InputError, OutputError
from napari_deblur.training.checkpoints import latest_checkpoint
from napari_deblur.training.lone_stages import (
    train_classifier,
    train_correction,
    train_expert,
)
from napari_deblur.training.models import network_configs
from napari_deblur.training.recipe import PAIR_STAGES
from napari_deblur.training.session import Session, launch
from napari_deblur.training.stages import (
    Scale,
    train_analysis,
    train_decoder,
    train_deconvolution,
    train_joint,
    train_synthesis,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_deblur.training.recipe import Recipe

__all__ = ["STAGES", "train_stage"]

STAGES = (
    *PAIR_STAGES,
    "classifier",
    "correction",
    "scales",
    "all",
    "ablation",
    "expert",
)

_PAIR = {
    "decoder": train_decoder,
    "analysis": train_analysis,
    "deconvolution": train_deconvolution,
    "synthesis": train_synthesis,
    "joint": train_joint,
}
_ALONE: dict[str, Callable[[Session, float | None], object]] = {
    "classifier": train_classifier,
    "correction": train_correction,
    "expert": train_expert,
}
_SCALE_NAMES = ("small", "medium", "large")

Step = tuple[float, "Callable[[Session, float | None], object]", str, str]
"""Share of the minutes, what to run, the recipe's stage, and the folder it writes."""


def train_stage(
    stage: str,
    recipe: Recipe,
    *,
    data: Sequence[Path],
    validation: Sequence[Path],
    out: Path,
    minutes: float | None,
    resume: bool,
) -> None:
    """Run a stage, or the whole regimen.

    Parameters
    ----------
    stage
        One of `STAGES`.
    recipe
        From `load_recipe`.
    data
        Folders and zips of sharp images.
    validation
        Folders and zips that are held out; without any, some of `data` are.
    out
        Folder of the run.
    minutes
        Time for all of it, shared by the stages as the recipe says, instead of their step counts.
        Loading data and evaluating at the ends comes on top.
    resume
        Go on from the newest checkpoints in `out`.

    Raises
    ------
    DeblurError
        On bad input; see `fit`.
    """
    if stage not in STAGES:
        raise InputError(f"unknown stage {stage!r}: allowed are {', '.join(STAGES)}")
    if minutes is not None and not minutes > 0:
        raise InputError(f"--minutes {minutes:g} is impossible: it must be above 0")
    steps = _steps(stage, recipe)
    for _, _, _, folder in steps:
        _check_free(out / folder, resume=resume)
    smallest = min(window_of(recipe, name) for _, _, name, _ in steps)
    _make_folder(out)
    fabric = launch(recipe.machine)
    session = Session(recipe, fabric, data, validation, out, resume, smallest)
    total = sum(share for share, *_ in steps)
    for share, run, _, _ in steps:
        run(session, None if minutes is None else minutes * share / total)


def _steps(stage: str, recipe: Recipe) -> list[Step]:
    if stage == "ablation":
        from napari_deblur.training.ablation import run_ablation

        return [(1.0, run_ablation, "synthesis", "ablation")]
    if stage in _ALONE:
        return [_lone_step(recipe, stage)]
    if stage == "scales":
        return _scale_steps(recipe)
    if stage == "all":
        names = ["classifier"] + ["correction"] * recipe.stage.correction.enabled
        alone = [_lone_step(recipe, name) for name in names]
        return [*_pair_steps(recipe, Scale()), *alone, *_scale_steps(recipe)]
    return [_pair_step(recipe, stage, Scale())]


def _lone_step(recipe: Recipe, name: str) -> Step:
    return (getattr(recipe.stage, name).share, _ALONE[name], name, name)


def _pair_steps(recipe: Recipe, scale: Scale) -> list[Step]:
    return [_pair_step(recipe, name, scale) for name in recipe.stage.of_pair()]


def _pair_step(recipe: Recipe, name: str, scale: Scale) -> Step:
    share = getattr(recipe.stage, name).share
    function = _PAIR[name]
    return (
        share,
        lambda session, minutes: function(session, scale, minutes),
        name,
        scale.stage_folder(name),
    )


def _scale_steps(recipe: Recipe) -> list[Step]:
    """Return the steps of the three pairs, one a size class (paper section 3.3)."""
    steps = []
    for scale in scales(recipe):
        steps += _pair_steps(recipe, scale)
    return steps


def scales(recipe: Recipe) -> list[Scale]:
    """Return the size classes of a recipe, with names."""
    classes = recipe.stage.analysis.kernels.classes
    names = _SCALE_NAMES if len(classes) == len(_SCALE_NAMES) else range(len(classes))
    return [
        Scale(f"scales/{name}", limits, class_size(limits))
        for name, limits in zip(names, classes, strict=True)
    ]


def window_of(recipe: Recipe, stage: str) -> int:
    """Return the side of the sharp window that a stage needs: its crop and the kernel's margin."""
    if stage == "correction":
        correction = recipe.stage.correction
        correction.check()
        return min(
            crop + size - 1 for crop, size in zip(correction.crops, correction.sizes(), strict=True)
        )
    configs = network_configs(recipe.model)
    of_synthesis = stage in ("deconvolution", "synthesis", "expert")
    size = (configs.synthesis if of_synthesis else configs.analysis).kernel_size
    return int(getattr(recipe.stage, stage).crop) + size - 1


def _check_free(folder: Path, *, resume: bool) -> None:
    """Refuse before anything is loaded what would be refused after it."""
    if not resume and latest_checkpoint(folder) is not None:
        raise OutputError(
            f"{str(folder)!r} holds a run already: give --resume to go on, or another --out"
        )


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # another process has removed it
            probe = out / ".writable"
            probe.touch()
            probe.unlink()
    except OSError as error:
        raise OutputError(
            f"cannot write into {str(out)!r} ({error.strerror}): give another --out"
        ) from error
