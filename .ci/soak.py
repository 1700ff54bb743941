"""Run the tests that take minutes to hours, print what they measured, and keep it in the docs.

Run by ``make soak``.  A test marked ``soak`` hands each figure to pytest's ``record_property``.  If
every test passed, all of them are kept in ``docs/reliability.json``, and what that holds becomes
the table between the markers of ``docs/reliability.md``, with date, versions and machine.

With ``NAPARI_DEBLUR_SOAK_SHARE=0.05`` in the environment the tests take that share of their length:
a rehearsal, whose table is only printed, unless ``--keep`` is given.  All other arguments are
handed to pytest, for instance ``tests/robustness`` or ``-k memory``; figures of tests that are not
run stay as they are.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reliability.md"
FIGURES = PAGE.with_suffix(".json")
BEGIN, END = "<!-- soak: begin -->", "<!-- soak: end -->"
VERSIONS = ("napari-deblur", "torch", "numpy", "scipy", "napari", "dask", "zarr")

Record = dict[str, Any]  # of a test: figures, minutes, share of its length, what it ran on


def main() -> int:
    """Run pytest; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="keep the figures of a rehearsal, too")
    parser.add_argument("--note", default="", help="what else is to be known of the machine")
    options, words = parser.parse_known_args()
    code, records = run(words)
    if not records:
        return code
    share = float(os.environ.get("NAPARI_DEBLUR_SOAK_SHARE", "1"))
    measured = {"share": share, "on": conditions(options.note)}
    new = {name: {**record, **measured} for name, record in records.items()}
    print(f"\n{section(new)}")
    if code == 0 and (share >= 1 or options.keep):
        old = json.loads(FIGURES.read_text("utf-8")) if words and FIGURES.exists() else {}
        keep({**old, **new})
    else:
        print("a rehearsal, or not all passed: the page stays as it is")
    return code


def run(words: list[str]) -> tuple[int, dict[str, Record]]:
    """Run the tests; pytest's exit code, and what each of them measured."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "soak.xml"
        command = [sys.executable, "-m", "pytest", "-m", "soak", "--timeout=0", "--durations=0"]
        code = subprocess.run(
            [*command, "-o", "junit_family=xunit1", f"--junitxml={report}", *words],
            cwd=ROOT,
            check=False,
        ).returncode
        return code, read_figures(report) if report.exists() else {}


def read_figures(report: Path) -> dict[str, Record]:
    """Figures and minutes of each test, in the order of the report; failures are named."""
    records = {}
    for case in ET.parse(report).iter("testcase"):
        name = case.get("name", "").removeprefix("test_").replace("_", " ")
        figures = {item.get("name", ""): item.get("value", "") for item in case.iter("property")}
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            figures["outcome"] = "**failed**"
        elif skipped is not None:
            figures["outcome"] = f"skipped: {skipped.get('message', '')}"
        records[name] = {"figures": figures, "minutes": round(float(case.get("time", 0)) / 60, 1)}
    return records


def conditions(note: str) -> Record:
    """Date, versions and machine."""
    return {
        "date": f"{dt.datetime.now(dt.UTC):%Y-%m-%d}",
        "versions": {"Python": platform.python_version()}
        | {name: version(name) for name in VERSIONS},
        "machine": machine() + (f"; {note}" if note else ""),
    }


def section(records: dict[str, Record]) -> str:
    """Tables of all figures, one for each of the conditions under which some were measured."""
    lines: list[str] = []
    for on in unique([record["on"] for record in records.values()]):
        versions = ", ".join(f"{name} {version}" for name, version in on["versions"].items())
        lines += [f"Measured on {on['date']} with {versions}.", f"Machine: {on['machine']}.", ""]
        lines += ["| What must hold | Measured | Minutes |", "| --- | --- | --- |"]
        for name, record in records.items():
            if record["on"] == on:
                length = "" if record["share"] >= 1 else f" ({record['share']:.0%} of its length)"
                figures = "; ".join(f"{key}: {value}" for key, value in record["figures"].items())
                lines.append(f"| {cell(name + length)} | {cell(figures)} | {record['minutes']} |")
        lines.append("")
    return "\n".join(lines).rstrip()


def unique(items: list[Record]) -> list[Record]:
    """Each once, in the order of their first appearance."""
    return [item for index, item in enumerate(items) if item not in items[:index]]


def cell(text: str) -> str:
    """Text that a table can hold."""
    return " ".join(text.replace("|", "/").split())


def version(name: str) -> str:
    """Version of a distribution."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "(not installed)"


def machine() -> str:
    """Processor, number of cores that may be used, memory, graphics card, system."""
    import psutil
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = psutil.virtual_memory().total / 2**30
    used = "1 core" if cores == 1 else f"{cores} cores"
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "no graphics card"
    return f"{processor()}, {used}, {memory:.0f} GiB of memory, {card}, {platform.system()}"


def processor() -> str:
    """Name of the processor as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(
            line.partition(":")[2].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def keep(records: dict[str, Record]) -> None:
    """Write the figures down, and the table of them between the markers of the page."""
    page = PAGE.read_text("utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not rest or not after:
        sys.exit(f"{PAGE} has no lines {BEGIN} and {END}")
    FIGURES.write_text(json.dumps(records, indent=1, ensure_ascii=False) + "\n", "utf-8")
    PAGE.write_text(f"{before}{BEGIN}\n{section(records)}\n{END}{after}", "utf-8")
    print(f"written to {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    sys.exit(main())
