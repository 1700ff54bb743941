"""Build the wheel, install it into a clean environment without Qt, and use it from another folder.

Shows what no test inside the checkout can show: that the wheel holds all its files, that its
declared dependencies suffice, and that the Python functions and the command line work where neither
napari nor a Qt binding is installed.

Run from anywhere with a Python that has `build`: ``python .ci/check_wheel.py``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "requirements" / "constraints.txt"
LARGEST_WHEEL = 25 * 2**20
PACKAGES = {"napari_deblur": "src/napari_deblur", "napari_deblur/training": "training"}
NOT_SHIPPED = ("*.pyc", ".*")
NOT_IN_WHEEL = ("tests/", "training/", "benchmarks/", "docs/")

# Runs in the clean environment; its working folder holds `photo.png` and nothing of the checkout.
USE_PYTHON = """
import importlib.util
import sys

import napari_deblur

assert "site-packages" in napari_deblur.__file__, napari_deblur.__file__
for name in ("napari", "magicgui", "qtpy", "PySide6", "PyQt6", "PyQt5"):
    assert importlib.util.find_spec(name) is None, f"{name} is installed, so this shows nothing"
assert "torch" not in sys.modules

import numpy as np
from skimage.io import imread

blurry = imread("shaken.png")
kernel = napari_deblur.estimate_kernel(blurry, device="cpu")
assert kernel.ndim == 2 and kernel.dtype == np.float32 and abs(float(kernel.sum()) - 1) < 1e-4
sharp = napari_deblur.deblur(blurry, kernel, device="cpu")
assert sharp.shape == blurry.shape and sharp.dtype == blurry.dtype
assert not np.array_equal(sharp, blurry)
"""


def say(text: str) -> None:
    """Print a line at once, so that the log of a stuck run shows where it is."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    """Run a command; on failure show all that it said and stop."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"failed ({done.returncode}): {' '.join(words)}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def build_wheel(folder: Path) -> Path:
    """Build the source distribution, and the wheel from it, which shows that it is complete."""
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def expected_files() -> set[str]:
    """Every file of the package's folders, under the name that it must have in the wheel."""
    return {
        f"{package}/{path.relative_to(ROOT / folder).as_posix()}"
        for package, folder in PACKAGES.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and not any(path.match(pattern) for pattern in NOT_SHIPPED)
    }


def check_contents(wheel: Path) -> None:
    """Compare the wheel's size and its list of files with what must and must not be there."""
    size = wheel.stat().st_size
    names = zipfile.ZipFile(wheel).namelist()
    faults = [f"{name} is missing" for name in sorted(expected_files() - set(names))]
    faults += [f"{name} does not belong in it" for name in names if name.startswith(NOT_IN_WHEEL)]
    if size > LARGEST_WHEEL:
        faults.append(f"{size / 2**20:.1f} MiB are more than {LARGEST_WHEEL / 2**20:.0f}")
    if faults:
        sys.exit(f"{wheel.name}: " + "; ".join(faults))
    say(f"{wheel.name}: {len(names)} files, {size / 2**20:.1f} MiB")


def clean_environment(folder: Path, wheel: Path) -> Path:
    """Install the wheel and its declared dependencies alone; return the folder of its programs."""
    venv.create(folder, with_pip=True)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    python = programs / "python"
    run(python, "-m", "pip", "install", "-q", "-c", CONSTRAINTS, wheel, cwd=folder)
    run(python, "-m", "pip", "check", cwd=folder)
    return programs


def use(programs: Path, folder: Path) -> None:
    """Go through the command line and the Python functions in a folder that is not the checkout."""
    hidden = {"PYTHONPATH", "NAPARI_DEBLUR_CACHE", "NAPARI_DEBLUR_WEIGHTS_URL"}
    env = {name: value for name, value in os.environ.items() if name not in hidden}
    env["NAPARI_DEBLUR_CACHE"] = str(folder / "cache")
    program = programs / "napari-deblur"

    make_photo = (
        "from skimage import data, io; io.imsave('photo.png', data.camera()[128:320, 128:320])"
    )
    run(programs / "python", "-c", make_photo, cwd=folder, env=env)
    for words in (
        ["--help"],
        ["--version"],
        ["info"],
        ["models", "list"],
        ["shake", "photo.png", "-o", "shaken.png", "--size", "15", "--seed", "1"],
        ["kernel", "shaken.png", "-o", "kernel.tif", "--device", "cpu"],
        ["deblur", "shaken.png", "-o", "sharp.png", "--kernel", "kernel.tif", "--device", "cpu"],
    ):
        say("napari-deblur " + " ".join(words))
        run(program, *words, cwd=folder, env=env)
    for name in ("shaken.png", "kernel.tif", "sharp.png"):
        if not (folder / name).stat().st_size:
            sys.exit(f"{name} is empty")
    say("napari_deblur in Python")
    run(programs / "python", "-W", "error", "-c", USE_PYTHON, cwd=folder, env=env)


def main() -> None:
    """Run every step in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="napari-deblur-wheel-") as temporary:
        folder = Path(temporary)
        for name in ("dist", "elsewhere"):
            (folder / name).mkdir()
        say("building the wheel")
        wheel = build_wheel(folder / "dist")
        check_contents(wheel)
        say("installing it into a clean environment")
        programs = clean_environment(folder / "venv", wheel)
        use(programs, folder / "elsewhere")
    say("the wheel works without napari and without Qt")


if __name__ == "__main__":
    main()
