"""Learning rates: the paper's plateau, and a cosine that ends with the steps or with the clock."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_deblur.training.recipe import StageRecipe

__all__ = ["Schedule"]

_SMALLEST_FALL = 1e-4


@dataclass
class Schedule:
    """The learning rate of a stage, and the little that its plateau rule remembers.

    The rule: when the mean loss of an epoch has not fallen by one part in 10,000 below the best
    for `patience` epochs on end, the rate is multiplied by `factor` (paper section 4: -20 %, 5).
    """

    factor: float = 1.0
    best: float = math.inf
    stale: int = 0
    total: float = 0.0
    seen: int = 0

    def rate(self, recipe: StageRecipe, step: int, progress: float) -> float:
        """Return the learning rate of a step; `progress` in [0, 1] the part that is over."""
        warm = min(1.0, (step + 1) / recipe.warmup) if recipe.warmup else 1.0
        rate = recipe.learning_rate * warm
        if recipe.schedule == "plateau":
            return rate * self.factor
        if recipe.schedule == "constant":
            return rate
        wave = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        return rate * (recipe.final + (1 - recipe.final) * wave)

    def observe(self, recipe: StageRecipe, loss: float) -> None:
        """Take note of a step's loss; at an epoch's end decide on the plateau."""
        self.total += loss
        self.seen += 1
        if self.seen < recipe.epoch:
            return
        mean, self.total, self.seen = self.total / self.seen, 0.0, 0
        # Losses may be negative (log-MSE): the fall is measured against the size of the best.
        if mean < self.best - _SMALLEST_FALL * abs(self.best) or math.isinf(self.best):
            self.best, self.stale = mean, 0
            return
        self.stale += 1
        if self.stale >= recipe.patience:
            self.factor *= recipe.factor
            self.stale = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint; JSON has no infinity, so an unset best is None."""
        return asdict(self) | {"best": None if math.isinf(self.best) else self.best}

    @staticmethod
    def from_dict(state: Mapping[str, Any]) -> Schedule:
        """Rebuild from `to_dict`'s result."""
        best = math.inf if state["best"] is None else state["best"]
        return Schedule(**{**state, "best": best})
