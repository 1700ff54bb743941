"""The training loop: one task, one stage's settings, from its newest checkpoint to its end.

Devices, precision and several processes are Lightning Fabric's business.  A run's state is its
step count, its seconds, its schedule and its tensors; batch i depends on i alone, so a run that
goes on from a checkpoint makes the same steps as one that was never stopped.
"""

from __future__ import annotations

import copy
import math
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, cast

import torch

from napari_deblur.errors import DeblurError, OutputError, RecipeError
from napari_deblur.training.checkpoints import (
    Checkpoint,
    load_optimizer,
    optimizer_tensors,
    save_checkpoint,
)
from napari_deblur.training.feed import batches_from
from napari_deblur.training.logs import RunLog, say, ticker, time_left
from napari_deblur.training.schedules import Schedule
from napari_deblur.training.signals import collected_signals

if TYPE_CHECKING:
    from collections.abc import Callable, Sized
    from pathlib import Path

    from lightning.fabric import Fabric
    from torch import nn

    from napari_deblur.training.recipe import MachineRecipe, StageRecipe
    from napari_deblur.training.tasks import Task

__all__ = ["Fit", "Interrupted", "Outcome", "TrainingError", "fit"]

_MOST_FAILED_WRITES = 3


class TrainingError(DeblurError, RuntimeError):
    """Training cannot go on: the loss stays non-finite."""


class Interrupted(Exception):  # noqa: N818 - like KeyboardInterrupt, not an error
    """A signal asked the run to stop; its checkpoint is written."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by signal {number}; go on with --resume")
        self.number = number


@dataclass(frozen=True)
class Fit:
    """What to fit: `minutes` replaces the recipe's step count as the end of the run."""

    name: str
    task: Task[Any]
    recipe: StageRecipe
    machine: MachineRecipe
    folder: Path
    fingerprint: str
    make_batch: Callable[[int], Sized]
    make_validation: Callable[[int], Sized]
    minutes: float | None = None


@dataclass
class _State:
    step: int = 0
    seconds: float = 0.0
    skipped: int = 0
    skipped_on_end: int = 0
    schedule: Schedule = field(default_factory=Schedule)
    figures: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"schedule": self.schedule.to_dict()}

    @staticmethod
    def from_dict(values: dict[str, Any]) -> _State:
        return _State(**{**values, "schedule": Schedule.from_dict(values["schedule"])})


@dataclass(frozen=True)
class Outcome:
    """The averaged module, and what a provenance record says of its training."""

    module: nn.Module
    steps: int
    seconds: float
    skipped: int
    figures: dict[str, float]


def fit(fabric: Fabric, order: Fit, checkpoint: Checkpoint | None) -> Outcome:
    """Train until the steps or the minutes are used up.

    Parameters
    ----------
    fabric
        Launched.
    order
        What to do.
    checkpoint
        Where to go on from; None to begin.

    Raises
    ------
    RecipeError
        When the checkpoint belongs to another recipe.
    TrainingError
        When more than `bad_steps` steps on end have a non-finite loss or gradient.
    OutputError
        When checkpoints cannot be written three times on end.
    Interrupted
        After SIGTERM or SIGINT, once the checkpoint is written.
    """
    if checkpoint is not None and checkpoint.state["fingerprint"] != order.fingerprint:
        raise RecipeError(
            f"{str(checkpoint.path)!r} comes from another recipe, data or seed: "
            "give the same recipe and data to --resume, or another --out"
        )
    return _Loop(fabric, order, checkpoint).run()


class _Loop:
    """The mutable middle of `fit`."""

    def __init__(self, fabric: Fabric, order: Fit, checkpoint: Checkpoint | None) -> None:
        self.fabric, self.order = fabric, order
        self.state = _State()
        self.module = order.task.module
        if order.machine.channels_last:
            self.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = _optimizer(self.module, order.recipe)
        compiled = torch.compile(self.module) if order.machine.compile else self.module
        self.wrapped, self.optimizer = fabric.setup(cast("nn.Module", compiled), optimizer)
        self.average = copy.deepcopy(self.module).eval().requires_grad_(requires_grad=False)
        if checkpoint is not None:
            self._restore(checkpoint)
        self.log = RunLog(order.folder, self.state.step) if fabric.is_global_zero else None
        self.failed_writes = 0
        self.losses: list[float] = []

    def run(self) -> Outcome:
        order, state = self.order, self.state
        self._start_clock()
        batches = batches_from(order.make_batch, state.step, order.machine.workers)
        shown = ticker(order.name, silent=not self.fabric.is_global_zero)
        with collected_signals() as asked, batches as feed, shown as self.ticker:
            while self._progress() < 1:
                self._step(next(feed))
                stop = self._agreed(asked)
                if stop or self._due():
                    self._save()
                if stop:
                    raise Interrupted(stop)
            state.seconds = time.monotonic() - self.began
            if state.step % order.recipe.validate_every or not state.figures:
                self._validate()
            self._save(last=True)
        if self.log is not None:
            self.log.close()
        return Outcome(self.average, state.step, state.seconds, state.skipped, state.figures)

    def _start_clock(self) -> None:
        self.began = time.monotonic() - self.state.seconds
        self.reported = (self.state.step, self.state.seconds)
        self.saved_at = time.monotonic()

    def _progress(self) -> float:
        """How much of the run is over, in [0, 1]; all processes agree."""
        if self.order.minutes is None:
            return self._fraction()
        seconds = time.monotonic() - self.began
        if self.fabric.world_size > 1:
            seconds = self.fabric.broadcast(seconds)
        return min(1.0, seconds / (60 * self.order.minutes))

    def _step(self, batch: Sized) -> None:
        order, state = self.order, self.state
        progress = self._progress()
        rate = state.schedule.rate(order.recipe, state.step, progress)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.wrapped.train()
        with self.fabric.autocast():
            loss = order.task.loss(self.wrapped, batch, progress)
        self.fabric.backward(loss)
        norm = self._gradient_norm()
        value = self._reduced(loss.detach(), "mean")
        if math.isfinite(value) and math.isfinite(norm):
            self.optimizer.step()
            state.skipped_on_end = 0
            self._update_average()
            state.schedule.observe(order.recipe, value)
            self.losses.append(value)
        else:
            self._skip(value, norm)
        self.optimizer.zero_grad(set_to_none=True)
        state.step += 1
        state.seconds = time.monotonic() - self.began
        if state.step % order.recipe.log_every == 0:
            self._report(rate, norm)
        if state.step % order.recipe.validate_every == 0:
            self._validate()

    @property
    def _many(self) -> bool:
        return self.fabric.world_size > 1

    def _gradient_norm(self) -> float:
        """Clip, and return the norm before; infinite or NaN on every process or on none."""
        limit = self.order.recipe.clip or math.inf
        parameters = [p for p in self.module.parameters() if p.grad is not None]
        return float(torch.nn.utils.clip_grad_norm_(parameters, limit))

    def _skip(self, value: float, norm: float) -> None:
        state, most = self.state, self.order.recipe.bad_steps
        state.skipped += 1
        state.skipped_on_end += 1
        if state.skipped_on_end > most:
            raise TrainingError(
                f"stage {self.order.name!r}: the loss ({value:g}) or its gradient ({norm:g}) was "
                f"not finite for {state.skipped_on_end} steps on end, up to step {state.step}: "
                "lower the learning rate, or set machine.precision=32-true, and --resume"
            )

    @torch.no_grad()
    def _update_average(self) -> None:
        """Running average of the weights, quick at first."""
        step = self.state.step
        decay = min(self.order.recipe.ema, (1 + step) / (10 + step))
        mine, new = list(self.average.parameters()), list(self.module.parameters())
        torch._foreach_lerp_([p.data for p in mine], [p.data for p in new], 1 - decay)
        for kept, buffer in zip(self.average.buffers(), self.module.buffers(), strict=True):
            kept.copy_(buffer)

    def _report(self, rate: float, norm: float) -> None:
        state, (step, seconds) = self.state, self.reported
        if self.log is None or not self.losses:
            return
        steps_a_second = (state.step - step) / max(state.seconds - seconds, 1e-9)
        loss = sum(self.losses) / len(self.losses)
        self.losses.clear()
        self.reported = (state.step, state.seconds)
        samples = steps_a_second * self.order.recipe.batch * self.fabric.world_size
        figures = {
            "seconds": state.seconds,
            "loss": loss,
            "learning rate": rate,
            "gradient norm": norm,
            "samples a second": samples,
            "skipped": float(state.skipped),
        }
        self.log.row("training", state.step, figures)
        fraction = self._fraction()
        left = time_left(state.seconds, fraction)
        line = f"step {state.step}  loss {loss:.4f}  {samples:.1f} samples/s  left {left}"
        self.ticker.tick(fraction, line)

    def _fraction(self) -> float:
        """Like `_progress`, without asking the other processes."""
        if self.order.minutes is None:
            steps = self.order.recipe.steps
            return self.state.step / steps if steps else 1.0
        return min(1.0, self.state.seconds / (60 * self.order.minutes))

    @torch.no_grad()
    def _validate(self) -> None:
        """Measure the averaged weights on the held-out batches; one process does it."""
        if self.log is None:
            return
        recipe, count = self.order.recipe, 0
        sums: dict[str, float] = {}
        with self.fabric.autocast():
            for index in range(math.ceil(recipe.validation_images / recipe.batch)):
                batch = self.order.make_validation(index)
                for name, values in self.order.task.measure(self.average, batch).items():
                    sums[name] = sums.get(name, 0.0) + float(values.double().sum())
                count += len(batch)
            pictures = self.order.task.pictures(self.average, self.order.make_validation(0))
        self.state.figures = {name: total / count for name, total in sums.items()}
        self.log.row("validation", self.state.step, self.state.figures)
        if pictures:
            self.log.pictures(self.state.step, pictures)
        shown = "  ".join(f"{name} {value:.3f}" for name, value in self.state.figures.items())
        self.ticker.tick(self._fraction(), f"step {self.state.step}  held out: {shown}")

    def _due(self) -> bool:
        late = time.monotonic() - self.saved_at > 60 * self.order.machine.checkpoint_minutes
        return late or self.state.step % self.order.recipe.checkpoint_every == 0

    def _agreed(self, asked: list[int]) -> int:
        """Return the number of the signal that any process got; 0 for none."""
        number = asked[0] if asked else 0
        if self._many:
            device = self.fabric.device
            number = int(self._reduced(torch.tensor(number, device=device), "max"))
        return number

    def _reduced(self, value: torch.Tensor, how: str) -> float:
        """Return the mean or the maximum of a scalar over all processes."""
        if not self._many:
            return value.item()
        return cast("torch.Tensor", self.fabric.all_reduce(value, reduce_op=how)).item()

    def _save(self, *, last: bool = False) -> None:
        """Write a checkpoint; a disk that is full now may not be at the next one."""
        if self.log is None:
            return
        self.saved_at = time.monotonic()
        tensors = {
            **_prefixed("module", self.module.state_dict()),
            **_prefixed("average", self.average.state_dict()),
            **_prefixed("optimizer", optimizer_tensors(self.optimizer.optimizer, self.module)),
        }
        state = {"fingerprint": self.order.fingerprint, "run": self.state.to_dict()}
        try:
            save_checkpoint(self.order.folder, self.state.step, tensors, state)
            self.failed_writes = 0
        except OutputError as error:
            self.failed_writes += 1
            if last or self.failed_writes >= _MOST_FAILED_WRITES:
                raise
            say(f"{error} (trying again at the next checkpoint)")

    def _restore(self, checkpoint: Checkpoint) -> None:
        self.module.load_state_dict(checkpoint.part("module"))
        self.average.load_state_dict(checkpoint.part("average"))
        load_optimizer(self.optimizer.optimizer, self.module, checkpoint.part("optimizer"))
        self.state = _State.from_dict(checkpoint.state["run"])


def _prefixed(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def _optimizer(module: nn.Module, recipe: StageRecipe) -> torch.optim.Optimizer:
    parameters = [p for p in module.parameters() if p.requires_grad]
    cls = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    return cls(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
