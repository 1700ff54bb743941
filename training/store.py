"""The sharp images as one uint8 tensor on the training device, and the crops gathered from it.

Images are decoded once and kept at each scale of the recipe (a reduced photograph is sharper than
the photograph), so that a crop is a slice: no decoding, no resampling, no copy from the host
during training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_deblur.errors import InputError
from napari_deblur.training.procedural import PROCEDURAL, procedural_images
from napari_deblur.training.sources import SharpImage, SourceReport, read_sources, resize

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_deblur.training.recipe import DataRecipe

__all__ = ["ImageStore", "SharpData", "load_sharp_data"]

_PHOTOGRAPHS = "photographs"


@dataclass(frozen=True)
class ImageStore:
    """Images of many sizes in one flat tensor.

    Parameters
    ----------
    pixels : Tensor, shape (N,), uint8
        All images, each (H, W, 3), one behind the other.
    table : ndarray, shape (n, 4), int64
        Offset, height, width and index into `kinds` of each.
    kinds : tuple of str
        `photographs` and the procedural kinds.
    """

    pixels: torch.Tensor
    table: NDArray[np.int64]
    kinds: tuple[str, ...]

    @staticmethod
    def gather(images: Iterable[tuple[str, NDArray[np.uint8]]]) -> ImageStore:
        """Put (kind, pixels) pairs into a store on the CPU."""
        kinds: list[str] = []
        rows: list[tuple[int, int, int, int]] = []
        parts: list[NDArray[np.uint8]] = []
        offset = 0
        for kind, pixels in images:
            if kind not in kinds:
                kinds.append(kind)
            rows.append((offset, pixels.shape[0], pixels.shape[1], kinds.index(kind)))
            parts.append(np.ascontiguousarray(pixels).reshape(-1))
            offset += pixels.size
        flat = np.concatenate(parts) if parts else np.zeros(0, np.uint8)
        table = np.array(rows, np.int64).reshape(-1, 4)
        return ImageStore(torch.from_numpy(flat), table, tuple(kinds))

    def to(self, device: torch.device) -> ImageStore:
        """Return the same store with its pixels on a device."""
        return ImageStore(self.pixels.to(device), self.table, self.kinds)

    def large_enough(self, window: int) -> NDArray[np.intp]:
        """Return the indices of images that hold a window x window crop."""
        return np.flatnonzero(self.table[:, 1:3].min(axis=1) >= window)

    def chances(self, window: int, recipe: DataRecipe) -> NDArray[np.float64]:
        """Return each image's probability: the recipe's weight of its kind, shared evenly.

        Raises
        ------
        InputError
            When no image of any kind with weight is large enough.
        """
        usable = np.zeros(len(self.table))
        usable[self.large_enough(window)] = 1
        chances = np.zeros(len(self.table))
        for index, kind in enumerate(self.kinds):
            members = (self.table[:, 3] == index) * usable
            if members.sum():
                chances += members * (getattr(recipe, kind) / members.sum())
        if chances.sum() == 0:
            raise InputError(
                f"no sharp image is at least {window} pixels wide and high (crop + kernel - 1): "
                "lower stage.NAME.crop, raise data.procedural_size or give larger images"
            )
        return np.asarray(chances / chances.sum())

    def window(self, image: int, row: int, column: int, size: int) -> torch.Tensor:
        """Return a (size, size, 3) uint8 view."""
        offset, height, width = self.table[image, :3].tolist()
        whole = self.pixels[offset : offset + height * width * 3].view(height, width, 3)
        return whole[row : row + size, column : column + size]


@dataclass(frozen=True)
class SharpData:
    """Training and held-out images, and the report on what they are made of."""

    training: ImageStore
    held_out: ImageStore
    report: SourceReport


def load_sharp_data(
    recipe: DataRecipe,
    paths: Sequence[Path],
    validation_paths: Sequence[Path] = (),
    *,
    seed: int,
    workers: int,
    smallest: int,
) -> SharpData:
    """Decode the images, draw the procedural ones, keep some out for validation.

    Held out are the images at `validation_paths`, or, without any, the `held_out`
    images whose file hashes come first: a choice that neither order nor folder changes.

    Raises
    ------
    InputError
        When the recipe wants photographs and there are none.
    FileError
        When a path does not exist or is damaged.
    """
    budget = recipe.store_gib * 2**30 / sum(scale**2 for scale in recipe.scales)
    photographs, report = read_sources(
        paths, recipe.largest_side, budget=budget, seed=seed, workers=workers
    )
    photographs = _without_small(photographs, smallest, report)
    if recipe.photographs > 0 and not photographs:
        raise InputError(
            "no usable photographs: give --data with folders or zips of images of at least "
            f"{smallest} pixels, or --set data.photographs=0; {report.sentence()}"
        )
    if validation_paths:
        held, held_report = read_sources(
            validation_paths, recipe.largest_side, seed=seed, workers=workers
        )
        report.skipped += held_report.skipped
        known = {image.sha256 for image in held}
        photographs = [image for image in photographs if image.sha256 not in known]
        held = held[: recipe.held_out]
    else:
        ranked = sorted(photographs, key=lambda image: image.sha256)
        held = ranked[: min(recipe.held_out, len(ranked) // 2)]
        known = {image.sha256 for image in held}
        photographs = [image for image in photographs if image.sha256 not in known]
    kinds = [kind for kind in PROCEDURAL if getattr(recipe, kind) > 0]
    counts = (recipe.procedural_images, max(1, recipe.held_out // 4))
    drawn = [
        procedural_images(kinds, count, recipe.procedural_size, seed + i, workers)
        for i, count in enumerate(counts)
    ]
    training = ImageStore.gather([*_scaled(photographs, recipe.scales, smallest), *drawn[0]])
    held_out = ImageStore.gather([*_scaled(held, (1.0,), smallest), *drawn[1]])
    return SharpData(training, held_out, report)


def _without_small(
    images: list[SharpImage], smallest: int, report: SourceReport
) -> list[SharpImage]:
    small = [image for image in images if min(image.pixels.shape[:2]) < smallest]
    report.skipped += [
        (image.name, f"{image.pixels.shape[1]}x{image.pixels.shape[0]} is under {smallest} pixels")
        for image in small
    ]
    return [image for image in images if min(image.pixels.shape[:2]) >= smallest]


def _scaled(
    images: Iterable[SharpImage], scales: Sequence[float], smallest: int
) -> Iterable[tuple[str, NDArray[np.uint8]]]:
    for image in images:
        for scale in scales:
            pixels = image.pixels if scale == 1 else resize(image.pixels, scale)
            if min(pixels.shape[:2]) >= smallest:
                yield _PHOTOGRAPHS, pixels
