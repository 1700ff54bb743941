"""A file is written completely or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from napari_deblur.errors import FileError, OutputError
from napari_deblur.files.atomic import atomic_path, check_output

if TYPE_CHECKING:
    from pathlib import Path

posix_only = pytest.mark.skipif(os.name != "posix", reason="POSIX behaviour")


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_new_file_appears_under_its_name_only(tmp_path: Path) -> None:
    target = tmp_path / "out.tif"
    with atomic_path(target) as path:
        assert path.name == "out.tif"
        path.write_bytes(b"new")
        assert not target.exists()
        assert list(tmp_path.glob("*.tif")) == []
    assert target.read_bytes() == b"new"
    assert names(tmp_path) == ["out.tif"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit, FileError])
def test_exception_keeps_the_old_file_and_leaves_nothing(
    tmp_path: Path, error: type[BaseException]
) -> None:
    target = tmp_path / "out.png"
    target.write_bytes(b"old")

    def fail() -> None:
        with atomic_path(target) as path:
            path.write_bytes(b"half")
            raise error("stop")

    with pytest.raises(error):
        fail()
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["out.png"]


def test_block_that_writes_nothing_is_an_error_and_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "out.png"
    target.write_bytes(b"old")
    with pytest.raises(FileNotFoundError), atomic_path(target):
        pass
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["out.png"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("", "is a folder"),
        ("missing/out.tif", "no folder"),
        ("file/out.tif", "no folder"),
        ("nul\0.tif", "null"),
    ],
)
def test_impossible_target_is_refused_before_the_block(
    tmp_path: Path, target: str, message: str
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=message), atomic_path(str(tmp_path) + "/" + target):
        pytest.fail("the block must not run")
    assert names(tmp_path) == ["file"]


@posix_only
def test_special_file_is_refused() -> None:
    with pytest.raises(OutputError, match="regular file"):
        check_output("/dev/null")


@posix_only
def test_permissions_are_those_of_the_old_file_or_of_the_umask(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_bytes(b"")
    old.chmod(0o640)
    umask = os.umask(0o027)
    try:
        for target in (old, tmp_path / "new"):
            with atomic_path(target) as path:
                path.write_bytes(b"x")
    finally:
        os.umask(umask)
    assert old.stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640


@posix_only
def test_symbolic_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    with atomic_path(tmp_path / "link") as path:
        path.write_bytes(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


@posix_only
def test_folder_without_permission_is_refused(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="no permission"):
            check_output(tmp_path / "out.tif")
    finally:
        tmp_path.chmod(0o700)


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


@posix_only
def test_write_that_the_system_cuts_off_is_reported_and_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "out.tif"
    target.write_bytes(b"old")
    code = """
        import resource, sys
        from napari_deblur.errors import OutputError
        from napari_deblur.files.atomic import atomic_path
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            with atomic_path(sys.argv[1]) as path:
                path.write_bytes(b"x" * 5000)
        except OutputError as error:
            print(error)
    """
    result = run_python(code, str(target))
    assert "cannot write" in result.stdout, result.stderr
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["out.tif"]


@posix_only
def test_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "out.tif"
    target.write_bytes(b"old")
    code = """
        import os, signal, sys
        from napari_deblur.files.atomic import atomic_path
        with atomic_path(sys.argv[1]) as path:
            path.write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    result = run_python(code, str(target))
    assert result.returncode == -signal.SIGKILL
    assert target.read_bytes() == b"old"
    assert list(tmp_path.glob("*.tif")) == [target]
