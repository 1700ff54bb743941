"""Block-wise correlation against the formulation with transforms of the whole image.

The full-image formulation is timed in two ways: ``whole image, all pairs`` is what a tensor program
written straight from the formula does, which transforms every pair's spectrum back at once; ``whole
image, pair by pair`` is a loop over them, which is the least memory that it can do with.  All three
give the same numbers, which is checked first.  Times are medians over interleaved rounds; memory is
what the process grows by at its peak (CPU, each in a process of its own) or what torch allocated at
its peak (CUDA).

    python benchmarks/correlation.py
    python benchmarks/correlation.py --full --threads 2 --json correlation.json
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial

import _measure
import torch
from reference import WholeImageCorrelation
from torch import Tensor, nn

from napari_deblur.networks.correlation import CrossCorrelation

METHODS: dict[str, Callable[[int], nn.Module]] = {
    "blocks": CrossCorrelation,
    "whole image, pair by pair": WholeImageCorrelation,
    "whole image, all pairs": lambda radius: WholeImageCorrelation(radius, at_once=True),
}


def make_maps(options: argparse.Namespace) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (1, options.channels, options.height, options.width)
    return torch.rand(shape, generator=generator).to(options.device)


@torch.inference_mode()
def peak(name: str, options: argparse.Namespace) -> int | None:
    """Memory beyond the maps themselves, at its peak."""
    torch.set_num_threads(options.threads)
    # Plans and libraries are not what is measured.
    METHODS[name](8)(torch.rand(1, 2, 64, 64, device=options.device))
    maps, method = make_maps(options), METHODS[name](options.radius)
    return _measure.peak_bytes(lambda: method(maps), options.device)


def largest_difference(options: argparse.Namespace) -> float:
    """Greatest difference of the layer from the reference, in float64, on the image's corner."""
    corner = make_maps(options)[:, :4, :200, :200].double()
    results = [make(options.radius)(corner) for make in METHODS.values()]
    return max(float((results[0] - other).abs().max()) for other in results[1:])


def main(arguments: list[str]) -> int:
    made = _measure.parser(__doc__)
    made.add_argument("--height", type=int)
    made.add_argument("--width", type=int)
    made.add_argument("--channels", type=int, default=32)
    made.add_argument("--radius", type=int, default=42, help="largest lag in pixels")
    made.add_argument("--rounds", type=int)
    options = _measure.start(made, arguments)
    options.height = options.height or (768 if options.full else 192)
    options.width = options.width or (1024 if options.full else 256)
    rounds = options.rounds or (3 if options.full else 1)
    parts = _measure.Parts("correlation", options)
    with torch.inference_mode():
        difference = largest_difference(options)
        if difference > 1e-12:
            print(f"the layer differs from the reference by {difference:.1e}", file=sys.stderr)
            return 1
        maps = make_maps(options)
        tasks = {name: _task(make(options.radius), maps) for name, make in METHODS.items()}
        times = parts.measure("times", lambda: _measure.interleave(tasks, rounds, options.device))
    peaks = {
        name: parts.measure(f"peak of {name}", partial(_measure.apart, peak, name, options))
        for name in METHODS
    }
    figures = {
        "maps": [options.channels, options.height, options.width],
        "radius": options.radius,
        "rounds": rounds,
        "largest difference in float64": difference,
        "seconds": _measure.medians(times),
        "times the blocks' time": {
            name: _measure.ratio(taken, times["blocks"]) for name, taken in times.items()
        },
        "peak bytes": peaks,
    }
    if all(peaks.values()):
        figures["times the blocks' peak"] = {
            name: each / peaks["blocks"] for name, each in peaks.items()
        }
    parts.finish()
    return _measure.finish("correlation", options, figures)


def _task(method: nn.Module, maps: Tensor) -> Callable[[], object]:
    return lambda: method(maps)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
