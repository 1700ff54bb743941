"""What stages are made of: makers of batches, banks of kernels, first weights."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_deblur.errors import InputError
from napari_deblur.training.batches import BatchMaker, KernelBank, View
from napari_deblur.training.session import Session, check_kernel_fits
from napari_deblur.training.transfer import first_weights

if TYPE_CHECKING:
    from torch import nn

    from napari_deblur.training.recipe import StageRecipe

__all__ = ["batch_makers", "check_trained", "kernel_banks", "load_start", "view_of"]


def batch_makers(
    session: Session,
    stage: str,
    recipe: StageRecipe,
    view: View,
    banks: tuple[KernelBank, KernelBank],
    **extra: Any,
) -> tuple[BatchMaker, BatchMaker]:
    """Return the makers of training and of validation batches."""
    data = session.sharp(recipe.data)
    stores, streams = (data.training, data.held_out), (stage, f"{stage} held out")
    training, held_out = (
        BatchMaker(
            store=store,
            bank=bank,
            data=recipe.data,
            sensor=recipe.sensor,
            batch=recipe.batch,
            crop=recipe.crop,
            view=view,
            seed=session.recipe.seed,
            stream=stream,
            **extra,
        )
        for store, bank, stream in zip(stores, banks, streams, strict=True)
    )
    return training, held_out


def kernel_banks(
    session: Session, recipe: StageRecipe, size: int, limits: tuple[int, int] | None
) -> tuple[KernelBank, KernelBank]:
    """Return the kernels of training and of validation, of the recipe's sizes or within limits."""
    if limits is None:
        check_kernel_fits(recipe.kernels, size)
    sizes = () if limits is None else (limits,)
    training = session.bank(recipe.kernels, size, sizes=sizes)
    return training, session.bank(recipe.kernels, size, sizes=sizes, held_out=True)


def load_start(network: nn.Module, path: str, kind: str) -> str:
    """Load first weights from a file; return its sha256, or nothing without a file."""
    if not path:
        return ""
    from napari_deblur.weights.files import read_weights

    file = read_weights(Path(path))
    if file.kind != kind:
        raise InputError(f"{path!r} holds weights of kind {file.kind!r}: give {kind!r} weights")
    try:
        network.load_state_dict(first_weights(file.tensors, network))
    except RuntimeError as error:
        raise InputError(
            f"{path!r} holds another architecture ({str(error).splitlines()[-1].strip()}): "
            "give weights of this recipe's [model]"
        ) from error
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def check_trained(path: Path, stage: str) -> None:
    """Refuse to go on without the weights of an earlier stage."""
    if not path.is_file():
        raise InputError(
            f"{str(path)!r} is missing: train stage {stage!r} with the same --out first"
        )


def view_of(channels: int) -> View:
    """Return what networks that take so many channels see of an image."""
    return "rgb" if channels == 3 else "channel"
