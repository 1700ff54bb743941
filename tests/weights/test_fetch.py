"""Weights are found where they are, fetched where they are not, and never taken unchecked."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pooch
import pytest

from napari_deblur.errors import WeightsError
from napari_deblur.weights import download, fetch
from napari_deblur.weights.entries import WeightsEntry
from napari_deblur.weights.fetch import cache_folder, status, verify, weights_path

CONTENT = bytes(range(256)) * 4096  # 1 MiB, four pieces
ENTRY = WeightsEntry(
    file="some-analysis.safetensors",
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    size=len(CONTENT),
    kind="analysis",
    preset="tiny",
    kernel_size=15,
)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_PAUSE", 0.01)
    monkeypatch.setattr(download, "_LONGEST_PAUSE", 0.01)


def visible() -> list[str]:
    """Names in the cache that a user sees; parts and locks are hidden."""
    folder = cache_folder()
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def parts() -> list[Path]:
    return list(cache_folder().glob(".*.part"))


# ---------------------------------------------------------------------------- where it is


def test_cache_is_the_named_folder_or_that_of_pooch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NAPARI_DEBLUR_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NAPARI_DEBLUR_CACHE", "~/there")
    assert cache_folder() == tmp_path / "there"
    monkeypatch.delenv("NAPARI_DEBLUR_CACHE")
    assert cache_folder() == Path(pooch.os_cache("napari-deblur")).expanduser()
    assert not cache_folder().exists()


def test_without_a_server_the_error_says_all_that_is_needed() -> None:
    with pytest.raises(WeightsError) as caught:
        weights_path(ENTRY)
    for part in (
        ENTRY.file,
        str(cache_folder() / ENTRY.file),
        "NAPARI_DEBLUR_WEIGHTS_URL",
        "napari-deblur models fetch",
    ):
        assert part in str(caught.value)
    assert status(ENTRY) == "absent"
    with pytest.raises(WeightsError, match="not on this computer"):
        verify(ENTRY)


def test_file_put_there_by_hand_is_taken_and_checked() -> None:
    path = cache_folder() / ENTRY.file
    path.write_bytes(CONTENT)
    assert status(ENTRY) == "cached"
    assert weights_path(ENTRY) == verify(ENTRY) == path
    path.write_bytes(CONTENT[:-1] + b"x")
    for check in (weights_path, verify):
        with pytest.raises(WeightsError, match=r"damaged or another file.*models fetch"):
            check(ENTRY)
    assert path.exists()


def test_embedded_file_goes_first_and_its_damage_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server
) -> None:
    monkeypatch.setattr(fetch, "EMBEDDED", tmp_path)
    (cache_folder() / ENTRY.file).write_bytes(CONTENT)
    (tmp_path / ENTRY.file).write_bytes(CONTENT)
    assert status(ENTRY) == "embedded"
    assert weights_path(ENTRY) == tmp_path / ENTRY.file
    (tmp_path / ENTRY.file).write_bytes(b"damaged")
    with pytest.raises(WeightsError, match="install napari-deblur again"):
        weights_path(ENTRY)
    assert server.requests == []


def test_file_of_the_users_own_is_never_fetched(tmp_path: Path, server) -> None:
    own = replace(ENTRY, location=tmp_path / "own.safetensors")
    assert status(own) == "absent"
    with pytest.raises(WeightsError, match=r"own\.safetensors"):
        weights_path(own)
    own.location.write_bytes(b"changed")
    with pytest.raises(WeightsError, match="changed while it was used"):
        weights_path(own)
    assert server.requests == []


# ---------------------------------------------------------------------------- fetching


def test_good_file_is_fetched_once_with_progress(server) -> None:
    server.content = CONTENT
    seen: list[tuple[int, int]] = []
    path = weights_path(ENTRY, progress=lambda done, total: seen.append((done, total)))
    assert path == cache_folder() / ENTRY.file
    assert path.read_bytes() == CONTENT
    assert visible() == [ENTRY.file]
    assert parts() == []
    assert server.paths == [f"/weights/{ENTRY.file}"]
    assert seen == sorted(seen)
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert weights_path(ENTRY) == path
    assert len(server.requests) == 1
    assert status(ENTRY) == "cached"


def test_nothing_is_fetched_that_must_not_be(server) -> None:
    server.content = CONTENT
    with pytest.raises(WeightsError, match="not on this computer"):
        weights_path(ENTRY, download=False)
    assert server.requests == []


def test_damaged_file_in_the_cache_is_replaced_where_a_server_is(server) -> None:
    server.content = CONTENT
    (cache_folder() / ENTRY.file).write_bytes(b"damaged")
    assert weights_path(ENTRY).read_bytes() == CONTENT


def test_missing_file_on_the_server_is_told(server) -> None:
    server.codes = [404]
    with pytest.raises(WeightsError, match="answered 404") as caught:
        weights_path(ENTRY)
    assert server.url in str(caught.value)
    assert visible() == []


def test_server_that_is_not_there_is_told(server) -> None:
    server.close()
    with pytest.raises(WeightsError, match=r"connection failed.*by hand"):
        weights_path(ENTRY)
    assert visible() == []


@pytest.mark.parametrize(
    "url", ["ftp://host/", "file:///tmp", "host/weights", "http://", "https://["]
)
def test_address_that_is_no_web_address_is_refused(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("NAPARI_DEBLUR_WEIGHTS_URL", url)
    with pytest.raises(WeightsError, match="NAPARI_DEBLUR_WEIGHTS_URL is"):
        weights_path(ENTRY)


@pytest.mark.parametrize("change", [b"", b"x", b"more"])
def test_file_of_another_size_or_content_never_gets_its_name(server, change: bytes) -> None:
    server.content = CONTENT[:-1] + change
    with pytest.raises(WeightsError, match="ask the server's keeper"):
        weights_path(ENTRY)
    assert visible() == []
    assert parts() == []


def test_connection_that_breaks_is_taken_up_where_it_broke(server) -> None:
    server.content = CONTENT
    server.cut = [300_000, 400_000]
    assert weights_path(ENTRY).read_bytes() == CONTENT
    assert server.requests[0] == ""
    starts = [int(text.removeprefix("bytes=").removesuffix("-")) for text in server.requests[1:]]
    assert len(starts) == 2
    assert 0 < starts[0] <= 300_000 < starts[1] <= 700_000


def test_fetch_goes_on_where_an_earlier_one_stopped(server) -> None:
    server.content = CONTENT
    server.cut = [600_000]
    server.codes = [200, 503]
    with pytest.raises(WeightsError, match="answered 503"):
        weights_path(ENTRY)
    assert visible() == []
    (part,) = parts()
    kept = part.stat().st_size
    assert 0 < kept <= 600_000
    assert weights_path(ENTRY).read_bytes() == CONTENT
    assert server.requests == ["", f"bytes={kept}-", f"bytes={kept}-"]
    assert parts() == []


def test_server_without_ranges_starts_again(server) -> None:
    server.content = CONTENT
    server.ranges = False
    server.cut = [600_000]
    assert weights_path(ENTRY).read_bytes() == CONTENT


def test_part_that_is_wrong_is_thrown_away_and_fetched_anew(server) -> None:
    server.content = CONTENT
    part = cache_folder() / f".{ENTRY.file}.{ENTRY.sha256[:16]}.part"
    for old in (b"x" * 1000, CONTENT + b"too long", b"x" * len(CONTENT)):
        part.write_bytes(old)
        assert weights_path(ENTRY).read_bytes() == CONTENT
        (cache_folder() / ENTRY.file).unlink()


def test_fetch_can_be_cancelled_and_taken_up(server) -> None:
    server.content = CONTENT

    class CancelledError(Exception):
        pass

    def cancel(done: int, total: int) -> None:
        if done > total / 2:
            raise CancelledError

    with pytest.raises(CancelledError):
        weights_path(ENTRY, progress=cancel)
    assert visible() == []
    assert weights_path(ENTRY).read_bytes() == CONTENT
    assert server.requests[1].startswith("bytes=")


def test_cache_that_cannot_be_written_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("NAPARI_DEBLUR_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(WeightsError, match="set NAPARI_DEBLUR_CACHE to a folder"):
        weights_path(ENTRY)


def test_four_processes_fetch_one_file_once(server) -> None:
    server.content = CONTENT
    server.cut = [500_000]
    server.delay = 0.3
    code = (
        "import sys; from napari_deblur.weights import download; "
        "from napari_deblur.weights.entries import WeightsEntry; "
        "from napari_deblur.weights.fetch import weights_path; "
        f"entry = WeightsEntry({ENTRY.file!r}, {ENTRY.sha256!r}, {ENTRY.size}, 'analysis', '', 15);"
        "print('ready', flush=True); sys.stdin.readline(); "
        "print(weights_path(entry).stat().st_size)"
    )
    command = [sys.executable, "-c", code]
    pipe = subprocess.PIPE
    running = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(4)]
    for process in running:
        assert process.stdout.readline() == "ready\n"
    for process in running:  # all at once, while the server takes its time
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate()[0].strip() for process in running]
    assert answers == [str(len(CONTENT))] * 4
    assert len(server.requests) == 2  # one was cut off and taken up; the others waited
    assert (cache_folder() / ENTRY.file).read_bytes() == CONTENT
    assert visible() == [ENTRY.file]


def test_fetched_weights_open(server, save: Callable[..., Path]) -> None:
    from napari_deblur.weights.files import open_network
    from napari_deblur.weights.register import entry_for

    path = save("synthesis")
    server.content = path.read_bytes()
    entry = entry_for(path, preset="tiny", training_data="none", licence="CC0-1.0")
    assert not open_network(weights_path(entry), entry.sha256).training
