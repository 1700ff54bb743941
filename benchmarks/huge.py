"""A file of an image larger than memory, through the command line: time and peak memory.

A photograph with camera shake and noise, repeated to the size, in 16 bits, as a memory-mapped TIFF
file and as a Zarr store.  Each is deblurred by ``napari-deblur deblur`` with the model that ships,
in a process of its own, whose memory is looked at from its start: Python and torch are counted.

    python benchmarks/huge.py
    python benchmarks/huge.py --full --threads 2 --json huge.json
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import _measure
import _samples
import numpy as np
import tifffile
import torch
import zarr
from numpy.typing import NDArray

from napari_deblur.cli import running
from napari_deblur.engine.simulate import shake
from napari_deblur.files.kernels import write_kernel

_FULL, _QUICK = 20_000, 512
_PERIOD = 1024  # pixels after which the mirrored photograph begins anew
_KERNEL = 25
_NOISE = 0.005
_STRIP = 1024  # rows
_KINDS = {"TIFF": ".tif", "Zarr": ".zarr"}


def blurry_picture() -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """One period of the picture in [0, 1], blurred on a torus, and the kernel."""
    sharp = _samples.grey_picture(_PERIOD, _PERIOD) / 255
    _, kernel = shake(sharp[:64, :64], size=_KERNEL, seed=1)
    spread = np.zeros_like(sharp)
    spread[:_KERNEL, :_KERNEL] = kernel
    blurred = np.fft.irfft2(np.fft.rfft2(sharp) * np.fft.rfft2(spread), s=sharp.shape)
    return np.roll(blurred, -(_KERNEL // 2), (0, 1)), kernel


def write_picture(path: Path, side: int, period: NDArray[np.float64]) -> None:
    """Write a file of `side` x `side` pixels strip by strip, with fresh noise everywhere."""
    shape = (side, side)
    out: Any
    if path.suffix == ".zarr":
        out = zarr.create_array(path, shape=shape, dtype="uint16", chunks=(1024, 1024))
    else:
        out = tifffile.memmap(path, shape=shape, dtype="uint16", photometric="minisblack")
    rng = np.random.default_rng(0)
    columns = np.arange(side) % _PERIOD
    for start in range(0, side, _STRIP):
        rows = np.arange(start, min(start + _STRIP, side)) % _PERIOD
        values = period[np.ix_(rows, columns)]
        values = values + rng.normal(scale=_NOISE, size=values.shape)
        out[start : start + len(rows)] = np.round(values.clip(0, 1) * 65535).astype(np.uint16)
    if isinstance(out, np.memmap):
        out.flush()


def deblur(words: list[str], threads: int) -> tuple[float, int | None]:
    """Seconds and peak memory of one command in this process, which does nothing else."""
    torch.set_num_threads(threads)
    begin = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):
        code = running.run(["deblur", *words])
    if code != 0:
        raise RuntimeError(f"napari-deblur deblur ended with code {code}")
    return time.perf_counter() - begin, _measure.highest_bytes()


def measure(kind: str, options: Any, side: int) -> tuple[float, int | None]:
    """Make a file and deblur it; nothing is left of it."""
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        source, target = (Path(folder) / f"{name}{_KINDS[kind]}" for name in ("in", "out"))
        period, kernel = blurry_picture()
        write_picture(source, side, period)
        words = [str(source), "-o", str(target), "--device", options.device]
        if options.known:
            write_kernel(Path(folder) / "kernel.tif", kernel)
            words += ["--kernel", str(Path(folder) / "kernel.tif")]
        return _measure.apart(deblur, words, options.threads)


def main(arguments: list[str]) -> int:
    made = _measure.parser(__doc__)
    made.add_argument("--side", type=int, help="of the image in pixels")
    made.add_argument("--kinds", nargs="+", choices=_KINDS, default=list(_KINDS))
    made.add_argument("--known", action="store_true", help="give the kernel")
    made.add_argument("--folder", type=Path, help="for the files, some GB at full size")
    options = _measure.start(made, arguments)
    side = options.side or (_FULL if options.full else _QUICK)
    parts = _measure.Parts("huge", options)
    files = {}
    for kind in options.kinds:
        seconds, peak = parts.measure(kind, partial(measure, kind, options, side))
        files[kind] = {"seconds": seconds, "peak bytes": peak}
    parts.finish()
    figures = {"image": [side, side], "kernel": "given" if options.known else "estimated"}
    return _measure.finish("huge", options, {**figures, "files": files})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
