"""Memory does not grow with the image, nor with the number of files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

MIB = 2**20
LIMIT = 4096  # MiB, for 20,000 x 20,000 pixels of uint16

# Not `getrusage`, which counts the process that this one was started by.
PEAK = """
import resource, sys
def peak():
    if sys.platform == "linux":
        with open("/proc/self/status") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
"""

# Runs commands and prints the memory in MiB after each file, and the highest there was.
MEASURED = (
    PEAK
    + """
import json
import psutil
from napari_deblur.cli import deblur, running
from napari_deblur.engine import plans, survey
from napari_deblur.files import tiff_reader

settings = json.loads(sys.argv[1])
tiff_reader.SMALLEST_LAZY = settings.get("lazy", tiff_reader.SMALLEST_LAZY)
plans._LARGEST_BLOCK = settings.get("block", plans._LARGEST_BLOCK)
survey._BAND = settings.get("band", survey._BAND)
memory = []
deblur.say = lambda _: memory.append(psutil.Process().memory_info().rss / 2**20)
code = running.run(["deblur", *sys.argv[2:]])
print(json.dumps([code, peak(), memory]))
"""
)

# The same from Python, with memory maps of TIFF files.
MAPPED = (
    PEAK
    + """
import json
import tifffile
import napari_deblur

source, target, kernel, model = sys.argv[1:]
image = tifffile.memmap(source, mode="r")
out = tifffile.memmap(target, shape=image.shape, dtype=image.dtype, photometric="minisblack")
napari_deblur.deblur(image, tifffile.imread(kernel), model=model, device="cpu", out=out)
out.flush()
print(json.dumps([0, peak(), []]))
"""
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="asks POSIX for the memory")


def measure(code: str, *words: object) -> tuple[float, list[float]]:
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    code, peak, memory = json.loads(done.stdout)
    assert code == 0, done.stderr
    return peak, memory


def rows(side: int, start: int, stop: int) -> np.ndarray:
    """Rows of a picture of squares, uint16."""
    square = np.random.default_rng(0).integers(500, 40000, (64, 64), dtype=np.uint16)
    across = np.kron(square, np.ones((8, 8), np.uint16))
    return np.resize(np.tile(across, (1, -(-side // 512)))[:, :side], (512, side))[: stop - start]


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    tifffile.imwrite(tmp_path / "kernel.tif", np.full((5, 5), 1 / 25, np.float32))
    return tmp_path / "kernel.tif"


def make(path: Path, side: int) -> Path:
    if path.suffix == ".zarr":
        image = zarr.create_array(path, shape=(side, side), dtype="uint16", chunks=(512, 512))
    else:
        image = tifffile.memmap(path, shape=(side, side), dtype="uint16", photometric="minisblack")
    for start in range(0, side, 512):
        stop = min(start + 512, side)
        image[start:stop] = rows(side, start, stop)
    return path


@pytest.mark.slow
def test_memory_does_not_grow_with_the_image(tmp_path: Path, kernel: Path, model: str) -> None:
    peaks = {}
    for side in (2304, 4096):  # both fill the bands and windows that are looked at first
        source = make(tmp_path / f"{side}.tif", side)
        settings = json.dumps({"lazy": 0, "block": 256, "band": 1 << 20})
        words = [source, "-o", tmp_path / f"out{side}.tif", "--kernel", kernel, "--model", model]
        peaks[side], _ = measure(MEASURED, settings, *words, "--device", "cpu", "--tile", 256)
        assert tifffile.imread(tmp_path / f"out{side}.tif").std() > 1000
    # The larger image has 22 MiB more, and so has its result.
    assert peaks[4096] - peaks[2304] < 20


@pytest.mark.soak
@pytest.mark.parametrize("how", ["TIFF", "Zarr", "memory maps in Python"])
def test_20000_squared_within_four_gigabytes(
    tmp_path: Path, kernel: Path, model: str, soak_share: float, record_property, how: str
) -> None:
    side = round(20000 * soak_share**0.5)
    suffix = ".zarr" if how == "Zarr" else ".tif"
    source, target = make(tmp_path / f"in{suffix}", side), tmp_path / f"out{suffix}"
    if how == "memory maps in Python":
        peak, _ = measure(MAPPED, source, target, kernel, model)
    else:
        words = [source, "-o", target, "--kernel", kernel, "--model", model, "--device", "cpu"]
        peak, _ = measure(MEASURED, "{}", *words)
    record_property(f"side of an image of uint16, {how} (pixels)", side)
    record_property(f"highest memory, {how} (MiB)", round(peak))
    assert peak < LIMIT
    image = zarr.open_array(target, mode="r") if how == "Zarr" else tifffile.memmap(target)
    assert image.shape == (side, side)
    for start in (0, side // 2, side - 512):
        assert np.std(image[start : start + 512, start : start + 512]) > 1000


@pytest.mark.soak
def test_memory_is_flat_over_a_batch_of_1000_files(
    tmp_path: Path, kernel: Path, model: str, soak_share: float, record_property
) -> None:
    count = max(50, round(1000 * soak_share))
    rng = np.random.default_rng(0)
    sources = []
    for index in range(count):
        sources.append(tmp_path / "in" / f"{index}.tif")
        sources[0].parent.mkdir(exist_ok=True)
        shape = [(64, 80), (96, 64, 3), (3, 64, 64)][index % 3]
        kind = {"photometric": "rgb"} if shape[-1] == 3 else {"photometric": "minisblack"}
        tifffile.imwrite(sources[-1], rng.integers(0, 256, shape).astype(np.uint8), **kind)
    words = [*sources, "-o", tmp_path / "out", "--kernel", kernel, "--model", model]
    _, memory = measure(MEASURED, "{}", *words, "--device", "cpu")
    assert len(list((tmp_path / "out").iterdir())) == count
    assert len(memory) == count + 1  # and the sum at the end
    fifth = count // 5
    growth = float(np.median(memory[-fifth:]) - np.median(memory[fifth : 2 * fifth]))
    record_property("files in one batch", count)
    record_property("growth of memory over a batch (MiB)", round(growth, 1))
    assert growth < 16
