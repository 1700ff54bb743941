"""A bank of kernels, drawn once from a seed in worker processes and kept in the run's folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_deblur.blur.kernel_bank import KernelSampler
from napari_deblur.files.atomic import atomic_path

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_deblur.training.recipe import KernelRecipe

__all__ = ["BankOrder", "make_bank", "order_bank"]

_PORTION = 512
"""Kernels drawn at a time; part of what a seed means, so never change it with the worker count."""


@dataclass(frozen=True)
class BankOrder:
    """What a bank holds: `count` kernels of `sampler`, drawn from `seed`."""

    sampler: KernelSampler
    count: int
    seed: int

    def fingerprint(self) -> str:
        """Short name of the content, the same for the same order."""
        text = json.dumps([vars(self.sampler), self.count, self.seed], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def order_bank(
    recipe: KernelRecipe, size: int, seed: int, sizes: tuple[int, int] | None = None
) -> BankOrder:
    """Order the bank of a recipe as (size, size) arrays, of its own sizes or of one size class."""
    smallest, largest = sizes if sizes is not None else (recipe.smallest, recipe.largest)
    sampler = KernelSampler(
        smallest=smallest,
        largest=min(largest, size),
        size=size,
        shake=recipe.shake,
        straight=recipe.straight,
        defocused=recipe.defocused,
        gaussian=recipe.gaussian,
        curves=recipe.curves,
    )
    return BankOrder(sampler, recipe.count, seed)


def make_bank(
    order: BankOrder, folder: Path | None = None, workers: int = 0
) -> NDArray[np.float16]:
    """Draw the kernels, or read them from `folder` when the same order was made before.

    Returns
    -------
    ndarray, shape (count, m, m), float16
        Scaled to a peak of 1, which float16 holds to three digits; scale to sum 1 after reading.
    """
    path = folder / f"kernels-{order.fingerprint()}.npy" if folder is not None else None
    if path is not None and path.is_file():
        with contextlib.suppress(OSError, ValueError):
            kept: NDArray[np.float16] = np.load(path, allow_pickle=False)
            if len(kept) == order.count:
                return kept
    starts = range(0, order.count, _PORTION)
    portions = [(order, start) for start in starts]
    if workers > 1 and len(portions) > 1:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            parts = list(pool.map(_draw, portions))
    else:
        parts = [_draw(portion) for portion in portions]
    bank = np.concatenate(parts)
    if path is not None:
        _keep(path, bank)
    return bank


def _draw(portion: tuple[BankOrder, int]) -> NDArray[np.float16]:
    order, start = portion
    rng = np.random.default_rng(np.random.SeedSequence([order.seed, start]))
    kernels = order.sampler.sample_many(rng, min(_PORTION, order.count - start))
    peak = kernels.max(axis=(1, 2), keepdims=True)
    return np.asarray(kernels / peak, np.float16)


def _keep(path: Path, bank: NDArray[np.float16]) -> None:
    """Write a bank for the next start; a disk that refuses costs time later, not the run."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.save(file, bank)
