"""Blur that varies over the field, and frames pooled, as sections of the accuracy report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import field
import numpy as np
import pooling
from _accuracy_store import Bench

from napari_deblur.engine.refinement import DEFAULT_ROUNDS

_SIDE = 384  # pixels of the middle of a photograph
_POOLED = {"kernels": 6, "side": 160}
_NOISES = (0.01, 0.03, 0.06)
_SCENES = {
    "roll": "a camera that rolls by 2°",
    "depths": "two halves at different depths",
    "uniform": "one kernel everywhere",
}


def measure_fields(bench: Bench, folder: Path, names: Sequence[str]) -> None:
    """Deblur photographs of a folder that three kinds of fields have blurred."""
    photographs = field.photographs(folder, _SIDE)
    pictures = bench.work / "field" / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    setup = field.Setup(model=bench.model, device=bench.device, pictures=pictures)
    rows: dict[str, Any] = {}
    for kind in field.FIELDS:
        for name in names:
            made = bench.once(
                "field",
                f"{kind}-{name}",
                lambda k=kind, n=name: field.measure(k, n, photographs[n], setup),
            )
            figures = "  ".join(f"{way} {value:.2f}" for way, value in made["psnr"].items())
            print(f"field: {kind} {name}: {figures}  varies: {made['varies']}", flush=True)
            rows.setdefault(kind, []).append(made)
    bench.keep("field", {"scenes": rows})


def field_table(results: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and lines of the table on the page: means over the photographs of each kind."""
    ways = ("blurry", *field.WAYS)
    lines = []
    for kind, scenes in results["scenes"].items():
        means = {way: float(np.mean([each["psnr"][way] for each in scenes])) for way in ways}
        gains = [each["psnr"]["grid"] - each["psnr"]["one kernel"] for each in scenes]
        lines.append(
            [
                _SCENES[kind],
                *(f"{means[way]:.2f}" for way in ways),
                f"{min(gains):+.2f} to {max(gains):+.2f}",
                f"{sum(each['varies'] for each in scenes)} of {len(scenes)}",
                f"{np.mean([each['seconds']['grid'] for each in scenes]):.0f}",
            ]
        )
    titles = {"one kernel": '`field="uniform"`', "grid": '`field="grid"`'}
    head = [titles.get(way, way) for way in ways]
    return ["blur", *head, "gain of the grid (dB)", "found to vary", "s"], lines


def measure_pooling(bench: Bench, *, quick: bool) -> None:
    """Kernels from one noisy frame and from several that share the kernel."""
    rows = []
    for noise in _NOISES[1:2] if quick else _NOISES:
        for count in pooling.COUNTS:
            made = bench.once(
                "pooling", f"{noise:g}-{count}", lambda n=noise, c=count: _pool(n, c, bench)
            )
            print(f"pooling: noise {noise:g}, {count} frames: {made}", flush=True)
            rows.append({"noise": noise, "frames": count, **made})
    bench.keep("pooling", {"rows": rows})


def _pool(noise: float, count: int, bench: Bench) -> dict[str, float]:
    network, refined = (
        pooling.measure(count, rounds, noise, **_POOLED, model=bench.model, device=bench.device)
        for rounds in (0, DEFAULT_ROUNDS)
    )
    return {"network": network, "refined": refined}


def pooling_table(results: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and lines of the table on the page."""
    lines = [
        [f"{row['noise']:g}", str(row["frames"]), f"{row['network']:.3f}", f"{row['refined']:.3f}"]
        for row in results["rows"]
    ]
    return ["noise", "frames", "the network's kernel", "refined"], lines
