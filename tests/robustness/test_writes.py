"""Whatever happens while a result is written: nothing lost, nothing half, nothing left over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

PATIENCE = 600  # seconds for a process that hangs, on a busy machine
posix_only = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")

PROGRAM = "import sys; from napari_deblur.cli import main; sys.argv[0] = 'napari-deblur'; main()"
# The same with a limit on the size of files: a disk that is full after so many bytes.
FULL_DISK = (
    "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000));" + PROGRAM
)
# The same, killed when half of its output has come to the disk.
KILLED = (
    "import os, signal\n"
    "def die(file):\n"
    "    os.ftruncate(file, os.fstat(file).st_size // 2)\n"
    "    os.kill(os.getpid(), signal.SIGKILL)\n"
    "os.fsync = die\n" + PROGRAM
)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.tif"
    tifffile.imwrite(path, np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8))
    tifffile.imwrite(tmp_path / "kernel.tif", np.eye(3, dtype=np.float32))
    return path


def start(program: str, photo: Path, model: str, *more: str) -> subprocess.Popen:
    words = ["deblur", photo, "-o", photo.with_name("sharp.tif"), "--device", "cpu"]
    words += ["--model", model, "--kernel", photo.with_name("kernel.tif"), *more]
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Coverage would write its own file, which the full disk refuses as well.
        env={name: v for name, v in os.environ.items() if not name.startswith("COVERAGE_")},
    )


def names(folder: Path) -> set[str]:
    """Files that are not hidden."""
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


INPUTS = {"photo.tif", "kernel.tif"}


@posix_only
@pytest.mark.parametrize("old", [None, b"an older result"])
def test_full_disk_is_told_and_the_old_file_stays(photo: Path, model: str, old) -> None:
    target = photo.with_name("sharp.tif")
    if old is not None:
        target.write_bytes(old)
    process = start(FULL_DISK, photo, model, "--overwrite")
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2, err
    assert err.count("\n") == 1
    assert "cannot write" in err
    assert sorted(path.name for path in photo.parent.iterdir()) == sorted(
        INPUTS | ({"sharp.tif"} if old is not None else set())
    )
    if old is not None:
        assert target.read_bytes() == old


@posix_only
@pytest.mark.parametrize("old", [None, b"an older result"])
def test_a_run_killed_while_it_writes_leaves_the_old_file_or_none(
    photo: Path, model: str, old
) -> None:
    target = photo.with_name("sharp.tif")
    if old is not None:
        target.write_bytes(old)
    process = start(KILLED, photo, model, "--overwrite")
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL, err
    assert names(photo.parent) == INPUTS | ({"sharp.tif"} if old is not None else set())
    if old is not None:
        assert target.read_bytes() == old
    assert list(photo.parent.glob("*.tif")) != []
    again = start(PROGRAM, photo, model, "--overwrite")
    _, err = again.communicate(timeout=PATIENCE)
    assert again.returncode == 0, err
    assert tifffile.imread(target).shape == (64, 64)


def test_the_same_output_asked_twice_at_once_is_one_whole_file(photo: Path, model: str) -> None:
    """Both end, with a whole result or a refusal, and no third file is left."""
    expected = start(PROGRAM, photo, model)
    _, err = expected.communicate(timeout=PATIENCE)
    assert expected.returncode == 0, err
    target = photo.with_name("sharp.tif")
    content = tifffile.imread(target)
    target.unlink()
    both = [start(PROGRAM, photo, model) for _ in range(2)]
    errors = [process.communicate(timeout=PATIENCE)[1] for process in both]
    codes = sorted(process.returncode for process in both)
    assert codes in ([0, 0], [0, 2]), errors
    np.testing.assert_array_equal(tifffile.imread(target), content)
    assert {path.name for path in photo.parent.iterdir()} == INPUTS | {"sharp.tif"}


def test_the_same_output_asked_again_is_refused_without_a_look_at_the_image(
    photo: Path, model: str
) -> None:
    target = photo.with_name("sharp.tif")
    target.write_bytes(b"mine")
    photo.write_bytes(b"nothing that could be read")
    process = start(PROGRAM, photo, model)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert "--overwrite" in err
    assert target.read_bytes() == b"mine"


@posix_only
@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_told_before_any_work(photo: Path, model: str) -> None:
    photo.parent.chmod(0o500)
    try:
        process = start(PROGRAM, photo, model)
        _, err = process.communicate(timeout=PATIENCE)
    finally:
        photo.parent.chmod(0o700)
    assert process.returncode == 2
    assert "no permission" in err


@posix_only
@pytest.mark.soak
def test_a_run_killed_at_any_moment_leaves_a_whole_file_or_none(
    photo: Path, model: str, soak_share: float, record_property
) -> None:
    """Kills spread over the life of the process; the old result or the new one is there, whole."""
    target = photo.with_name("sharp.tif")
    began = time.perf_counter()
    whole = start(PROGRAM, photo, model, "--overwrite")
    _, err = whole.communicate(timeout=PATIENCE)
    assert whole.returncode == 0, err
    life = time.perf_counter() - began
    content = tifffile.imread(target)
    kills = max(4, round(60 * soak_share))
    killed = 0
    for index in range(kills):
        process = start(PROGRAM, photo, model, "--overwrite")
        # Most of the kills fall into the last fifth, in which files are written.
        share = 0.8 + 0.25 * index / kills if index % 4 else index / kills
        try:
            process.wait(timeout=life * share)
        except subprocess.TimeoutExpired:
            process.kill()
            killed += 1
        process.communicate()
        np.testing.assert_array_equal(tifffile.imread(target), content)
        assert names(photo.parent) == INPUTS | {"sharp.tif"}
    assert killed
    record_property("runs killed while they worked", killed)
    record_property("results lost or half written", 0)
