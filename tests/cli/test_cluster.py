"""A real cluster of two processes does what this process does, even if it loses one of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from napari_deblur.files.images import read_image

distributed = pytest.importorskip("distributed")

Outcome = tuple[int, str, str]
Command = Callable[..., Outcome]


class Cluster:
    """A scheduler and workers, each a process with one thread, on this machine.

    Programs and not `LocalCluster`, whose processes would import this test.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "scheduler.json"
        self.scheduler = self._start("scheduler", "--port", "0")
        self.workers: list[subprocess.Popen[bytes]] = []
        while not self.file.exists():
            assert self.scheduler.poll() is None, "the scheduler ended"
            time.sleep(0.05)

    def _start(self, name: str, *options: str) -> subprocess.Popen[bytes]:
        words = ["--scheduler-file", str(self.file), "--no-dashboard", *options]
        return subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.dask_{name}", *words],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def wait_for(self, count: int) -> None:
        self.workers = [each for each in self.workers if each.poll() is None]
        while len(self.workers) < count:
            more = ["--nthreads", "1", "--no-nanny", "--memory-limit", "0"]
            worker = self._start("worker", *more, "--local-directory", str(self.folder))
            self.workers.append(worker)
        with distributed.Client(scheduler_file=str(self.file), set_as_default=False) as client:
            client.wait_for_workers(count, timeout=180)

    def close(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("dask"))
    yield made
    made.close()


@pytest.fixture
def cluster(running: Cluster) -> Cluster:
    """Two workers that live."""
    running.wait_for(2)
    return running


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.kron(rng.integers(20, 230, (40, 44)), np.ones((8, 8))).astype(np.uint8)


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    tifffile.imwrite(tmp_path / "kernel.tif", np.full((5, 5), 1 / 25, np.float32))
    return tmp_path / "kernel.tif"


def options(model: str, kernel: Path) -> list[object]:
    return ["--model", model, "--device", "cpu", "--kernel", kernel, "--tile", "128"]


def test_one_file_is_cut_into_blocks(
    cluster: Cluster, photo: np.ndarray, kernel: Path, tmp_path: Path, model: str, command: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("napari_deblur.cli.cluster.DEFAULT_BLOCK", 128)
    zarr.create_array(tmp_path / "in.zarr", data=photo, chunks=(64, 64))
    tifffile.imwrite(tmp_path / "in.tif", photo)
    more = options(model, kernel)
    assert command("deblur", tmp_path / "in.tif", "-o", tmp_path / "here.tif", *more)[0] == 0
    here = read_image(tmp_path / "here.tif").array
    for source, target in (("in.tif", "a.tif"), ("in.zarr", "b.zarr"), ("in.tif", "c.png")):
        code, out, err = command(
            "deblur", tmp_path / source, "-o", tmp_path / target, *more, "--scheduler", cluster.file
        )
        assert (code, err) == (0, "")
        assert target in out
        there = read_image(tmp_path / target).array
        difference = np.abs(there.astype(int) - here)
        assert difference[32:-32, 32:-32].max() <= 2
        assert difference.mean() < 1
    assert not list(tmp_path.glob(".napari-deblur-*"))


def test_a_stack_gets_its_kernels(
    cluster: Cluster, photo: np.ndarray, tmp_path: Path, model: str, command: Command
) -> None:
    stack = np.stack([photo[:96, :112], photo[96:192, :112]])
    tifffile.imwrite(tmp_path / "in.tif", stack, photometric="minisblack", metadata={"axes": "ZYX"})
    more = ["--model", model, "--device", "cpu", "--refine", "0", "--save-kernel"]
    assert command("deblur", tmp_path / "in.tif", "-o", tmp_path / "here.tif", *more)[0] == 0
    more += ["--scheduler", cluster.file]
    assert command("deblur", tmp_path / "in.tif", "-o", tmp_path / "there.tif", *more)[0] == 0
    for name in (".tif", "_kernel.tif"):
        here, there = (read_image(tmp_path / f"{word}{name}").array for word in ("here", "there"))
        np.testing.assert_allclose(there, here, atol=1e-4)


def test_bad_files_are_named_and_the_others_done(
    cluster: Cluster, photo: np.ndarray, kernel: Path, tmp_path: Path, model: str, command: Command
) -> None:
    for name in "ab":
        tifffile.imwrite(tmp_path / f"{name}.tif", photo[:64, :80])
    (tmp_path / "bad.tif").write_bytes(b"nothing")
    inputs = [tmp_path / f"{name}.tif" for name in ("a", "bad", "b")]
    more = [*options(model, kernel), "--scheduler", cluster.file]
    code, out, err = command("deblur", *inputs, "-o", tmp_path / "out", *more)
    assert code == 1
    assert "2 of 3" in out
    assert "bad.tif" in err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.tif", "b.tif"]


def test_a_scheduler_that_does_not_answer_is_named(
    kernel: Path, photo: np.ndarray, tmp_path: Path, model: str, command: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("napari_deblur.cli.cluster._PATIENCE", 0.5)
    tifffile.imwrite(tmp_path / "in.tif", photo)
    more = [*options(model, kernel), "--scheduler", "tcp://127.0.0.1:9"]
    code, _, err = command("deblur", tmp_path / "in.tif", "-o", tmp_path / "out.tif", *more)
    assert code == 2
    assert "tcp://127.0.0.1:9" in err
    assert not (tmp_path / "out.tif").exists()


@pytest.mark.skipif(os.name != "posix", reason="kills as POSIX does")
@pytest.mark.parametrize("what", ["blocks", "files"])
def test_nothing_is_lost_with_a_worker(
    cluster: Cluster, photo: np.ndarray, kernel: Path, tmp_path: Path, model: str,
    command: Command, monkeypatch: pytest.MonkeyPatch, what: str,
) -> None:  # fmt: skip
    monkeypatch.setattr("napari_deblur.cli.cluster.DEFAULT_BLOCK", 64)
    names = ["in.tif"] if what == "blocks" else [f"{index}.tif" for index in range(12)]
    for number, name in enumerate(names):
        tifffile.imwrite(tmp_path / name, np.roll(photo, 8 * number))
    whole, lossy = tmp_path / "whole", tmp_path / "lossy"
    whole.mkdir(), lossy.mkdir()
    words = ["deblur", *(tmp_path / name for name in names), *options(model, kernel)]
    words += ["--scheduler", cluster.file]
    killed = []

    def kill(_description: str, done: int, total: int) -> None:
        if not killed and total > 1 and done >= total // 4:
            killed.append((done, total))
            cluster.workers[0].kill()

    assert command(*words, "-o", whole)[0] == 0
    monkeypatch.setattr("napari_deblur.cli.deblur.progress_bar", lambda: nullcontext(kill))
    code, _, err = command(*words, "-o", lossy)
    assert code == 0, err
    ((done, total),) = killed
    assert 0 < done < total
    assert cluster.workers[0].wait() == -signal.SIGKILL
    for name in names:
        np.testing.assert_array_equal(
            read_image(lossy / name).array, read_image(whole / name).array
        )
