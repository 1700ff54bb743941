"""Many runs in one process and many processes at once: memory stays flat, nothing is trampled."""

from __future__ import annotations

import gc
import hashlib
import http.server
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest

import napari_deblur
from napari_deblur.blur.kernel import delta_kernel
from napari_deblur.engine.run import deblur_steps

MIB = 2**20


def resident() -> float:
    """Memory of this process in MiB, when garbage is gone."""
    gc.collect()
    return psutil.Process().memory_info().rss / MIB


def figures(run: Callable[[int], object], warm_up: int, runs: int) -> tuple[float, float]:
    """MiB after the warm-up, and by how much the last fifth of the runs exceeds the first."""
    for index in range(warm_up):
        run(index)
    measured = []
    for index in range(runs):
        run(warm_up + index)
        measured.append(resident())
    fifth = max(1, runs // 5)
    # Medians: the allocator gives memory back when it likes.
    growth = float(np.median(measured[-fifth:]) - np.median(measured[:fifth]))
    return measured[0], growth


def image(index: int) -> np.ndarray:
    """Pictures of some sizes, depths and numbers of channels, in turn."""
    rng = np.random.default_rng(index)
    shape = [(24, 20), (16, 30, 3), (18, 18), (32, 16, 4)][index % 4]
    squares = rng.integers(0, 256, shape).astype([np.uint8, np.float32, np.uint16][index % 3])
    return squares.repeat(4, axis=0).repeat(4, axis=1)


def run_one(index: int, model: str, refine: int) -> None:
    """Deblur with a given kernel, blind, or break off in the middle, in turn."""
    picture = image(index)
    if index % 5 == 4:
        steps = deblur_steps(picture, model=model, device="cpu", refine=refine)
        for _ in range(3):
            next(steps)
        steps.close()
        return
    kernel = delta_kernel(7) if index % 2 else None
    napari_deblur.deblur(picture, kernel, model=model, device="cpu", refine=refine)


def test_memory_is_flat_over_many_runs(model: str) -> None:
    _, growth = figures(partial(run_one, model=model, refine=0), warm_up=12, runs=30)
    assert growth < 12


@pytest.mark.soak
def test_memory_is_flat_over_200_runs(model: str, soak_share: float, record_property) -> None:
    runs = max(20, round(200 * soak_share))
    start, growth = figures(partial(run_one, model=model, refine=1), warm_up=20, runs=runs)
    record_property("runs in one process", runs)
    record_property("memory after the warm-up (MiB)", round(start))
    record_property("growth from the first to the last fifth (MiB)", round(growth, 1))
    assert growth < 12


@pytest.mark.soak
def test_memory_is_flat_over_200_runs_of_the_shipped_weights(
    soak_share: float, record_property
) -> None:
    def run(index: int) -> None:
        napari_deblur.deblur(image(index), device="cpu", refine=1)

    runs = max(10, round(200 * soak_share))
    start, growth = figures(run, warm_up=8, runs=runs)
    record_property("runs in one process", runs)
    record_property("memory after the warm-up (MiB)", round(start))
    record_property("growth from the first to the last fifth (MiB)", round(growth, 1))
    assert growth < 24


# ---------------------------------------------------------------------------- one cache


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, with a pause in the middle of each so that many ask at once."""

    def copyfile(self, source, outputfile) -> None:
        while piece := source.read(2**17):
            outputfile.write(piece)
            time.sleep(0.01)

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Say nothing of a client that was killed."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Address of a server and the folder whose files it gives out."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = Server(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", folder
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


FETCH = """
import sys
from napari_deblur.weights.entries import WeightsEntry
from napari_deblur.weights.fetch import weights_path
files = [word.split(":") for word in sys.argv[1:]]
entries = [WeightsEntry(name, sha, int(size), "analysis", "", 15) for name, sha, size in files]
print("ready", flush=True)
sys.stdin.readline()
print(*[weights_path(entry).name for entry in entries])
"""


def fetch_at_once(
    words: list[str], cache: Path, url: str, kill: float | None
) -> list[tuple[int, str]]:
    """Four processes ask for the same files into one cache; one may be killed after a while."""
    env = {**os.environ, "NAPARI_DEBLUR_CACHE": str(cache), "NAPARI_DEBLUR_WEIGHTS_URL": url}
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", FETCH, *words]
    running = [
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=env)
        for _ in range(4)
    ]
    for process in running:
        assert process.stdout.readline() == "ready\n"
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    if kill is not None:
        time.sleep(kill)
        running[0].kill()
    answers = [process.communicate(timeout=600) for process in running]
    return [(process.returncode, "".join(a)) for process, a in zip(running, answers, strict=True)]


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore:unclosed")  # sockets of clients that were killed
def test_four_processes_fetch_into_one_cache_again_and_again(
    served: tuple[str, Path], tmp_path: Path, soak_share: float, record_property
) -> None:
    url, folder = served
    rng = random.Random(0)
    words, contents = [], {}
    for name in ("a.safetensors", "b.safetensors"):
        contents[name] = rng.randbytes(2 * MIB)
        (folder / name).write_bytes(contents[name])
        digest = hashlib.sha256(contents[name]).hexdigest()
        words.append(f"{name}:{digest}:{len(contents[name])}")
    rounds = max(2, round(40 * soak_share))
    for index in range(rounds):
        cache = tmp_path / f"cache-{index}"
        # In every second round one of them is killed while files are on their way.
        kill = rng.uniform(0, 0.5) if index % 2 else None
        outcomes = fetch_at_once(words, cache, url, kill)
        for code, text in outcomes[1 if kill is not None else 0 :]:
            assert code == 0, text
        for name, content in contents.items():
            assert (cache / name).read_bytes() == content
        assert {path.name for path in cache.iterdir() if path.name[0] != "."} == set(contents)
    record_property("rounds of four processes and one cache", rounds)
    record_property("of these with one of them killed", rounds // 2)
    record_property("damaged or missing files", 0)
