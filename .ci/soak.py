"""Run the tests that take minutes to hours, print what they measured, and keep it in the docs.

Run by ``make soak``.  A test marked ``soak`` hands each figure to pytest's ``record_property``; all
of them become a table, which goes between the markers of ``docs/reliability.md`` with the date, the
versions and the machine, if every test passed.  With ``NAPARI_DEBLUR_SOAK_SHARE=0.05`` in the
environment the tests take that share of their length: a rehearsal, whose table is only printed.

Arguments are handed to pytest, for instance ``tests/robustness`` or ``-k memory``; then, too, the
table is only printed.
"""

from __future__ import annotations

import datetime as dt
import os
import platform
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- soak: begin -->", "<!-- soak: end -->"
VERSIONS = ("napari-deblur", "torch", "numpy", "scipy", "napari", "dask", "zarr")


def main() -> int:
    """Run pytest; return its exit code."""
    words = sys.argv[1:]
    share = float(os.environ.get("NAPARI_DEBLUR_SOAK_SHARE", "1"))
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "soak.xml"
        command = [sys.executable, "-m", "pytest", "-m", "soak", "--timeout=0", "--durations=0"]
        code = subprocess.run(
            [*command, "-o", "junit_family=xunit1", f"--junitxml={report}", *words],
            cwd=ROOT,
            check=False,
        ).returncode
        if not report.exists():
            return code
        rows = read_figures(report)
    minutes = (time.monotonic() - began) / 60
    text = section(rows, minutes)
    print(f"\n{text}")
    if code == 0 and share >= 1 and not words:
        write(text)
        print(f"written to {PAGE.relative_to(ROOT)}")
    elif code == 0:
        print("a rehearsal or a part of the tests: the page stays as it is")
    return code


def read_figures(report: Path) -> list[tuple[str, str, str]]:
    """Test, name of the figure and figure, in the order of the report; failures are named."""
    rows = []
    for case in ET.parse(report).iter("testcase"):
        name = case.get("name", "").removeprefix("test_").replace("_", " ")
        figures = [(item.get("name", ""), item.get("value", "")) for item in case.iter("property")]
        if case.find("failure") is not None or case.find("error") is not None:
            figures.append(("**failed**", ""))
        elif case.find("skipped") is not None:
            figures.append(("skipped", case.find("skipped").get("message", "")))
        elif not figures:
            figures.append(("passed", ""))
        figures.append(("minutes", f"{float(case.get('time', 0)) / 60:.1f}"))
        rows += [(name, *figure) for figure in figures]
    return rows


def section(rows: list[tuple[str, str, str]], minutes: float) -> str:
    """The table with what it was measured on."""
    versions = ", ".join(f"{name} {version(name)}" for name in VERSIONS)
    lines = [
        f"Measured on {dt.datetime.now(dt.UTC):%Y-%m-%d} in {minutes:.0f} minutes.",
        "",
        f"- Python {platform.python_version()}, {versions}",
        f"- {machine()}",
        "",
        "| What | Figure | |",
        "| --- | --- | --- |",
    ]
    last = None
    for name, figure, value in rows:
        lines.append(f"| {name if name != last else ''} | {cell(figure)} | {cell(value)} |")
        last = name
    return "\n".join(lines)


def cell(text: str) -> str:
    """Text that a table can hold."""
    return " ".join(text.replace("|", "/").split())


def version(name: str) -> str:
    """Version of a distribution."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def machine() -> str:
    """Processor, number of cores that may be used, memory, system."""
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = psutil.virtual_memory().total / 2**30
    used = "1 core" if cores == 1 else f"{cores} cores"
    return f"{processor()}, {used}, {memory:.0f} GiB of memory, {platform.system()}"


def processor() -> str:
    """Name of the processor as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(
            line.partition(":")[2].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def write(text: str) -> None:
    """Put the table between the markers of the page."""
    page = PAGE.read_text("utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not rest or not after:
        sys.exit(f"{PAGE} has no lines {BEGIN} and {END}")
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
