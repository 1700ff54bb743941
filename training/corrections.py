"""Samples for the correction network: found kernels, what images say of them, and the truth.

They take half a second each, so they are made once, in worker processes, and kept in the run's
folder.  Whether a search loses a kernel shows only after it: samples are made portion by portion,
lost ones are left out, until there are enough.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import io
import json
import zlib
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, Final
from zipfile import BadZipFile

import numpy as np
import torch

from napari_deblur.blur.curves import bend
from napari_deblur.blur.evidence import EVIDENCE
from napari_deblur.errors import RecipeError
from napari_deblur.files.atomic import atomic_path
from napari_deblur.training.batches import KernelBank
from napari_deblur.training.logs import ticker
from napari_deblur.training.spoiling import Sample, SampleTask, Spoiling, take_sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_deblur.training.batches import BatchMaker

__all__ = ["CorrectionSamples", "SampleOrder", "make_samples"]

_PORTION: Final = 16
"""Tries at a time; part of what a seed means, so never change it with the worker count."""

_LEAST_KEPT: Final = 0.1
"""Share of the tries that must succeed: with fewer, the recipe asks for what cannot be found."""

_FEWEST_TRIES: Final = 8 * _PORTION
_FEW: Final = 2 * _PORTION  # samples, which take less time than starting processes
_KERNEL_SIDE: Final = 31


@dataclasses.dataclass(frozen=True)
class CorrectionSamples:
    """Samples of kernels of one size.

    Attributes
    ----------
    evidence : Tensor, shape (n, C, m, m), float16
    truth : Tensor, shape (n, m, m), float32, sum 1
    """

    evidence: torch.Tensor
    truth: torch.Tensor

    def __len__(self) -> int:
        """Count the samples."""
        return len(self.truth)

    @property
    def size(self) -> int:
        """Side m of the kernels in pixels."""
        return self.truth.shape[-1]

    def to(self, device: torch.device) -> CorrectionSamples:
        """Return the same samples on a device."""
        return CorrectionSamples(self.evidence.to(device), self.truth.to(device))


@dataclasses.dataclass(frozen=True)
class SampleOrder:
    """What to make samples of.

    Attributes
    ----------
    maker : BatchMaker
        Makes blurry luma, one image a batch.
    varying : float
        Share of the images over which the blur varies.
    varying_bent : float
        From one end to the other by at most so many pixels of a kernel of 31, in proportion for
        others.
    spoiling : Spoiling
        How far from the truth the search begins.
    size : int
        Side m of the kernels in pixels.
    data : str
        Says which sharp images and kernels the maker has.
    """

    maker: BatchMaker
    varying: float
    varying_bent: float
    spoiling: Spoiling
    size: int
    data: str

    def fingerprint(self) -> str:
        """Short name of the content; how many samples are wanted does not belong to it."""
        maker = self.maker
        parts: list[Any] = [dataclasses.asdict(part) for part in (maker.data, maker.sensor)]
        parts += [maker.crop, maker.seed, maker.stream, self.varying, self.varying_bent]
        parts += [dataclasses.asdict(self.spoiling), self.size, self.data, EVIDENCE, _PORTION]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    @functools.cached_property
    def bent(self) -> KernelBank:
        """The maker's kernels, each bent: the blur at the other end of an image."""
        bank, most = self.maker.bank, self.varying_bent * self.size / _KERNEL_SIDE
        key = [self.maker.seed, zlib.crc32(f"{self.maker.stream} bent".encode())]
        rng = np.random.default_rng(np.random.SeedSequence(key))
        kernels = bank.kernels.float().cpu().numpy()
        bent = np.concatenate([bend(rng, one[None], rng.uniform(0, most)) for one in kernels])
        bent = (bent / bent.max(axis=(1, 2), keepdims=True)).astype(np.float16)
        return dataclasses.replace(bank, kernels=torch.from_numpy(bent).to(bank.kernels.device))

    def task(self, index: int) -> SampleTask:
        """Blur image `index`; it depends on the seed, the stream and `index` alone."""
        key = (self.maker.seed, zlib.crc32(f"{self.maker.stream} search".encode()), index)
        rng = np.random.default_rng(np.random.SeedSequence(key))
        batch = self.maker.make(index)
        blurry, kernel = batch.blurry, batch.kernel
        if rng.random() < self.varying:
            # The same scene, camera and noise: only the kernel differs.
            other = dataclasses.replace(self.maker, bank=self.bent).make(index)
            blurry = torch.lerp(blurry, other.blurry, _ramp(rng, blurry.shape[-1]).to(blurry))
            kernel = (kernel + other.kernel) / 2
        return SampleTask(
            np.ascontiguousarray(blurry[0, 0].cpu().numpy()),
            kernel[0].cpu().numpy(),
            (*key, 1),
            self.spoiling,
        )


def _ramp(rng: np.random.Generator, side: int) -> torch.Tensor:
    """Weights (side, side) that rise evenly from 0 in one corner to 1, in any direction."""
    angle = rng.uniform(0, 2 * np.pi)
    down, across = np.sin(angle), np.cos(angle)
    rows, columns = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    ramp = 0.5 + 0.5 * (down * rows + across * columns) / (abs(down) + abs(across))
    return torch.from_numpy(ramp.astype(np.float32))


def make_samples(
    order: SampleOrder, count: int, folder: Path, workers: int = 0, *, silent: bool = False
) -> CorrectionSamples:
    """Make samples, or read from `folder` those portions of the same order that were made before.

    Parameters
    ----------
    order
        What to make.
    count
        How many samples.
    folder
        Keeps portions, each in a file of its own: a run that is stopped loses one at most.
    workers
        Processes; the samples are the same for any number.
    silent
        Show no progress.

    Returns
    -------
    CorrectionSamples
        On the CPU.

    Raises
    ------
    RecipeError
        When nearly all kernels are lost.
    """
    kept = folder / f"{order.size}-{order.fingerprint()}"
    parts: list[CorrectionSamples] = []
    many = workers if count > _FEW else 0
    name = f"samples of {order.size} px"
    with _mapped(many) as take, ticker(name, silent=silent) as shown:
        while (made := sum(map(len, parts))) < count:
            tries = len(parts) * _PORTION
            _check_found(made, tries, order.size)
            parts.append(_portion(order, tries, kept / f"{tries:07d}.npz", take))
            made += len(parts[-1])
            line = f"{min(made, count)} of {count}, {tries + _PORTION - made} lost"
            shown.tick(min(1.0, made / count), line)
    evidence = torch.cat([part.evidence for part in parts])[:count]
    return CorrectionSamples(evidence, torch.cat([part.truth for part in parts])[:count])


def _check_found(made: int, tries: int, size: int) -> None:
    if tries >= _FEWEST_TRIES and made < _LEAST_KEPT * tries:
        raise RecipeError(
            f"{tries - made} of {tries} kernels of {size} pixels were lost: "
            "enlarge stage.correction.crops, or lower stage.correction.bent, .smoothed or "
            "sensor.noise"
        )


@contextmanager
def _mapped(workers: int) -> Iterator[Callable[[Iterable[SampleTask]], Iterable[Sample | None]]]:
    """Give a `map` of `take_sample`, in processes if there are to be several."""
    if workers <= 1:
        yield lambda tasks: map(take_sample, tasks)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield lambda tasks: pool.map(take_sample, tasks)


def _portion(
    order: SampleOrder,
    first: int,
    path: Path,
    take: Callable[[Iterable[SampleTask]], Iterable[Sample | None]],
) -> CorrectionSamples:
    kept = _read(path, order.size)
    if kept is not None:
        return kept
    tasks = (order.task(index) for index in range(first, first + _PORTION))
    samples = [sample for sample in take(tasks) if sample is not None]
    side = (order.size, order.size)
    evidence = np.zeros((len(samples), EVIDENCE, *side), np.float16)
    truth = np.zeros((len(samples), *side), np.float32)
    for index, sample in enumerate(samples):
        evidence[index], truth[index] = sample.evidence, sample.truth
    _keep(path, evidence, truth)
    return CorrectionSamples(torch.from_numpy(evidence), torch.from_numpy(truth))


def _read(path: Path, size: int) -> CorrectionSamples | None:
    """Read a portion; one that is not there, or damaged, is made anew."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            evidence = np.asarray(file["evidence"], np.float16)
            truth = np.asarray(file["truth"], np.float32)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error):
        return None
    wanted = (len(truth), EVIDENCE, size, size)
    if evidence.shape != wanted or truth.shape != (len(truth), size, size):
        return None
    return CorrectionSamples(torch.from_numpy(evidence), torch.from_numpy(truth))


def _keep(path: Path, evidence: NDArray[np.float16], truth: NDArray[np.float32]) -> None:
    """Write a portion for the next start; a disk that refuses costs time later, not the run."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, evidence=evidence, truth=truth)
