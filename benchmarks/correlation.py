"""Block-wise correlation against the formulation with transforms of the whole image.

Two whole-image references are timed: ``all pairs`` transforms every pair's spectrum back at once
(what a tensor program written straight from the formula does), ``pair by pair`` one after the
other, which is the least memory that the formulation can do with.  All three give the same numbers,
which is checked first.  Times are medians over interleaved rounds; memory is what the process grows
by at its peak (CPU, each in a process of its own) or what torch allocated at its peak (CUDA).

    python benchmarks/correlation.py
    python benchmarks/correlation.py --height 128 --width 160 --channels 4 --radius 8 --rounds 1
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from napari_deblur.networks.correlation import CrossCorrelation, standardise


def _size(stack: Tensor, radius: int) -> tuple[int, int]:
    """Least 5-smooth sides at which no kept lag wraps around."""

    def fast(side: int) -> int:
        rest = side
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        return side if rest == 1 and side % 2 == 0 else fast(side + 1)

    return fast(stack.shape[-2] + radius), fast(stack.shape[-1] + radius)


def _kept(lags: Tensor, radius: int) -> Tensor:
    rows = torch.cat((lags[..., -radius:, :], lags[..., : radius + 1, :]), dim=-2)
    return torch.cat((rows[..., -radius:], rows[..., : radius + 1]), dim=-1)


def all_pairs(maps: Tensor, radius: int) -> Tensor:
    """Whole-image transforms, every pair at once."""
    size = _size(maps, radius)
    spectra = torch.fft.rfft2(standardise(maps), s=size)
    rows, columns = torch.triu_indices(maps.shape[1], maps.shape[1])
    products = spectra[:, rows].conj() * spectra[:, columns]
    return _kept(torch.fft.irfft2(products, s=size), radius)


def pair_by_pair(maps: Tensor, radius: int) -> Tensor:
    """Whole-image transforms, one pair after the other."""
    size = _size(maps, radius)
    spectra = torch.fft.rfft2(standardise(maps), s=size)
    pairs = torch.triu_indices(maps.shape[1], maps.shape[1]).T.tolist()
    lags = [
        _kept(torch.fft.irfft2(spectra[:, i].conj() * spectra[:, j], s=size), radius)
        for i, j in pairs
    ]
    return torch.stack(lags, dim=1)


def blocks(maps: Tensor, radius: int) -> Tensor:
    """Blocks with a halo: the layer of this project."""
    return CrossCorrelation(radius)(maps)


METHODS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "blocks": blocks,
    "pair by pair": pair_by_pair,
    "all pairs": all_pairs,
}


def make_maps(options: argparse.Namespace) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (1, options.channels, options.height, options.width)
    return torch.rand(shape, generator=generator).to(options.device)


def synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def seconds(method: Callable[[Tensor, int], Tensor], maps: Tensor, radius: int) -> float:
    synchronise(maps.device.type)
    start = time.perf_counter()
    method(maps, radius)
    synchronise(maps.device.type)
    return time.perf_counter() - start


def _resident(field: str) -> int:
    """Bytes from /proc: VmRSS is what is held now, VmHWM the most since the mark was reset."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def peak_bytes(name: str, options: argparse.Namespace) -> int:
    """Memory beyond the maps themselves, at its peak."""
    with torch.inference_mode():
        warm = torch.rand(1, 2, 64, 64, device=options.device)
        METHODS[name](warm, 8)  # plans and libraries are not what is measured
        maps = make_maps(options)
        if options.device.startswith("cuda"):
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            METHODS[name](maps, options.radius)
            torch.cuda.synchronize()
            return torch.cuda.max_memory_allocated() - before
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # reset VmHWM
        before = _resident("VmRSS")
        METHODS[name](maps, options.radius)
        return _resident("VmHWM") - before


def measure_memory(options: argparse.Namespace) -> dict[str, int]:
    context = multiprocessing.get_context("spawn")
    peaks = {}
    for name in METHODS:
        with context.Pool(1) as pool:
            peaks[name] = pool.apply(peak_bytes, (name, options))
    return peaks


def largest_difference(options: argparse.Namespace) -> float:
    """Greatest difference of the layer from the reference, in float64, on the image's corner."""
    corner = make_maps(options)[:, :4, :200, :200].double()
    difference = blocks(corner, options.radius) - all_pairs(corner, options.radius)
    return float(difference.abs().max())


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--height", type=int, default=768)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--radius", type=int, default=42, help="largest lag in pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    difference = largest_difference(options)
    if difference > 1e-12:
        print(f"the layer differs from the reference by {difference:.1e}", file=sys.stderr)
        return 1
    maps = make_maps(options)
    times: dict[str, list[float]] = {name: [] for name in METHODS}
    with torch.inference_mode():
        for round_ in range(options.rounds + 1):
            for name, method in METHODS.items():
                taken = seconds(method, maps, options.radius)
                if round_:  # the first round warms up
                    times[name].append(taken)
    peaks = measure_memory(options) if platform.system() == "Linux" else {}
    figures = {
        "machine": {
            "device": options.device,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
        },
        "maps": [options.channels, options.height, options.width],
        "radius": options.radius,
        "largest difference in float64": difference,
        "methods": {
            name: {
                "seconds": statistics.median(taken),
                "times the blocks' time": statistics.median(taken)
                / statistics.median(times["blocks"]),
                **(
                    {
                        "peak bytes": peaks[name],
                        "times the blocks' peak": peaks[name] / peaks["blocks"],
                    }
                    if peaks
                    else {}
                ),
            }
            for name, taken in times.items()
        },
    }
    text = json.dumps(figures, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
