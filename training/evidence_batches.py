"""Batches of evidence for the correction network: batch i depends on the seed and i alone."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_deblur.training.batches import orientations, turned

if TYPE_CHECKING:
    from napari_deblur.training.corrections import CorrectionSamples

__all__ = ["EvidenceBatch", "EvidenceMaker", "HeldOutEvidence", "held_out_counts"]


@dataclass(frozen=True)
class EvidenceBatch:
    """Samples of one kernel size.

    Parameters
    ----------
    evidence : Tensor, shape (B, C, m, m), float32
        The found kernel with a peak of 1 first.
    kernel : Tensor, shape (B, m, m), float32, sum 1
        The truth.
    """

    evidence: torch.Tensor
    kernel: torch.Tensor

    def __len__(self) -> int:
        """Count the samples."""
        return len(self.kernel)

    @property
    def found(self) -> torch.Tensor:
        """The kernels that were found, (B, m, m), sum 1."""
        kernel = self.evidence[:, 0]
        return kernel / kernel.sum(dim=(1, 2), keepdim=True)


@dataclass(frozen=True)
class EvidenceMaker:
    """Draws batches, each of one size, all samples of it in one of the eight orientations.

    A size is as frequent as it has samples.
    `batch` samples of the smallest kernels, fewer of larger ones in proportion to their sides.
    """

    classes: tuple[CorrectionSamples, ...]
    batch: int
    seed: int
    stream: str

    def make(self, index: int, rank: int = 0) -> EvidenceBatch:
        """Make batch `index` of process `rank`."""
        key = [self.seed, zlib.crc32(self.stream.encode()), index, rank]
        rng = np.random.default_rng(np.random.SeedSequence(key))
        counts = np.array([len(each) for each in self.classes])
        samples = self.classes[int(rng.choice(len(counts), p=counts / counts.sum()))]
        smallest = min(each.size for each in self.classes)
        count = max(1, round(self.batch * smallest / samples.size))
        chosen = torch.from_numpy(rng.integers(0, len(samples), count)).to(samples.truth.device)
        (turn,) = orientations(rng, 1)
        evidence = turned(samples.evidence[chosen].permute(2, 3, 0, 1), *turn).permute(2, 3, 0, 1)
        kernel = turned(samples.truth[chosen].permute(1, 2, 0), *turn).permute(2, 0, 1)
        return EvidenceBatch(evidence.float().contiguous(), kernel.contiguous())


def held_out_counts(classes: int, images: int, batch: int) -> list[int]:
    """Samples of each size that `images` held-out samples in batches of `batch` take."""
    batches = -(-images // batch)
    return [batch * len(range(index, batches, classes)) for index in range(classes)]


@dataclass(frozen=True)
class HeldOutEvidence:
    """Held-out samples (see `held_out_counts`) in order, the sizes by turns."""

    classes: tuple[CorrectionSamples, ...]
    batch: int

    def make(self, index: int, rank: int = 0) -> EvidenceBatch:
        """Make batch `index`, the same in every process."""
        del rank
        turn, which = divmod(index, len(self.classes))
        samples, part = self.classes[which], slice(turn * self.batch, (turn + 1) * self.batch)
        return EvidenceBatch(samples.evidence[part].float(), samples.truth[part])
