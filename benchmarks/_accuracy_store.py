"""Results of the accuracy report: images one by one in a working folder, means in a JSON file.

``seconds`` is what a user waits for an image; ``spent`` is what measuring it took, with its scoring
and without a kernel that another row had found.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _accuracy_rows import Row

import napari_deblur
from napari_deblur.evaluation.benchmark import Protocol, evaluate
from napari_deblur.evaluation.methods import Method
from napari_deblur.files.atomic import atomic_path
from napari_deblur.weights.registry import correction_entry, find_model, find_weights, models


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def weights_hash(model: str) -> str:
    """Return what tells two pairs apart; of a model left open, with the pairs of all classes."""
    entries = [find_model(model)]
    if model in ("default", "auto"):
        entries += [each for each in models().values() if each.size_class is not None]
    files = dict.fromkeys(file for each in entries for file in (each.analysis, each.synthesis))
    hashes = [find_weights(file).sha256 for file in files]
    correction = correction_entry()
    if correction is not None:
        hashes.append(correction.sha256)
    return "-".join(each[:12] for each in hashes)


@dataclass
class Bench:
    """Where results go, and what they are made with.

    `work` is one folder for each pair of weights, so that no result of another pair is taken for
    this one's.
    """

    work: Path
    results: Path
    model: str
    device: str

    def run(self, section: str, row: Row, cases: list, protocol: Protocol, **more: Any) -> None:
        """Restore and score the cases that are not there yet; keep the mean of all."""
        cases = [case for case in cases if not row.groups or case.group in row.groups]
        if not cases:
            return
        path = self.work / section / f"{row.key}.json"
        done = read_json(path)
        method = row.build(self.model, self.device)
        for number, case in enumerate(cases):
            if case.name in done:
                continue
            start = time.perf_counter()
            kernels = _Kept(self.work / section / "kernels" / row.estimator, case.name, method)
            (result,) = evaluate(
                [case], kernels.method, protocol, known_kernel=row.known, error_ratio=False
            )
            seconds = result.seconds + kernels.seconds
            done[case.name] = {
                "group": case.group,
                **result.scores,
                "seconds": seconds,
                "spent": time.perf_counter() - start,
            }
            write_json(path, done)
            print(
                f"{section}: {row.key} {number + 1}/{len(cases)} {case.name}",
                _short(done[case.name]),
                flush=True,
            )
        self._keep(section, row, [done[case.name] for case in cases], more)

    def _keep(self, section: str, row: Row, results: list[dict], more: dict[str, Any]) -> None:
        content = read_json(self.results)
        groups = list(dict.fromkeys(each["group"] for each in results))
        content.setdefault(section, {})[row.key] = {
            "label": row.label,
            "images": len(results),
            "weights": weights_hash(self.model),
            "version": napari_deblur.__version__,
            "mean": _means(results),
            "groups": {
                group: _means([each for each in results if each["group"] == group])
                for group in groups
            },
            **more,
        }
        write_json(self.results, content)

    def once(self, section: str, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What `make` returns, with the seconds that it took as ``spent``; made only once."""
        path = self.work / section / f"{name}.json"
        if not path.is_file():
            start = time.perf_counter()
            write_json(path, {**make(), "spent": time.perf_counter() - start})
        made: dict[str, Any] = read_json(path)
        return made

    def keep(self, section: str, rows: dict[str, Any]) -> None:
        """Put a section that is no `run` into the results, with whose weights it was made."""
        content = read_json(self.results)
        content[section] = {
            **rows,
            "weights": weights_hash(self.model),
            "version": napari_deblur.__version__,
        }
        write_json(self.results, content)

    def kernel(self, section: str, estimator: str, case: str) -> Any:
        """Return a kernel that was found; None if there is none."""
        path = self.work / section / "kernels" / estimator / f"{case}.npy"
        return np.load(path) if path.is_file() else None


class _Kept:
    """A method whose kernel is found once and kept; `seconds` is what finding it had taken."""

    def __init__(self, folder: Path, name: str, method: Method) -> None:
        self.path = folder / f"{name}.npy"
        self.seconds = 0.0
        self._estimate = method.estimate
        self.method = Method(method.name, self._kernel, method.deconvolve, method.needs_kernel)

    def _kernel(self, blurry: Any, told: int | None) -> Any:
        took = self.path.with_suffix(".json")
        if self.path.is_file() and took.is_file():
            self.seconds = read_json(took)
            return np.load(self.path)
        start = time.perf_counter()
        kernel = self._estimate(blurry, told)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        np.save(self.path, kernel)
        write_json(took, time.perf_counter() - start)
        return kernel


def _means(results: list[dict]) -> dict[str, float]:
    names = dict.fromkeys(name for each in results for name in each if name != "group")
    return {
        name: round(float(np.mean([each[name] for each in results if name in each])), 4)
        for name in names
    }


def _short(values: dict[str, Any]) -> str:
    shown = ("psnr", "ssim", "kernel_similarity", "seconds")
    return "  ".join(f"{name} {values[name]:.3f}" for name in shown if name in values)
