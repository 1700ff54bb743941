"""A stage ready to run, and what running it leaves: checkpoints, figures, weights."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from napari_deblur.errors import OutputError
from napari_deblur.training.checkpoints import latest_checkpoint
from napari_deblur.training.fit import Fit, Outcome, fit
from napari_deblur.training.logs import say

if TYPE_CHECKING:
    from collections.abc import Callable, Sized
    from pathlib import Path

    from napari_deblur.training.recipe import StageRecipe
    from napari_deblur.training.session import Session
    from napari_deblur.training.tasks import Task

__all__ = ["Maker", "StageOrder", "run_order"]


class Maker(Protocol):
    """Makes batch `index` of process `rank`, which depends on the two alone."""

    def make(self, index: int, rank: int = 0) -> Sized:
        """Make a batch."""
        ...


@dataclass(frozen=True)
class StageOrder:
    """A stage ready to run."""

    stage: str
    task: Task[Any]
    recipe: StageRecipe
    maker: Maker
    validation: Maker
    folder: str
    start: str = ""


def run_order(session: Session, order: StageOrder, minutes: float | None) -> Outcome:
    """Fit a stage and export its networks as `KIND.safetensors` into its folder.

    Raises
    ------
    OutputError
        When the folder holds a run already and this is not to resume it.
    RecipeError
        When it is, and the recipe or the data differ.
    """
    folder = session.folder(order.folder)
    checkpoint = latest_checkpoint(folder)
    if checkpoint is not None and not session.resume:
        raise OutputError(
            f"{str(folder)!r} holds a run already: give --resume to go on, or another --out"
        )
    session.fabric.barrier()
    outcome = fit(
        session.fabric,
        Fit(
            name=order.folder,
            task=order.task,
            recipe=order.recipe,
            machine=_machine(session),
            folder=folder,
            fingerprint=session.fingerprint(order.stage, order.folder, order.start),
            make_batch=_of_rank(order.maker, session),
            make_validation=order.validation.make,
            minutes=minutes,
        ),
        checkpoint,
    )
    if session.fabric.is_global_zero:
        _export(session, order, outcome, folder)
    session.fabric.barrier()
    return outcome


def _machine(session: Session) -> Any:
    """On a GPU batches are made on it, in the order of its own queue: no threads."""
    machine = session.recipe.machine
    on_cpu = session.fabric.device.type == "cpu"
    return machine if on_cpu else dataclasses.replace(machine, workers=0)


def _of_rank(maker: Maker, session: Session) -> Callable[[int], Any]:
    rank = session.fabric.global_rank
    return lambda index: maker.make(index, rank)


def _export(session: Session, order: StageOrder, outcome: Outcome, folder: Path) -> None:
    from napari_deblur.weights.files import save_weights

    provenance = session.provenance(order.stage) | {
        "steps": outcome.steps,
        "hours": round(outcome.seconds / 3600, 4),
        "skipped steps": outcome.skipped,
        "held-out figures": {name: round(value, 4) for name, value in outcome.figures.items()},
        "started from": order.start,
    }
    for kind, network in order.task.networks(outcome.module).items():
        path = folder / f"{kind}.safetensors"
        save_weights(path, network, kind, network.config, provenance)  # type: ignore[arg-type]
        say(f"wrote {path}")
