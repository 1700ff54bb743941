"""Against what a user would otherwise run on the same picture: scikit-image's deconvolutions.

`richardson_lucy` (30 iterations) and `unsupervised_wiener` get the true kernel; this project is
timed with the true kernel and without any.  A picture is shaken by a random kernel, with noise; all
methods take turns.  PSNR is taken where no method knows more than another: a kernel's width away
from the borders, in bytes.

    python benchmarks/classical.py
    python benchmarks/classical.py --full --threads 2 --json classical.json
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import _measure
import _samples
import numpy as np
from numpy.typing import NDArray
from skimage import restoration

import napari_deblur
from napari_deblur.engine.simulate import shake
from napari_deblur.evaluation.metrics import psnr

_KERNEL = 25
_NOISE = 0.01
_ITERATIONS = 30

Image = NDArray[np.uint8]


def methods(
    blurry: Image, kernel: NDArray[np.float32], device: str
) -> dict[str, Callable[[], Image]]:
    """Every way to deblur, from bytes to bytes."""
    unit = np.float32(blurry) / np.float32(255)

    def richardson_lucy() -> Image:
        return _bytes(restoration.richardson_lucy(unit, kernel, num_iter=_ITERATIONS))

    def unsupervised_wiener() -> Image:
        return _bytes(restoration.unsupervised_wiener(unit, kernel, rng=0)[0])

    return {
        "nothing": lambda: blurry,
        "richardson_lucy, true kernel": richardson_lucy,
        "unsupervised_wiener, true kernel": unsupervised_wiener,
        "napari-deblur, true kernel": lambda: napari_deblur.deblur(blurry, kernel, device=device),
        "napari-deblur, blind": lambda: napari_deblur.deblur(blurry, device=device),
    }


def _bytes(image: NDArray[np.floating]) -> Image:
    return (np.clip(image, 0, 1) * 255).round().astype(np.uint8)


def compare(sharp: Image, seed: int, rounds: int, device: str) -> dict[str, Any]:
    """Seconds of every round, and PSNR, of every method with one kernel."""
    blurry, kernel = shake(sharp, size=_KERNEL, seed=seed, noise=_NOISE)
    inner = (slice(_KERNEL, -_KERNEL),) * 2
    results: dict[str, Image] = {}
    tasks = {
        name: _kept(results, name, method)
        for name, method in methods(blurry, kernel, device).items()
    }
    seconds = _measure.interleave(tasks, rounds, device)
    quality = {name: psnr(image[inner], sharp[inner]) for name, image in results.items()}
    return {"seconds": seconds, "PSNR": quality}


def main(arguments: list[str]) -> int:
    made = _measure.parser(__doc__)
    made.add_argument("--side", type=int, help="of the picture in pixels")
    options = _measure.start(made, arguments)
    parts = _measure.Parts("classical", options)
    side = options.side or (512 if options.full else 160)
    rounds, seeds = 1, range(1, 6 if options.full else 2)
    sharp = _samples.grey_picture(side, side)
    seconds: dict[str, list[float]] = {}
    quality: dict[str, list[float]] = {}
    for seed in seeds:
        task = partial(compare, sharp, seed, rounds, options.device)
        found = parts.measure(f"kernel {seed}", task)
        for name, taken in found["seconds"].items():
            seconds.setdefault(name, []).extend(taken)
        for name, value in found["PSNR"].items():
            quality.setdefault(name, []).append(value)
    figures = {
        "image": [side, side],
        "kernel": _KERNEL,
        "noise": _NOISE,
        "iterations of richardson_lucy": _ITERATIONS,
        "kernels": len(seeds),
        "seconds": _measure.medians(seconds),
        "PSNR": {name: statistics.fmean(each) for name, each in quality.items()},
    }
    parts.finish()
    return _measure.finish("classical", options, figures)


def _kept(
    results: dict[str, Image], name: str, method: Callable[[], Image]
) -> Callable[[], object]:
    def task() -> None:
        results[name] = method()

    return task


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
