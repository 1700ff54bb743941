"""Pictures of the accuracy report: kernels found beside the true ones, and real photographs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import napari_deblur
from napari_deblur.blur.kernel import centre_kernel, resize_kernel_support
from napari_deblur.files.images import read_image, write_image

_GAP = 2  # pixels of a kernel
_ZOOM = 3
_EMPTY = 64


def kernel_montage(path: Path, rows: Sequence[Sequence[Any]], size: int) -> None:
    """Draw rows of kernels, None where there is none, each scaled to its peak.

    The first row is set apart: the true kernels.
    """
    drawn = []
    for number, row in enumerate(rows):
        tiles = [np.pad(_tile(kernel, size), _GAP, constant_values=255) for kernel in row]
        strip = np.concatenate(tiles, axis=1)
        drawn.append(
            np.pad(strip, ((0, 3 * _GAP if number == 0 else 0), (0, 0)), constant_values=255)
        )
    picture = np.concatenate(drawn).repeat(_ZOOM, axis=0).repeat(_ZOOM, axis=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, picture.astype(np.uint8))


def _tile(kernel: Any, size: int) -> Any:
    if kernel is None:
        return np.full((size, size), _EMPTY, np.uint8)
    # Room first: what centring moves must not fall out.
    kernel = resize_kernel_support(kernel, max(size, kernel.shape[-1]) + 8)
    kernel = resize_kernel_support(centre_kernel(kernel), size)
    return np.rint(255 * np.sqrt(kernel / kernel.max())).astype(np.uint8)


def real_photographs(folder: Path, target: Path, model: str, device: str) -> None:
    """Deblur the real photographs and put them beside what the paper's authors published.

    For looking at only: neither the photographs nor the authors' pictures may be passed on.
    """
    theirs = {"coke": "lai_real_coke_deblurred", "Blurry2_6": "kohler_2_6_deblurred"}
    for path in sorted([*folder.glob("*.jpg"), *folder.glob("*.png")]):
        blurry = read_image(path).array[..., :3]
        panels = [blurry, napari_deblur.deblur(blurry, model=model, device=device)]
        published = folder / "authors-output" / f"{theirs.get(path.stem)}.jpg"
        if published.is_file():
            both = read_image(published).array[..., :3]
            panels.append(both[:, both.shape[1] // 2 :][: blurry.shape[0], : blurry.shape[1]])
        target.mkdir(parents=True, exist_ok=True)
        height = min(panel.shape[0] for panel in panels)
        write_image(
            target / f"{path.stem}.png", np.concatenate([p[:height] for p in panels], axis=1)
        )
        print(f"real: {path.stem}: blurry, deblurred, the authors' where they published it")
