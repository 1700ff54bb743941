"""Tables for people and JSON for programs from the rows of a benchmark."""

from __future__ import annotations

import json
import math
import tomllib
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_deblur.evaluation.benchmark import Row

__all__ = ["format_report", "means", "references", "to_json"]

_LABELS = {
    "psnr": ("PSNR dB", ".2f"),
    "ssim": ("SSIM", ".3f"),
    "ssim_full": ("SSIM, full size", ".3f"),
    "mssim": ("MSSIM", ".3f"),
    "error_ratio": ("error ratio", ".2f"),
    "kernel_similarity": ("kernel similarity", ".3f"),
}


def means(rows: Sequence[Row]) -> dict[str, float]:
    """Average every measure over the rows that have it, and the seconds as ``seconds``."""
    averages = {
        name: _mean([row.scores[name] for row in rows if name in row.scores])
        for name in _measures(rows)
    }
    return {**averages, "seconds": _mean([row.seconds for row in rows])}


def references(benchmark: str) -> dict[str, Any]:
    """Read the published figures of a benchmark: ``images``, ``note`` and ``rows`` with sources.

    Empty for a benchmark without any, such as one's own folder.
    """
    text = resources.files(__package__).joinpath("references.toml").read_text(encoding="utf-8")
    data = tomllib.loads(text)
    table: dict[str, Any] = dict(data.get(benchmark, {}))
    sources = data["sources"]
    table["rows"] = [{**row, "source": sources[row["source"]]} for row in table.get("rows", [])]
    return table


def format_report(benchmark: str, method: str, rows: Sequence[Row]) -> str:
    """Lay out the mean of every group, the mean of all, and the published figures.

    Parameters
    ----------
    benchmark
        Name of a table in ``references.toml``.
    method
        What to call our row.
    rows
        At least one row.
    """
    names = _measures(rows)
    lines = [["", "images", *(_LABELS[name][0] for name in names), "seconds"]]
    groups = list(dict.fromkeys(row.group for row in rows))
    for group in groups if len(groups) > 1 else []:
        members = [row for row in rows if row.group == group]
        lines.append(_line(group, len(members), means(members), names))
    lines.append(_line(method, len(rows), means(rows), names))
    published = references(benchmark)
    lines += [
        _line(f"{row['method']} *", published["images"], row, names) for row in published["rows"]
    ]
    return "\n".join([_columns(lines), *_footnotes(published, rows)])


def to_json(
    benchmark: str, method: str, rows: Sequence[Row], settings: Mapping[str, object]
) -> str:
    """Everything of a run as JSON: settings, versions, means, one object per image.

    Values that JSON cannot express (the infinite PSNR of equal images) become null.
    """
    import napari_deblur

    report = {
        "benchmark": benchmark,
        "method": method,
        "version": napari_deblur.__version__,
        "settings": dict(settings),
        "mean": _finite(means(rows)),
        "rows": [
            {
                "name": row.name,
                "group": row.group,
                **_finite(row.scores),
                "shift": list(row.shift),
                "seconds": row.seconds,
            }
            for row in rows
        ],
        "published": references(benchmark),
    }
    return json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _measures(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row.scores))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _line(label: str, count: int, values: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    cells = [format(values[name], _LABELS[name][1]) if name in values else "" for name in names]
    seconds = f"{values['seconds']:.2f}" if "seconds" in values else ""
    return [label, str(count), *cells, seconds]


def _columns(lines: Sequence[Sequence[str]]) -> str:
    """Pad cells to columns, the first to the left and numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _footnotes(published: Mapping[str, Any], rows: Sequence[Row]) -> list[str]:
    notes = []
    ratios = [row.scores["error_ratio"] for row in rows if "error_ratio" in row.scores]
    if ratios:
        good = sum(ratio <= 2 for ratio in ratios) / len(ratios)
        notes.append(f"Error ratio at most 2 (success as Levin et al. count it): {good:.0%}")
    if published["rows"]:
        sources = list(dict.fromkeys(row["source"] for row in published["rows"]))
        notes.append(f"* published, {published['note']}: {'; '.join(sources)}")
    return ["", *notes] if notes else []


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
