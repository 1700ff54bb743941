"""Make the picture of the overview, with the shipped weights; run it with ``make screenshots``.

Two pictures that come with scikit-image, shaken by the program's own simulation, so that the truth
stands beside what was found: `docs/images/overview.png`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import skimage.data
from tutorial_pictures import IMAGES, SIDE, enlarged, sheet

import napari_deblur
from napari_deblur.engine.simulate import shake

# Picture, top and left of the part that is shown, side of the kernel in pixels, seed of the shake.
SHAKES = (
    (skimage.data.astronaut, 0, 96, 19, 3),
    (skimage.data.immunohistochemistry, 100, 100, 15, 5),
)


def main() -> None:
    """Make the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder")
    path = parser.parse_args().out / "overview.png"
    rows = []
    for source, top, left, size, seed in SHAKES:
        sharp = np.ascontiguousarray(source()[top : top + SIDE, left : left + SIDE])
        blurry, _ = shake(sharp, size=size, seed=seed, noise=0.004)
        kernel = napari_deblur.estimate_kernel(blurry, device="cpu")
        result = napari_deblur.deblur(blurry, kernel, device="cpu")
        rows.append(
            [
                ("blurry", blurry),
                ("kernel that was found", enlarged(kernel)),
                ("deblurred", result),
                ("truth", sharp),
            ]
        )
    sheet(rows).save(path, optimize=True)
    print(path)


if __name__ == "__main__":
    main()
