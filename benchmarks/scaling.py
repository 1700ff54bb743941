"""Time and peak memory from small to huge images, kernel estimation included.

Each size runs in a process of its own: a grey picture of bytes, repeated to the size, with the
model that is shipped and everything else as it comes.  Input and output are there before memory is
looked at.

    python benchmarks/scaling.py
    python benchmarks/scaling.py --full --threads 2 --json scaling.json
"""

from __future__ import annotations

import math
import sys
from functools import partial

import _measure
import _samples
import numpy as np
import torch

import napari_deblur

_FULL = (0.25, 1.0, 4.0, 16.0, 64.0)
_QUICK = (0.0625, 0.25)


def run(megapixels: float, device: str, threads: int) -> tuple[list[int], float, int | None]:
    """Size, seconds and peak memory of one image, after a small one that warms up."""
    torch.set_num_threads(threads)
    side = round(math.sqrt(megapixels * 2**20))
    picture = _samples.grey_picture(side, side)
    out = np.zeros_like(picture)
    small = picture[:192, :192]
    napari_deblur.deblur(small, device=device)
    took: list[float] = []

    def task() -> None:
        took.append(
            _measure.seconds(lambda: napari_deblur.deblur(picture, device=device, out=out), device)
        )

    peak = _measure.peak_bytes(task, device)
    return [side, side], took[0], peak


def main(arguments: list[str]) -> int:
    made = _measure.parser(__doc__)
    made.add_argument("--megapixels", type=float, nargs="+", help="other sizes")
    options = _measure.start(made, arguments)
    parts = _measure.Parts("scaling", options)
    rows = []
    for megapixels in options.megapixels or (_FULL if options.full else _QUICK):
        task = partial(_measure.apart, run, megapixels, options.device, options.threads)
        size, seconds, peak = parts.measure(f"{megapixels:g} megapixels", task)
        pixels = size[0] * size[1]
        rows.append(
            {
                "image": size,
                "megapixels": pixels / 2**20,
                "seconds": seconds,
                "seconds per megapixel": seconds / pixels * 2**20,
                "peak bytes": peak,
            }
        )
    parts.finish()
    return _measure.finish("scaling", options, {"model": "default", "sizes": rows})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
