"""Make the pictures of the tutorial, with the shipped weights; run it with ``make screenshots``.

Every result in them is what the program gave; failures were provoked, and none was chosen.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import napari_deblur
from napari_deblur.blur.kernel import delta_kernel
from napari_deblur.blur.kernel_bank import camera_shake, defocus, gaussian, straight_motion
from napari_deblur.engine.simulate import shake

IMAGES = Path(__file__).parent / "images"
SIDE = 256  # pixels of a panel
GAP = 8
LABEL = 26  # pixels of the line below a panel

Picture = NDArray[np.uint8]


def main() -> None:
    """Make all pictures, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="which pictures")
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder")
    chosen = parser.parse_args()
    for name in chosen.names or PICTURES:
        path = chosen.out / f"tutorial-{name}.png"
        sheet(PICTURES[name]()).save(path, optimize=True)
        print(path)


def first() -> list[list[tuple[str, Picture]]]:
    """Photograph, kernel and result of the page's first command."""
    sharp = skimage.data.coffee()[40:296, 60:316]
    blurry, _ = shake(sharp, size=19, seed=2, noise=0.004)
    kernel = napari_deblur.estimate_kernel(blurry, device="cpu")
    result = napari_deblur.deblur(blurry, kernel, device="cpu")
    return [[("photograph", blurry), ("kernel", enlarged(kernel)), ("deblurred", result)]]


def kernels() -> list[list[tuple[str, Picture]]]:
    """Kernels to believe and not to."""
    rng = np.random.default_rng(4)
    path = camera_shake(rng, size_range=(27, 27))
    large = camera_shake(np.random.default_rng(11), size_range=(61, 61))
    middle = len(large) // 2
    cut = large[middle - 12 : middle + 13, middle - 12 : middle + 13]
    believed = [
        ("1  a path", path),
        ("2  a straight stroke", straight_motion(17, 25, 31)),
        ("3  a disc", defocus(8, 31)),
    ]
    doubted = [
        ("4  a dot", delta_kernel(31)),
        ("5  a blob that fills its square", gaussian(9, 31)),
        ("6  cut off at the rim", cut),
    ]
    return [[(label, enlarged(kernel)) for label, kernel in row] for row in (believed, doubted)]


def failures() -> list[list[tuple[str, Picture]]]:
    """Four blurry pictures above, what becomes of them below."""
    above, below = [], []
    for label, (blurry, kernel) in {
        "1  noise": noisy(),
        "2  clipped light": clipped(),
        "3  no texture": flat(),
        "4  a wrong kernel": misled(),
    }.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the one without texture
            options: dict[str, Any] = {"device": "cpu"}
            if label.startswith("1"):
                options["noise"] = 2.0  # told that there is hardly any
            if label.startswith("2"):
                options["saturation"] = np.inf  # told that nothing is clipped
            result = napari_deblur.deblur(blurry, kernel, **options)
        above.append((label, blurry))
        below.append(("deblurred", result))
    return [above, below]


Case = tuple[Picture, NDArray[np.float32] | None]


def noisy() -> Case:
    """Noise that a deconvolution amplifies, and the true kernel."""
    sharp = skimage.data.camera()[60 : 60 + SIDE, 140 : 140 + SIDE]
    return shake(sharp, size=21, seed=3, noise=0.04)


def clipped() -> Case:
    """Lamps at night, many times brighter than white, and the true kernel."""
    rng = np.random.default_rng(1)
    scene = skimage.data.camera()[60 : 60 + SIDE, 140 : 140 + SIDE].astype(np.float32) / 255 * 0.25
    for row, column in rng.integers(20, SIDE - 20, (14, 2)):
        scene[row - 2 : row + 3, column - 2 : column + 3] = 6
    blurry, kernel = shake(scene, size=21, seed=3, noise=0.0)
    return np.round(np.clip(blurry, 0, 1) * 255).astype(np.uint8), kernel


def flat() -> Case:
    """A wall."""
    return np.full((SIDE, SIDE), 130, np.uint8), None


def misled() -> Case:
    """The true kernel, turned round."""
    sharp = skimage.data.camera()[60 : 60 + SIDE, 140 : 140 + SIDE]
    blurry, kernel = shake(sharp, size=21, seed=3, noise=0.004)
    return blurry, np.ascontiguousarray(kernel[::-1, ::-1])


PICTURES: dict[str, Callable[[], list[list[tuple[str, Picture]]]]] = {
    "first": first,
    "kernels": kernels,
    "failures": failures,
}


def enlarged(kernel: NDArray[np.float32]) -> Picture:
    """A kernel with pixels as large as a panel allows, the peak white."""
    factor = SIDE // len(kernel)
    large = np.kron(kernel / kernel.max(), np.ones((factor, factor)))
    spare = SIDE - len(large)
    padded = np.pad(large, ((spare // 2, spare - spare // 2),) * 2)
    return np.round(255 * np.sqrt(padded)).astype(np.uint8)


def sheet(rows: list[list[tuple[str, Picture]]]) -> Image.Image:
    """Panels with a label below each."""
    columns = max(len(row) for row in rows)
    width = columns * SIDE + (columns + 1) * GAP
    height = len(rows) * (SIDE + LABEL + GAP) + GAP
    page = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(15)
    for down, row in enumerate(rows):
        for across, (label, picture) in enumerate(row):
            left, top = GAP + across * (SIDE + GAP), GAP + down * (SIDE + LABEL + GAP)
            page.paste(Image.fromarray(picture).convert("RGB"), (left, top))
            draw.text((left, top + SIDE + 4), label, fill="black", font=font)
    return page


if __name__ == "__main__":
    main()
