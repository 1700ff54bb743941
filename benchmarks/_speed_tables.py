"""Write the figures of the speed benchmarks into the documentation, between its markers.

    python benchmarks/_speed_tables.py

reads every JSON file of `benchmarks/results` and writes `docs/performance.md`.  What has not been
measured says so.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from _pages import fill_sections

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "performance.md"
NOT_MEASURED = "Not measured."

Record = dict[str, Any]


def inference(record: Record) -> str:
    figures = record["figures"]
    faster = figures["times the reference's speed"]
    rows = [
        [
            name,
            *(_seconds(stages.get(stage)) for stage in ("kernel", "refine", "deblur")),
            _seconds(figures["seconds"][name]),
            f"{faster[name]:.2f}",
            _megabytes(figures["peak bytes"].get(name)),
        ]
        for name, stages in figures["seconds of stages"].items()
    ]
    head = ["", "kernel", "its refinement", "deblurring", "all", "times the speed", "peak memory"]
    return "\n\n".join(
        [
            _about(record),
            _table(head, rows),
            _table(["ceiling of the machine", ""], _ceilings(figures["ceilings"])),
            _share(figures),
        ]
    )


def _share(figures: Record) -> str:
    part = figures["synthesis, paper"]
    return (
        f"Synthesis (`paper`, {figures['precision']}): {part['operations'] / 1e12:.2f} TFLOP at "
        f"{part['operations per second'] / 1e9:.0f} GFLOP/s, "
        f"{100 * part['share of the matrix product']:.0f} % of the matrix product."
    )


def _ceilings(rates: dict[str, float]) -> list[list[str]]:
    return [
        [name, f"{rate / 1e9:.1f} {'GB/s' if 'copy' in name else 'GFLOP/s'}"]
        for name, rate in rates.items()
    ]


def correlation(record: Record) -> str:
    figures = record["figures"]
    slower = figures["times the blocks' time"]
    rows = [
        [
            name,
            _seconds(taken),
            f"{slower[name]:.1f}",
            _megabytes(figures["peak bytes"][name]),
            _number(figures.get("times the blocks' peak", {}).get(name), 1),
        ]
        for name, taken in figures["seconds"].items()
    ]
    head = ["", "time", "times the blocks'", "peak memory", "times the blocks'"]
    return f"{_about(record)}\n\n{_table(head, rows)}"


def scaling(record: Record) -> str:
    rows = [
        [
            f"{row['megapixels']:g}",
            " x ".join(map(str, row["image"])),
            _seconds(row["seconds"]),
            _seconds(row["seconds per megapixel"]),
            _megabytes(row["peak bytes"]),
        ]
        for row in record["figures"]["sizes"]
    ]
    head = ["megapixels", "image", "time", "time per megapixel", "peak memory"]
    return f"{_about(record)}\n\n{_table(head, rows)}"


def huge(record: Record) -> str:
    figures = record["figures"]
    megapixels = figures["image"][0] * figures["image"][1] / 2**20
    rows = [
        [
            name,
            figures["kernel"],
            _seconds(each["seconds"]),
            _seconds(each["seconds"] / megapixels),
            _megabytes(each["peak bytes"]),
        ]
        for name, each in figures["files"].items()
    ]
    head = ["file", "kernel", "time", "time per megapixel", "peak memory"]
    return f"{_about(record)}\n\n{_table(head, rows)}"


def precision(record: Record) -> str:
    rows = [
        [
            name,
            str(each["images"]),
            *(f"{value:.3f}" for value in each["PSNR"].values()),
            f"{each['change']:+.4f}",
            f"{each['largest change']:+.4f}",
        ]
        for name, each in record["figures"].items()
        if isinstance(each, dict)
    ]
    head = ["pictures", "number", "float32 (dB)", "bfloat16 (dB)", "mean change", "largest change"]
    return f"{_about(record)}\n\n{_table(head, rows)}"


def classical(record: Record) -> str:
    figures = record["figures"]
    rows = [
        [name, "" if name == "nothing" else _seconds(figures["seconds"][name]), f"{quality:.2f}"]
        for name, quality in figures["PSNR"].items()
    ]
    return f"{_about(record)}\n\n{_table(['', 'time', 'PSNR (dB)'], rows)}"


def startup(record: Record) -> str:
    rows = [[name, _seconds(taken)] for name, taken in record["figures"]["seconds"].items()]
    return f"{_about(record)}\n\n{_table(['cold process', 'time'], rows)}"


SECTIONS: dict[str, tuple[str, Callable[[Record], str]]] = {
    "inference": ("inference.json", inference),
    "inference-cuda": ("inference-cuda.json", inference),
    "correlation": ("correlation.json", correlation),
    "scaling": ("scaling.json", scaling),
    "huge": ("huge.json", huge),
    "precision": ("precision.json", precision),
    "classical": ("classical.json", classical),
    "startup": ("startup.json", startup),
}


def _about(record: Record) -> str:
    machine, figures = record["machine"], record["figures"]
    threads = f"{machine['threads']} thread{'' if machine['threads'] == 1 else 's'}"
    where = machine.get("graphics card") or (
        f"{machine['processor']}, {threads}, bfloat16 by {machine['bfloat16 on the processor']}"
    )
    size = figures.get("image") or figures.get("maps")
    parts = [f"`{record['command']}`", where, f"torch {machine['torch']}"]
    parts += [f"size {' x '.join(map(str, size))}"] if size else []
    for what in ("rounds", "kernels"):
        parts += [f"medians of {figures[what]} {what}"] if what in figures else []
    parts += [] if record["full"] else ["**a rehearsal, not for the record**"]
    return ", ".join(parts) + "."


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{1000 * value:.0f} ms" if value < 1 else f"{value:.2f} s"


def _megabytes(value: float | None) -> str:
    return "" if value is None else f"{value / 2**20:.0f} MiB"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *rows))


def main() -> int:
    sections = {}
    for name, (file, make) in SECTIONS.items():
        path = RESULTS / file
        if path.is_file():
            sections[name] = make(json.loads(path.read_text(encoding="utf-8")))
        else:
            sections[name] = NOT_MEASURED
    fill_sections(PAGE, sections)
    return 0


if __name__ == "__main__":
    sys.exit(main())
