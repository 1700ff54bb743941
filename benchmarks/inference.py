"""Blind deblurring of a colour photograph: this project against the published computation.

The preset `paper` (random weights: none are published, and speed does not depend on them) is timed
both ways, the preset `compact` with the weights that are shipped.  All variants, and what the
machine can do at best (matrix products, memory copy), take turns in the same run.  Every run goes
through the public path: an array of bytes in, an array of bytes out; only the networks are in
memory already.

    python benchmarks/inference.py
    python benchmarks/inference.py --full --threads 2 --json inference.json
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import _measure
import _samples
import numpy as np
import torch
from numpy.typing import NDArray
from reference import Reference
from torch.utils.flop_counter import FlopCounterMode

from napari_deblur.engine.devices import pick_device
from napari_deblur.engine.pair import load_pair
from napari_deblur.engine.run import deblur_steps
from napari_deblur.networks.config import SynthesisConfig
from napari_deblur.networks.fold import fold
from napari_deblur.networks.precision import convolution_dtype
from napari_deblur.networks.presets import PRESETS
from napari_deblur.networks.synthesis import SynthesisNetwork

Image = NDArray[np.uint8]


class Variant:
    """A way to deblur a picture blindly; remembers the seconds of each stage of each run."""

    def __init__(self, device: str, **options: Any) -> None:
        self.options = {"device": device, **options}
        self.stages: dict[str, list[float]] = defaultdict(list)

    def __call__(self, picture: Image) -> Image:
        """``(H, W, 3)`` bytes to the same."""
        steps = deblur_steps(picture, **self.options)
        spent: dict[str, float] = defaultdict(float)
        last = time.perf_counter()
        while True:
            try:
                stage = next(steps).stage
            except StopIteration as end:
                for name, taken in spent.items():
                    self.stages[name].append(taken)
                return end.value.image
            now = time.perf_counter()
            spent[stage] += now - last
            last = now


class Published:
    """The reference, from bytes to bytes."""

    def __init__(self, folder: Path, device: str) -> None:
        with _samples.precision(torch.float32):
            pair = load_pair(folder, pick_device(device))
        self.network = Reference(pair.analysis, pair.synthesis)
        self.device = device
        self.stages: dict[str, list[float]] = defaultdict(list)

    def __call__(self, picture: Image) -> Image:
        """``(H, W, 3)`` bytes to the same."""
        begin = time.perf_counter()
        blurry = torch.from_numpy(picture).to(self.device).permute(2, 0, 1)[None].float() / 255
        kernel = self.network.estimate(blurry)
        _measure.synchronise(self.device)
        middle = time.perf_counter()
        sharp = self.network.deblur(blurry, kernel)[0].permute(1, 2, 0)
        image = (sharp.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
        self.stages["kernel"].append(middle - begin)
        self.stages["deblur"].append(time.perf_counter() - middle)
        return image


class Float32(Variant):
    """The same in float32, whatever the device is best at."""

    def __call__(self, picture: Image) -> Image:
        """``(H, W, 3)`` bytes to the same."""
        with _samples.precision(torch.float32):
            return super().__call__(picture)


def operations(config: SynthesisConfig, height: int, width: int) -> int:
    """Multiplications and additions of the folded U-Net's convolutions for one image."""
    with torch.device("meta"):
        network = SynthesisNetwork(config)
        kernel = torch.empty(config.kernel_size, config.kernel_size)
        entering = network.unet.encode[0].convolutions[0].in_channels
        image = torch.empty(1, entering, height, width)
    unet = fold(network.unet, kernel)
    with FlopCounterMode(display=False) as counter:
        unet(image)
    channels = 3 // config.image_channels
    return counter.get_total_flops() * channels


def peak(name: str, device: str, threads: int, size: tuple[int, int]) -> int | None:
    """Peak memory of one run after a small one; in a process of its own."""
    torch.set_num_threads(threads)
    picture = _samples.colour_picture(*size)
    with tempfile.TemporaryDirectory() as folder:
        variant = _MODELS[name](_samples.random_model("paper", Path(folder)), device)
        variant(picture[:192, :192])
        return _measure.peak_bytes(lambda: variant(picture), device)


_MODELS: dict[str, Callable[[Path, str], Any]] = {
    "reference": Published,
    "paper": lambda paper, device: Variant(device, model=paper, refine=0),
    "paper, float32": lambda paper, device: Float32(device, model=paper, refine=0),
    "compact": lambda _, device: Variant(device, model="compact-31", refine=0),
    "compact, kernel refined": lambda _, device: Variant(device, model="compact-31"),
}


def times(device: str, picture: Image, side: int, rounds: int) -> dict[str, Any]:
    """Seconds of each stage of each variant in every round, and the ceilings' rates."""
    limits = _measure.ceilings(device, side)
    with tempfile.TemporaryDirectory() as folder:
        paper = _samples.random_model("paper", Path(folder))
        runs = {name: make(paper, device) for name, make in _MODELS.items()}
        tasks = {name: _task(run, picture) for name, run in runs.items()}
        tasks |= {name: task for name, (task, _) in limits.items()}
        middle = _measure.medians(_measure.interleave(tasks, rounds, device))
    return {
        "stages": {name: dict(run.stages) for name, run in runs.items()},
        "rates": {name: amount / middle[name] for name, (_, amount) in limits.items()},
    }


def main(arguments: list[str]) -> int:
    made = _measure.parser(__doc__)
    made.add_argument("--height", type=int)
    made.add_argument("--width", type=int)
    made.add_argument("--rounds", type=int)
    made.add_argument("--product", type=int, help="side of the matrix product of the ceilings")
    options = _measure.start(made, arguments)
    height = options.height or (768 if options.full else 176)
    width = options.width or (1024 if options.full else 192)
    rounds = options.rounds or (3 if options.full else 1)
    device = options.device
    parts = _measure.Parts("inference", options)
    side = options.product or (4096 if options.full else 1024)
    measured = parts.measure(
        "times", lambda: times(device, _samples.colour_picture(height, width), side, rounds)
    )
    stages, rates = measured["stages"], measured["rates"]
    spent = {name: _whole(each) for name, each in stages.items()}
    precision = _measure.name_of(convolution_dtype(pick_device(device)))
    ceiling = rates[f"matrix product {precision}"]
    figures: dict[str, Any] = {
        "image": [height, width, 3],
        "rounds": rounds,
        "weights": "paper: random; compact: shipped",
        "precision": precision,
        "ceilings": rates,
        "seconds": {name: statistics.median(each) for name, each in spent.items()},
        "seconds of stages": {name: _measure.medians(_warm(each)) for name, each in stages.items()},
        "times the reference's speed": {
            name: _measure.ratio(spent["reference"], taken) for name, taken in spent.items()
        },
    }
    work = operations(PRESETS["paper"].synthesis, height, width)
    rate = work / figures["seconds of stages"]["paper"]["deblur"]
    figures["synthesis, paper"] = {
        "operations": work,
        "operations per second": rate,
        "share of the matrix product": rate / ceiling,
    }
    size = (height, width)
    figures["peak bytes"] = {
        name: parts.measure(
            f"peak of {name}", partial(_measure.apart, peak, name, device, options.threads, size)
        )
        for name in _MODELS
    }
    parts.finish()
    return _measure.finish("inference", options, figures)


def _warm(stages: dict[str, list[float]]) -> dict[str, list[float]]:
    """Seconds of each stage without the first round; opening the networks is no part of it."""
    return {name: taken[1:] for name, taken in stages.items() if name != "load"}


def _whole(stages: dict[str, list[float]]) -> list[float]:
    """Seconds of all stages together, round by round."""
    return [sum(parts) for parts in zip(*_warm(stages).values(), strict=True)]


def _task(run: Callable[[Image], Image], picture: Image) -> Callable[[], object]:
    return lambda: run(picture)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
