"""What all stages of one command share: recipe, data, kernels, devices, the run's folder."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
from dataclasses import dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING, Any, Literal

import torch
from lightning.fabric import Fabric

from napari_deblur.errors import DeviceError, InputError, OutputError
from napari_deblur.memory import keep_freed_memory
from napari_deblur.networks.precision import convolution_dtype
from napari_deblur.training.batches import KernelBank
from napari_deblur.training.kernel_bank import make_bank, order_bank
from napari_deblur.training.logs import say
from napari_deblur.training.store import SharpData, load_sharp_data

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_deblur.training.recipe import DataRecipe, KernelRecipe, MachineRecipe, Recipe

__all__ = ["Session", "check_kernel_fits", "launch"]


def launch(machine: MachineRecipe) -> Fabric:
    """Start Lightning Fabric as a recipe's [machine] says.

    Raises
    ------
    DeviceError
        When the accelerator is not there.
    """
    keep_freed_memory()
    many = machine.devices * machine.nodes > 1
    try:
        fabric = Fabric(
            accelerator=machine.accelerator,
            devices=machine.devices,
            num_nodes=machine.nodes,
            precision=_precision(machine),
            strategy="ddp" if many else "auto",
        )
    except Exception as error:  # Lightning has its own exception for each thing that is missing
        raise DeviceError(
            f"machine.accelerator = {machine.accelerator!r} with {machine.devices} devices "
            f"cannot be used ({str(error).splitlines()[0]}): set machine.accelerator=cpu"
        ) from error
    fabric.launch()
    return fabric


@dataclass
class Session:
    """One command: loads data and kernels once, for every stage that wants the same."""

    recipe: Recipe
    fabric: Fabric
    paths: Sequence[Path]
    validation_paths: Sequence[Path]
    out: Path
    resume: bool
    smallest: int
    _data: dict[DataRecipe, SharpData] = field(default_factory=dict)

    def sharp(self, data: DataRecipe) -> SharpData:
        """Return the images on the training device."""
        # How crops are used says nothing about which images there are.
        key = dataclasses.replace(data, colour=0.0, gamma=(1.0, 1.0), gamma_share=0.0)
        if key not in self._data:
            self._data[key] = self._load(key)
        return self._data[key]

    def _load(self, data: DataRecipe) -> SharpData:
        loaded = load_sharp_data(
            data,
            self.paths if data.photographs > 0 else (),
            self.validation_paths if data.photographs > 0 else (),
            seed=self.recipe.seed,
            workers=self.workers,
            smallest=self.smallest,
        )
        device = self.fabric.device
        ready = SharpData(loaded.training.to(device), loaded.held_out.to(device), loaded.report)
        if self.fabric.is_global_zero:
            count, held = len(ready.training.table), len(ready.held_out.table)
            say(f"{count} sharp images, {held} held out; {ready.report.sentence()}")
        return ready

    @property
    def workers(self) -> int:
        """Processes for what is prepared before training."""
        return min(8, os.cpu_count() or 1)

    def bank(
        self,
        kernels: KernelRecipe,
        size: int,
        *,
        sizes: Sequence[tuple[int, int]] = (),
        held_out: bool = False,
    ) -> KernelBank:
        """Return kernels as (size, size) arrays, one bank for each of `sizes` if given.

        Held-out banks have another seed and are small.
        """
        seed = self.recipe.seed + 1_000_003 * held_out
        if held_out:
            kernels = dataclasses.replace(kernels, count=min(kernels.count, 512))
        orders = [order_bank(kernels, size, seed, limits) for limits in sizes or (None,)]
        folder = None if held_out else self.out / "kernels"
        with self.fabric.rank_zero_first():
            banks = [make_bank(order, folder, self.workers) for order in orders]
        return KernelBank.gather(banks, self.fabric.device)

    def fingerprint(self, stage: str, *extra: str) -> str:
        """Sha256 of what decides a stage's result: recipe, seed, data, what it starts from."""
        data = self.sharp(getattr(self.recipe.stage, stage).data)
        parts: list[Any] = [self.recipe.fingerprint(stage), data.report.manifest, list(extra)]
        parts.append(self.fabric.world_size)
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def provenance(self, stage: str) -> dict[str, Any]:
        """Return what a weights file says about the data, the recipe and the software."""
        return {
            "stage": stage,
            "recipe": self.recipe.to_dict(),
            "data": self.sharp(getattr(self.recipe.stage, stage).data).report.manifest,
            "versions": {
                "napari-deblur": _version("napari-deblur"),
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
            "device": _device_name(self.fabric.device),
            "processes": self.fabric.world_size,
        }

    def folder(self, name: str) -> Path:
        """Make a stage's folder.

        Raises
        ------
        OutputError
            When it cannot be made.
        """
        path = self.out / name
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"cannot make folder {str(path)!r} ({error.strerror}): give another --out"
            ) from error
        return path


def _precision(machine: MachineRecipe) -> Literal["bf16-mixed", "32-true"]:
    if machine.precision != "auto":
        return machine.precision
    on_gpu = machine.accelerator != "cpu" and torch.cuda.is_available()
    dtype = convolution_dtype(torch.device("cuda" if on_gpu else "cpu"))
    return "bf16-mixed" if dtype == torch.bfloat16 else "32-true"


def check_kernel_fits(kernels: KernelRecipe, size: int) -> None:
    """Check that the recipe's kernels fit into a model's.

    Raises
    ------
    InputError
        When they do not.
    """
    if kernels.largest > size:
        raise InputError(
            f"kernels.largest = {kernels.largest} is impossible: the model's kernels have "
            f"{size} pixels; lower it, or raise kernel_size in [model.analysis] and "
            "[model.synthesis]"
        )


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "unknown"


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.machine()}, {torch.get_num_threads()} threads)"
