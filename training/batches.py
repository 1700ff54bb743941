"""Batches made on the fly: crops, kernels, cameras; batch i depends on the seed and i alone."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from napari_deblur.training.exposure import draw_cameras, photograph
from napari_deblur.training.figures import perturbed_kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_deblur.training.kernel_pairs import KernelPairs
    from napari_deblur.training.recipe import DataRecipe, SensorRecipe
    from napari_deblur.training.store import ImageStore

__all__ = [
    "LEAST_NOISE_FOUND",
    "Batch",
    "BatchMaker",
    "KernelBank",
    "PointMaker",
    "View",
    "orientations",
    "to_luma",
    "turned",
]

View = Literal["luma", "channel", "rgb"]
"""What a network sees: the luma, any one channel, or RGB."""

LEAST_NOISE_FOUND = 0.004
"""Noise that comes at least with a kernel that was found.

The error of such a kernel acts like noise, and the engine raises what it tells accordingly: a
network that is told of none would trust the kernel too far.
"""

_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Batch:
    """Training samples.

    Parameters
    ----------
    sharp, blurry : Tensor, shape (B, C, H, W), float32
    kernel : Tensor, shape (B, m, m), float32, sum 1
    given : Tensor, shape (B, m, m), float32, sum 1
        What the synthesis network is told: the kernel, a perturbed one, or one that was found.
    sigma : Tensor, shape (B,), float32
        Noise that the synthesis network is told: each blurry image's, with a found kernel at
        least `LEAST_NOISE_FOUND`.
    label : Tensor, shape (B,), int64
        Index of the kernel's size class.
    """

    sharp: torch.Tensor
    blurry: torch.Tensor
    kernel: torch.Tensor
    given: torch.Tensor
    sigma: torch.Tensor
    label: torch.Tensor

    def __len__(self) -> int:
        """Count the samples."""
        return len(self.blurry)


@dataclass(frozen=True)
class KernelBank:
    """Kernels (n, m, m) float16, any scale, on the training device, and the size class of each.

    `turned`: each is used in all eight orientations.
    """

    kernels: torch.Tensor
    labels: torch.Tensor
    turned: bool = True

    @staticmethod
    def gather(banks: list[NDArray[np.float16]], device: torch.device) -> KernelBank:
        """Join one bank for each class."""
        kernels = torch.from_numpy(np.concatenate(banks)).to(device)
        labels = np.repeat(np.arange(len(banks)), [len(bank) for bank in banks])
        return KernelBank(kernels, torch.from_numpy(labels).to(device))


def to_luma(image: torch.Tensor) -> torch.Tensor:
    """Return the Rec. 601 luma (B, 1, H, W) of (B, 3, H, W); one channel stays as it is."""
    if image.shape[1] == 1:
        return image
    weights = image.new_tensor(_LUMA).view(1, 3, 1, 1)
    return (image * weights).sum(dim=1, keepdim=True)


@dataclass(frozen=True)
class _Drawn:
    """The kernels of a batch, (B, m, m) each, their classes (B,), and which were found (B,)."""

    kernel: torch.Tensor
    given: torch.Tensor
    label: torch.Tensor
    found: torch.Tensor


@dataclass(frozen=True)
class BatchMaker:
    """Makes batch i of a run of `seed` and `stream` (a stage, or its validation).

    Of the kernels that a network is told, a share `found` are of `pairs`; of the others a share
    `perturbed` is spoilt.
    """

    store: ImageStore
    bank: KernelBank
    data: DataRecipe
    sensor: SensorRecipe
    batch: int
    crop: int
    view: View
    seed: int
    stream: str
    perturbed: float = 0.0
    perturbed_blur: float = 1.0
    perturbed_noise: float = 0.0
    pairs: KernelPairs | None = None
    found: float = 0.0

    def make(self, index: int, rank: int = 0) -> Batch:
        """Make batch `index` of process `rank` on the device of the kernels."""
        rng = self.chance(index, rank)
        drawn = self._draw(rng)
        sharp = self._crops(rng, self.crop + drawn.kernel.shape[-1] - 1)
        return self._expose(rng, sharp, drawn)

    def make_points(self, index: int, rank: int = 0) -> Batch:
        """Like `make`, but of scenes that are a few points of light."""
        rng = self.chance(index, rank)
        drawn = self._draw(rng)
        size = self.crop + drawn.kernel.shape[-1] - 1
        return self._expose(rng, _points(rng, self.batch, size).to(drawn.kernel.device), drawn)

    def chance(self, index: int, rank: int) -> np.random.Generator:
        """Return the source of chance of one batch."""
        key = [self.seed, zlib.crc32(self.stream.encode()), index, rank]
        return np.random.default_rng(np.random.SeedSequence(key))

    def _expose(self, rng: np.random.Generator, sharp: torch.Tensor, drawn: _Drawn) -> Batch:
        device = drawn.kernel.device
        generator = torch.Generator(device).manual_seed(int(rng.integers(2**63)))
        colour = rng.random() < self.data.colour
        if not colour:
            sharp = to_luma(sharp)
        elif self.view == "channel":
            rows = torch.arange(self.batch, device=device)
            sharp = sharp[rows, torch.from_numpy(rng.integers(0, 3, self.batch)).to(device), None]
        sharp = sharp.clamp(min=0).pow(self._gammas(rng, device))
        given = torch.where(
            drawn.found.view(-1, 1, 1), drawn.given, self._spoilt(drawn.kernel, rng)
        )
        cameras = draw_cameras(self.sensor, self.batch, rng, device)
        sharp, blurry, sigma = photograph(sharp, drawn.kernel, cameras, generator)
        sigma = torch.where(drawn.found, sigma.clamp(min=LEAST_NOISE_FOUND), sigma)
        if self.view == "luma":
            sharp, blurry = to_luma(sharp), to_luma(blurry)
        elif self.view == "rgb":
            sharp, blurry = (image.expand(-1, 3, -1, -1) for image in (sharp, blurry))
        return Batch(sharp, blurry, drawn.kernel, given, sigma, drawn.label)

    def _draw(self, rng: np.random.Generator) -> _Drawn:
        """Draw kernels, turned and mirrored at random: eight times the bank."""
        bank = self.bank.kernels
        chosen = torch.from_numpy(rng.integers(0, len(bank), self.batch)).to(bank.device)
        kernel = bank[chosen].float()
        turns = orientations(rng, self.batch)
        kernel, given, found = self._with_found(kernel, rng)
        if self.bank.turned:
            kernel, given = (
                torch.stack([turned(k, *t) for k, t in zip(kernels, turns, strict=True)])
                for kernels in (kernel, given)
            )
        kernel, given = (each / each.sum(dim=(1, 2), keepdim=True) for each in (kernel, given))
        return _Drawn(kernel, given, self.bank.labels[chosen], found)

    def _with_found(
        self, kernel: torch.Tensor, rng: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Put pairs in the place of a share of the kernels: true ones, given ones, which."""
        if self.pairs is None:
            return kernel, kernel, torch.zeros(self.batch, dtype=torch.bool, device=kernel.device)
        found = torch.from_numpy(rng.random(self.batch) < self.found).to(kernel.device)
        chosen = torch.from_numpy(rng.integers(0, len(self.pairs), self.batch)).to(kernel.device)
        true, given = (
            torch.where(found.view(-1, 1, 1), pairs[chosen], kernel)
            for pairs in (self.pairs.true, self.pairs.found)
        )
        return true, given, found

    def _crops(self, rng: np.random.Generator, size: int) -> torch.Tensor:
        """Cut windows (B, 3, size, size) out of random images, turned and mirrored at random."""
        chances = self.store.chances(size, self.data)
        images = rng.choice(len(chances), self.batch, p=chances)
        windows = []
        for image, turn in zip(images.tolist(), orientations(rng, self.batch), strict=True):
            height, width = self.store.table[image, 1:3].tolist()
            row = int(rng.integers(0, height - size + 1))
            column = int(rng.integers(0, width - size + 1))
            windows.append(turned(self.store.window(image, row, column, size), *turn))
        return torch.stack(windows).permute(0, 3, 1, 2).float() / 255

    def _spoilt(self, kernel: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Spoil a share of the kernels as an estimate does: too smooth, and uneven."""
        spoilt = rng.random(self.batch) < self.perturbed
        widths = np.where(spoilt, rng.uniform(0, self.perturbed_blur, self.batch), 0)
        noise = np.where(spoilt, rng.uniform(0, self.perturbed_noise, self.batch), 0)
        seed = int(rng.integers(2**63))
        return perturbed_kernels(kernel, widths, noise, np.random.default_rng(seed))

    def _gammas(self, rng: np.random.Generator, device: torch.device) -> torch.Tensor:
        low, high = np.log(self.data.gamma)
        gamma = np.exp(rng.uniform(low, high, self.batch))
        gamma[rng.random(self.batch) >= self.data.gamma_share] = 1
        return torch.from_numpy(gamma.astype(np.float32)).to(device).view(-1, 1, 1, 1)


@dataclass(frozen=True)
class PointMaker:
    """Makes batches of points of light with the kernels and cameras of a `BatchMaker`."""

    maker: BatchMaker

    def make(self, index: int, rank: int = 0) -> Batch:
        """Make batch `index` of process `rank`."""
        return self.maker.make_points(index, rank)


def _points(rng: np.random.Generator, batch: int, size: int) -> torch.Tensor:
    """Scenes (B, 3, size, size): one to six points, brighter or darker than a grey ground."""
    scenes = np.full((batch, size * size), 0.5, np.float32)
    for scene in scenes:
        count = int(rng.integers(1, 7))
        # As bright as the kernel is wide: its picture then has the contrast of a photograph.
        scene[rng.integers(0, size * size, count)] += rng.uniform(-8, 8, count)
    return torch.from_numpy(scenes).view(batch, 1, size, size).expand(-1, 3, -1, -1)


def orientations(rng: np.random.Generator, count: int) -> list[tuple[bool, bool, bool]]:
    """Draw symmetries of the square for `turned`."""
    return [(bool(a), bool(b), bool(c)) for a, b, c in rng.integers(0, 2, (count, 3))]


def turned(image: torch.Tensor, transpose: bool, up: bool, left: bool) -> torch.Tensor:  # noqa: FBT001
    """Apply one of the eight symmetries of the square to the first two axes."""
    if transpose:
        image = image.transpose(0, 1)
    axes = [axis for axis, flip in enumerate((up, left)) if flip]
    return image.flip(axes) if axes else image
