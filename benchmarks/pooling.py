"""How much better one kernel becomes when noisy frames that share it are pooled.

Different crops of a photograph are blurred with one kernel, noise is added to each, and the kernel
is estimated from 1, 4 and 8 of them together: by the network alone, and refined.  Printed is the
normalised correlation with the true kernel at the best shift, mean over kernels.

    python benchmarks/pooling.py
    python benchmarks/pooling.py --kernels 8 --noise 0.01 0.03 0.06 --side 256 --json pooling.json
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import skimage.data
from numpy.typing import NDArray

from napari_deblur.engine.run import drain, kernel_steps
from napari_deblur.engine.simulate import shake
from napari_deblur.evaluation.metrics import kernel_similarity

COUNTS = (1, 4, 8)


def frames(
    count: int, side: int, noise: float, seed: int
) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
    """Crops (side, side) of a photograph, shaken alike, and the kernel."""
    photograph = skimage.data.camera() / np.float32(255)
    rng = np.random.default_rng(seed)
    _, kernel = shake(photograph, size=19, seed=seed, noise=0)
    blurry, _ = shake(photograph, kernel=kernel, noise=0)
    corners = rng.integers(0, np.asarray(photograph.shape) - side + 1, (count, 2))
    crops = [blurry[top : top + side, left : left + side] for top, left in corners]
    return [
        np.float32(crop + noise * rng.standard_normal(crop.shape)).clip(0, 1) for crop in crops
    ], kernel


def measure(
    count: int,
    refine: int,
    noise: float,
    *,
    kernels: int,
    side: int,
    model: str = "default",
    device: str = "cpu",
) -> float:
    """Mean similarity of the kernels of `count` frames each."""
    found = []
    for seed in range(kernels):
        images, truth = frames(max(COUNTS), side, noise, seed)
        steps = kernel_steps(
            *images[:count],
            model=model,
            device=device,
            kernel_size=31,
            refine=refine,
            saturation=np.inf,
        )
        found.append(kernel_similarity(drain(steps).kernel, truth))
    return float(np.mean(found))


def main(arguments: list[str]) -> int:
    """Print a table, and write it as JSON if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kernels", type=int, default=2, help="how many kernels to average over")
    parser.add_argument("--side", type=int, default=160, help="of a frame, in pixels")
    parser.add_argument("--noise", type=float, nargs="+", default=[0.03])
    parser.add_argument("--refine", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    rows = []
    print(f"{'noise':>6} {'frames':>6} {'network':>8} {'refined':>8}")
    for noise in options.noise:
        for count in COUNTS:
            network, refined = (
                measure(count, rounds, noise, kernels=options.kernels, side=options.side)
                for rounds in (0, options.refine)
            )
            print(f"{noise:6.3f} {count:6d} {network:8.3f} {refined:8.3f}", flush=True)
            rows.append({"noise": noise, "frames": count, "network": network, "refined": refined})
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=2), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
