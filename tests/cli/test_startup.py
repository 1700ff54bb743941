"""The program starts quickly: nothing heavy is imported before a command needs it."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from napari_deblur.cli.codes import REFUSED
from napari_deblur.cli.imports import quick_imports

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


@pytest.mark.parametrize("collects", [True, False])
def test_garbage_is_looked_for_after_imports_as_it_was_before(*, collects: bool) -> None:
    before = gc.isenabled()
    try:
        (gc.enable if collects else gc.disable)()
        with quick_imports():
            assert not gc.isenabled()
        assert gc.isenabled() == collects
    finally:
        (gc.enable if before else gc.disable)()


def test_the_program_leaves_with_the_code_of_its_command(tmp_path: Path) -> None:
    code = (
        "import atexit, sys\n"
        "from napari_deblur.cli import main\n"
        "atexit.register(print, 'left in order')\n"
        f"sys.argv = ['napari-deblur', 'kernel', {str(tmp_path / 'absent.png')!r}, '-o', 'k.tif']\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == REFUSED
    assert done.stdout.strip() == "left in order"
    assert "absent.png" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_output_that_cannot_be_printed_is_told_in_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "napari_deblur.cli", "models", "path"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert done.returncode == REFUSED
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1, done.stderr
