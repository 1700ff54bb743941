"""Blur that varies over the field: one kernel, a grid of kernels found, and the true local kernels.

Sharp photographs (scikit-image's, or those of a folder) are blurred by three known fields:

- ``roll``: a camera that shifts and rolls about its optical axis;
- ``depths``: two halves of the scene at different depths, with a kernel each;
- ``uniform``: one kernel, where a field must cost nothing.

Printed is the PSNR in dB of the blurry image, of the image deblurred blind with one kernel
(``field="uniform"``), of that with ``field="grid"``, and of that with the true kernels of a grid.
`benchmarks/accuracy.py` measures the same on Kodak's photographs for docs/accuracy.md.
An image and its kernels may be shifted, and with a rolling camera rolled, against each other, and
nobody can see that; so every result is first moved onto the truth by one shift and one small roll.

    python benchmarks/field.py
    python benchmarks/field.py --full
    python benchmarks/field.py photographs/ --full --side 512 --pictures out/ --json field.json
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import _measure
import numpy as np
import skimage.data
from numpy.typing import NDArray
from scipy import ndimage

from napari_deblur.blur.camera import expose_along, expose_depths, local_kernel, random_path
from napari_deblur.blur.field import FieldGrid
from napari_deblur.blur.kernel import resize_kernel_support
from napari_deblur.blur.kernel_bank import camera_shake
from napari_deblur.engine.region import luma
from napari_deblur.engine.run import deblur_steps, drain
from napari_deblur.files.images import read_image, write_image

SIZE = 31
TRUE_CELL = 48  # pixels; the true kernels are given this close together
BORDER = 32  # pixels that the scene beyond the image reaches
SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff"}

Image = NDArray[np.float32]


@dataclass(frozen=True)
class Scene:
    """A blurry image, and the true kernel of every cell of a grid."""

    blurry: Image
    kernels: NDArray[np.float32]


def roll(sharp: Image, rng: np.random.Generator) -> Scene:
    """A camera that rolls by two degrees and shifts by eight pixels."""
    size = np.array(sharp.shape)
    path = random_path(rng, roll=np.deg2rad(2), shift=8, radius=float(np.hypot(*size)) / 2)
    grid = FieldGrid(sharp.shape, tuple(int(side) // TRUE_CELL for side in size))
    middle = (size - 1) / 2
    kernels = [local_kernel(path, tuple(grid.centre(cell) - middle), SIZE) for cell in grid.cells]
    return Scene(expose_along(sharp[None], path)[0], np.reshape(kernels, (*grid.shape, SIZE, SIZE)))


def depths(sharp: Image, rng: np.random.Generator) -> Scene:
    """The right half is near, the left half far; each has a kernel of its own."""
    near, far = (
        resize_kernel_support(camera_shake(rng, size_range=(side - 2, side)), SIZE)
        for side in (21, 13)
    )
    mask = np.zeros(sharp.shape, bool)
    mask[:, sharp.shape[1] // 2 :] = True
    columns = 2 * (sharp.shape[1] // 2 // TRUE_CELL)
    row = [far if column < columns // 2 else near for column in range(columns)]
    return Scene(expose_depths(sharp[None], mask, (near, far))[0], np.array([row]))


def uniform(sharp: Image, rng: np.random.Generator) -> Scene:
    """One kernel."""
    kernel = resize_kernel_support(camera_shake(rng, size_range=(15, 21)), SIZE)
    everywhere = np.ones(sharp.shape, bool)
    blurry = expose_depths(sharp[None], everywhere, (kernel, kernel))[0]
    return Scene(blurry, kernel[None, None])


WAYS: dict[str, dict[str, Any]] = {
    "one kernel": {"kernel_size": SIZE},
    "grid": {"field": "grid", "kernel_size": SIZE},
    "true kernels": {},
}

FIELDS: dict[str, Callable[[Image, np.random.Generator], Scene]] = {
    "roll": roll,
    "depths": depths,
    "uniform": uniform,
}


def photographs(folder: Path | None, side: int) -> dict[str, Image]:
    """Luma in [0, 1] of the middle of each photograph."""
    if folder is None:
        arrays = {name: getattr(skimage.data, name)() for name in ("astronaut", "camera", "coffee")}
    else:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        arrays = {path.stem: read_image(path).array for path in files}
    return {name: _middle(array, side) for name, array in arrays.items()}


def _middle(array: NDArray[np.generic], side: int) -> Image:
    values = array.astype(np.float32) / np.iinfo(array.dtype).max
    planes = values[None] if values.ndim == 2 else np.moveaxis(values[..., :3], -1, 0)
    grey = luma(planes)
    top, left = (max(0, (length - side) // 2) for length in grey.shape)
    return grey[top : top + side, left : left + side]


def psnr(image: Image, sharp: Image) -> float:
    """PSNR in dB, after the shift and the roll that suit best."""
    moved = _moved_onto(image.astype(np.float64), sharp.astype(np.float64))
    inner = np.s_[BORDER:-BORDER, BORDER:-BORDER]
    error = np.mean((moved[inner].clip(0, 1) - sharp[inner]) ** 2)
    return float(-10 * np.log10(error))


def _moved_onto(image: NDArray[np.float64], sharp: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gauss and Newton's steps on smoothed images: rows, columns and radians."""
    middle = [(side - 1) / 2 for side in sharp.shape]
    rows, columns = np.meshgrid(
        *(np.arange(side) - at for side, at in zip(sharp.shape, middle, strict=True)), indexing="ij"
    )

    def sample(values: NDArray[np.float64], order: int) -> NDArray[np.float64]:
        cosine, sine = np.cos(motion[2]), np.sin(motion[2])
        points = [
            cosine * rows - sine * columns + motion[0] + middle[0],
            sine * rows + cosine * columns + motion[1] + middle[1],
        ]
        moved: NDArray[np.float64] = ndimage.map_coordinates(
            values, points, order=order, mode="nearest"
        )
        return moved

    motion = np.zeros(3)
    smooth, target = (ndimage.gaussian_filter(each, 1.5) for each in (image, sharp))
    inner = np.s_[BORDER:-BORDER, BORDER:-BORDER]
    for _ in range(20):
        moved = sample(smooth, 1)
        down, across = np.gradient(moved)
        slopes = np.stack([down, across, rows * across - columns * down])
        table = slopes[:, *inner].reshape(3, -1).T
        step = np.linalg.lstsq(table, (target - moved)[inner].ravel(), rcond=None)[0]
        motion += step
        if np.abs(step[:2]).max() < 1e-3:
            break
    return sample(image, 3)


@dataclass(frozen=True)
class Setup:
    """What all scenes are measured with.

    Attributes
    ----------
    model, device
        As in `napari_deblur.deblur`.
    noise
        Standard deviation of what is added to the blurry image, white being 1.
    seed
        Of motions, kernels and noise.
    pictures
        Folder for results and mosaics of kernels; None to write none.
    """

    model: str = "default"
    device: str = "auto"
    noise: float = 0.005
    seed: int = 0
    pictures: Path | None = None


def measure(field: str, name: str, sharp: Image, setup: Setup) -> dict[str, Any]:
    """Deblur one scene in every way: PSNR in dB and seconds of each, and what was found to vary."""
    rng = np.random.default_rng([setup.seed, *name.encode()])
    scene = FIELDS[field](sharp, rng)
    noise = setup.noise * rng.standard_normal(sharp.shape)
    blurry = (scene.blurry + noise).astype(np.float32)
    given = {
        "model": setup.model,
        "device": setup.device,
        "value_range": (0, 1),
        "saturation": np.inf,
    }
    images, seconds, varies = {"blurry": blurry}, {}, False
    for way, what in WAYS.items():
        kernel = scene.kernels if way == "true kernels" else None
        start = time.perf_counter()
        result = drain(deblur_steps(blurry, kernel, **what, **given))
        images[way], seconds[way] = result.image, time.perf_counter() - start
        if way == "grid" and result.field is not None:
            varies = True
            if setup.pictures:
                _write_mosaic(setup.pictures / f"{field}-{name}-kernels.png", result.field.kernels)
    if setup.pictures:
        side_by_side = np.concatenate([*images.values(), sharp], axis=1).clip(0, 1)
        write_image(setup.pictures / f"{field}-{name}.png", np.uint8(np.rint(255 * side_by_side)))
        _write_mosaic(setup.pictures / f"{field}-{name}-true.png", scene.kernels)
    figures = {way: psnr(image, sharp) for way, image in images.items()}
    return {"field": field, "image": name, "psnr": figures, "seconds": seconds, "varies": varies}


def _write_mosaic(path: Path, kernels: NDArray[np.float32]) -> None:
    """Kernels in their cells, each scaled to a peak of 1."""
    scaled = kernels / kernels.max(axis=(2, 3), keepdims=True)
    framed = np.pad(scaled, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=0.4)
    rows, columns, side, _ = framed.shape
    mosaic = framed.transpose(0, 2, 1, 3).reshape(rows * side, columns * side)
    write_image(path, np.uint8(np.rint(255 * np.kron(mosaic, np.ones((2, 2))))))


def main(arguments: list[str]) -> int:
    """Print a table, and the figures."""
    made = _measure.parser(__doc__)
    made.add_argument("folder", nargs="?", type=Path, help="photographs; else scikit-image's")
    made.add_argument("--fields", nargs="+", choices=list(FIELDS), default=list(FIELDS))
    made.add_argument("--side", type=int, help="pixels of each photograph's middle")
    made.add_argument("--most", type=int, help="photographs")
    made.add_argument("--noise", type=float, default=0.005, help="standard deviation, white is 1")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--pictures", type=Path, help="folder for results and mosaics of kernels")
    options = _measure.start(made, arguments)
    if options.pictures:
        options.pictures.mkdir(parents=True, exist_ok=True)
    setup = Setup(
        device=options.device, noise=options.noise, seed=options.seed, pictures=options.pictures
    )
    most = options.most or (None if options.full else 1)
    images = photographs(options.folder, options.side or (384 if options.full else 192))
    rows = []
    print(f"{'field':8} {'image':14} {'blurry':>8} {'one':>8} {'grid':>8} {'true':>8}  varies  s")
    for field in options.fields:
        for name, sharp in islice(images.items(), most):
            row = measure(field, name, sharp, setup)
            figures = "".join(f"{value:9.2f}" for value in row["psnr"].values())
            print(
                f"{field:8} {name:14}{figures}  {row['varies']!s:6}  {row['seconds']['grid']:.0f}",
                flush=True,
            )
            rows.append(row)
    return _measure.finish("field", options, {"scenes": rows})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
