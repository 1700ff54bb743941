"""A task that takes milliseconds: the engine's promises do not depend on what is learnt."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from napari_deblur.training.batches import Batch
from napari_deblur.training.checkpoints import latest_checkpoint
from napari_deblur.training.fit import Fit, Outcome, fit
from napari_deblur.training.recipe import MachineRecipe
from napari_deblur.training.recipe_files import load_recipe
from napari_deblur.training.session import launch

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning.fabric import Fabric

SIDE = 8


class ToyTask:
    """Learn to return the image; `spoil` may change the loss of a step."""

    def __init__(self, spoil: Callable[[torch.Tensor], torch.Tensor] = lambda loss: loss) -> None:
        torch.manual_seed(0)
        self.module = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 1))
        self.spoil = spoil

    def networks(self, module: nn.Module) -> dict[str, nn.Module]:
        return {"toy": module}

    def loss(self, module: nn.Module, batch: Batch, progress: float) -> torch.Tensor:
        del progress
        return self.spoil((module(batch.blurry) - batch.sharp).square().mean())

    def measure(self, module: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        return {"error": (module(batch.blurry) - batch.sharp).square().mean(dim=(1, 2, 3))}

    def pictures(self, module: nn.Module, batch: Batch) -> dict[str, Any]:
        del module, batch
        return {}


def toy_batch(index: int) -> Batch:
    """Make batch `index`."""
    image = torch.rand(4, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(index))
    none = torch.zeros(4)
    return Batch(image, image, none, none, none, none)


def run_toy(
    folder: Path,
    *,
    fabric: Fabric | None = None,
    task: ToyTask | None = None,
    make: Callable[[int], Batch] = toy_batch,
    minutes: float | None = None,
    fingerprint: str = "toy",
    **changes: Any,
) -> Outcome:
    """Fit the toy task in a folder, going on from its newest checkpoint if there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"steps": 12, "checkpoint_every": 4, "validate_every": 6, "log_every": 2}
    recipe = dataclasses.replace(load_recipe("tiny").stage.analysis, **{**settings, **changes})
    machine = MachineRecipe(accelerator="cpu", precision="32-true")
    order = Fit(
        "toy", task or ToyTask(), recipe, machine, folder, fingerprint, make, toy_batch, minutes
    )
    return fit(fabric or launch(machine), order, latest_checkpoint(folder))


def two_processes(folder: Path) -> None:
    """Fit in two processes, each on its half of every batch, and save each one's weights."""
    machine = MachineRecipe(accelerator="cpu", precision="32-true", devices=2)
    fabric = launch(machine)

    def half(index: int) -> Batch:
        whole = toy_batch(index)
        part = slice(2 * fabric.global_rank, 2 * fabric.global_rank + 2)
        return dataclasses.replace(whole, sharp=whole.sharp[part], blurry=whole.blurry[part])

    task = ToyTask()
    run_toy(folder, fabric=fabric, task=task, make=half)
    torch.save(task.module.state_dict(), folder / f"rank-{fabric.global_rank}.pt")


def killed_while_writing(folder: Path) -> None:
    """Fit, and die of SIGKILL with the second checkpoint half written."""
    import os
    import signal

    from napari_deblur.training import checkpoints

    whole = checkpoints.save_file
    written: list[Path] = []

    def save(tensors: Any, path: Path, metadata: Any) -> None:
        whole(tensors, path, metadata=metadata)
        written.append(path)
        if len(written) == 2:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoints.save_file = save
    run_toy(folder)


if __name__ == "__main__":
    {"two": two_processes, "killed": killed_while_writing}[sys.argv[1]](Path(sys.argv[2]))
