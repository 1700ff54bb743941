"""Tables of the accuracy report as Markdown, written between markers of a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _accuracy_field import field_table, pooling_table
from _accuracy_real import real_table
from _accuracy_rows import KODAK, LAI, LEVIN, NOISES, Row, noise_rows
from _pages import fill_sections

from napari_deblur.evaluation.report import references

_MEASURES = {
    "psnr": ("PSNR (dB)", 2),
    "ssim": ("SSIM", 3),
    "kernel_similarity": ("kernel correlation", 3),
    "seconds": ("s / image", 1),
}


def write_tables(page: Path, results: dict[str, Any]) -> None:
    """Replace what stands between the markers of every section that has results."""
    tables = {name: make(results[name]) for name, make in TABLES.items() if name in results}
    if len(results) > 1:
        tables["durations"] = durations(results)
    fill_sections(page, tables)


def levin(results: dict[str, Any]) -> str:
    lines = [_line(results[row.key], []) for row in LEVIN if row.key in results]
    return _table(["", *_titles()], [*lines, *_published("levin", [])], _note(results, LEVIN))


def lai(results: dict[str, Any]) -> str:
    groups = sorted({group for row in results.values() for group in row["groups"]})
    lines = [_line(results[row.key], groups) for row in LAI if row.key in results]
    head = ["", *_titles(), *(f"{group} (dB)" for group in groups)]
    return _table(head, [*lines, *_published("lai", groups)], _note(results, LAI))


def kodak(results: dict[str, Any]) -> str:
    lines = [_line(results[row.key], []) for row in KODAK if row.key in results]
    return _table(["", *_titles()], lines, _note(results, KODAK))


def noise(results: dict[str, Any]) -> str:
    """One line for each noise level, PSNR of each method."""
    lines = []
    for level in NOISES:
        rows = noise_rows(level)
        if all(row.key in results for row in rows):
            lines.append([f"{level:g}", *(_cell(results[row.key]["mean"], "psnr") for row in rows)])
    head = ["noise", *(row.label for row in noise_rows(0.0))]
    rows = [row for level in NOISES for row in noise_rows(level)]
    return _table(head, lines, _note(results, rows))


def classifier(results: dict[str, Any]) -> str:
    """One line for each true class, how often each class was told."""
    values = next(iter(results.values()))
    names = [f"{low} to {high} px" for low, high in values["classes"]]
    lines = [
        [name, *map(str, counts)] for name, counts in zip(names, values["counts"], strict=True)
    ]
    note = f"Right: {values['right']:.0%} of {values['images']}. Weights `{values['weights']}`."
    return _table(["true class", *(f"told {name}" for name in names)], lines, note)


def pictures(results: dict[str, Any]) -> str:
    """Show the pictures that there are."""
    lines = [f"{text}\n\n![{text}](images/{name})\n" for name, text in results.items()]
    return "\n".join(["", *lines])


def fields(results: dict[str, Any]) -> str:
    """One line for each kind of field."""
    counts = sorted({len(scenes) for scenes in results["scenes"].values()})
    note = (
        f"PSNR in dB, means over {' or '.join(map(str, counts))} photographs; weights "
        f"`{results['weights']}`."
    )
    return _table(*field_table(results), note)


def pooled(results: dict[str, Any]) -> str:
    """One line for each level of noise and number of frames."""
    note = f"Correlation with the true kernel; weights `{results['weights']}`."
    return _table(*pooling_table(results), note)


def real(results: dict[str, Any]) -> str:
    """One line for each photograph and program."""
    caption = (
        f"Their kernels, a row for each of {', '.join(results['photographs'])}: found by the "
        'default model, and with `model="auto"` (square root of the values).'
    )
    picture = f"![{caption}](images/real-kernels.png)"
    note = f"Weights `{results['weights']}`.\n\n{caption}\n\n{picture}"
    return _table(*real_table(results), note)


def durations(results: dict[str, Any]) -> str:
    """Minutes that each section took where it was measured last."""
    lines = []
    for section, title in SECTIONS.items():
        spent = _spent(results.get(section, {}))
        if spent:
            lines.append([title, f"`--only {section}`", f"{spent / 60:.0f}"])
    return _table(["section", "", "minutes"], lines, "With scoring, on one core of a processor.")


SECTIONS = {
    "levin": "Levin et al.",
    "lai": "Lai et al.",
    "kodak": "Kodak",
    "noise": "Kodak at four levels of noise",
    "classifier": "size of the blur",
    "field": "blur that varies",
    "pooling": "frames pooled",
    "real": "real photographs",
}


def _spent(section: Any) -> float:
    """Seconds that a section's entries took, however deep they lie; those of means times images."""
    if isinstance(section, list):
        return sum(map(_spent, section))
    if not isinstance(section, dict):
        return 0.0
    if "mean" in section:
        return float(section["mean"].get("spent", 0.0)) * section["images"]
    if "spent" in section:
        return float(section["spent"])
    return sum(map(_spent, section.values()))


TABLES = {
    "levin": levin,
    "lai": lai,
    "kodak": kodak,
    "noise": noise,
    "classifier": classifier,
    "field": fields,
    "pooling": pooled,
    "real": real,
    "pictures": pictures,
}


def _titles() -> list[str]:
    return [title for title, _ in _MEASURES.values()]


def _line(row: dict[str, Any], groups: Sequence[str]) -> list[str]:
    # The mean of a row that leaves groups out is none of all images.
    partial = not set(groups) <= set(row["groups"])
    cells = ["" if partial else _cell(row["mean"], name) for name in _MEASURES]
    return [
        row["label"],
        *cells,
        *(_cell(row["groups"].get(group, {}), "psnr") for group in groups),
    ]


def _published(benchmark: str, groups: Sequence[str]) -> list[list[str]]:
    rows = sorted(references(benchmark)["rows"], key=lambda row: -row["psnr"])
    lines = []
    for row in rows:
        cells = [_cell(row, name) for name in _MEASURES]
        source = row["source"].split(",")[0] + " " + row["source"].rsplit(",", 1)[-1].strip()
        lines.append([f"*{row['method']}* ({source})", *cells, *("" for _ in groups)])
    return lines


def _cell(values: dict[str, Any], name: str) -> str:
    return format(values[name], f".{_MEASURES[name][1]}f") if name in values else ""


def _table(head: Sequence[str], lines: Sequence[Sequence[str]], note: str) -> str:
    rows = [f"| {' | '.join(line)} |" for line in lines]
    rule = "|" + " --- |" * len(head)
    return "\n".join(["", f"| {' | '.join(head)} |", rule, *rows, "", note, ""])


def _note(results: dict[str, Any], rows: Sequence[Row]) -> str:
    """Say how many images the rows are means of, and whose weights they were made with."""
    made = [results[row.key] for row in rows if row.key in results]
    images = sorted({each["images"] for each in made})
    weights = sorted({each["weights"] for each in made})
    counts = " or ".join(map(str, images))
    return f"Means over {counts} images; weights `{'`, `'.join(weights)}`."
