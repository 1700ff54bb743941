"""Install the lowest versions that `pyproject.toml` allows, and run tests with them.

Shows that the lower bounds are true: a bound that was never released, that does not go with the
others, or that the code does not run on ends with an error.  What the dependencies want themselves
is resolved as usual.  PyTorch stays at the version of the constraints: its older builds come with
CUDA and are gigabytes large.

Run by ``make lowest`` with a Python that has `packaging`; arguments are handed to pytest.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".venv-lowest"
CONSTRAINTS = ROOT / "requirements" / "constraints.txt"
EXTRAS = ("dask", "training", "zarr")
NOT_LOWERED = {"torch"}
TOOLS = ("hypothesis", "psutil", "pytest", "pytest-cov", "pytest-timeout", "xarray")
# What the bounds are for.  The tests of the viewer need Qt and a display and run in `make test`.
TESTS = (
    "tests/files",
    "tests/weights",
    "tests/cli",
    "tests/engine/test_layout.py",
    "tests/engine/test_run.py",
    "tests/training/test_recipe.py",
    "tests/training/test_sources.py",
)


def main() -> int:
    """Install, say what was installed, test; return pytest's exit code."""
    pins = [*lowest(), *current()]
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / ".gitignore").write_text("*\n")
    record = FOLDER / "lowest.txt"
    text = "\n".join(pins) + "\n"
    programs = FOLDER / "venv" / ("Scripts" if os.name == "nt" else "bin")
    if not record.exists() or record.read_text() != text:
        install(programs / "python", pins)
        record.write_text(text)
    print(text, flush=True)
    words = sys.argv[1:] or TESTS
    # Old packages warn of what newer ones changed: no concern of this test.
    command = [programs / "python", "-m", "pytest", "-q", "-o", "filterwarnings=default", *words]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def lowest() -> list[str]:
    """Pin each direct dependency to its lower bound."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = list(project["dependencies"])
    for extra in EXTRAS:
        lines += project["optional-dependencies"][extra]
    pins = []
    for requirement in map(Requirement, lines):
        bounds = [each.version for each in requirement.specifier if each.operator == ">="]
        if len(bounds) != 1:
            sys.exit(f"pyproject.toml: '{requirement}' has no lower bound")
        if canonicalize_name(requirement.name) not in NOT_LOWERED:
            extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
            pins.append(f"{requirement.name}{extras}=={bounds[0]}")
    return pins


def current() -> list[str]:
    """Pins of the packages that are not lowered, from the constraints."""
    lines = CONSTRAINTS.read_text("utf-8").splitlines()
    return [line for line in lines if line.partition("==")[0].lower() in NOT_LOWERED]


def install(python: Path, pins: list[str]) -> None:
    """Put these versions, and the newest tools for tests, into an environment of their own."""
    if not python.exists():
        venv.create(FOLDER / "venv", with_pip=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, *pins, *TOOLS], cwd=ROOT, check=True)
    subprocess.run([*pip, "--no-deps", "--editable", str(ROOT)], cwd=ROOT, check=True)


if __name__ == "__main__":
    sys.exit(main())
