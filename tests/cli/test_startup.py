"""The program starts quickly: nothing heavy is imported before a command needs it."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "scipy", "skimage", "tifffile", "napari", "pooch", "lightning")


@pytest.mark.parametrize(
    "args", [["--help"], ["--version"], ["deblur", "--help"], ["train", "--help"], ["models"]]
)
def test_help_imports_nothing_heavy(args: list[str]) -> None:
    code = (
        "import sys\n"
        "from napari_deblur.cli.running import run\n"
        f"code = run({args!r})\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], code, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr.startswith("[] ")
    assert "napari-deblur" in done.stdout
