"""Weights that are not there: the widget offers to fetch them, or says where to put them."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from napari_deblur.plugin.run import State
from napari_deblur.plugin.tasks import Step
from napari_deblur.plugin.weights_task import can_be_fetched, fetch_task, missing_weights
from napari_deblur.weights.entries import ModelEntry, Registry, WeightsEntry
from napari_deblur.weights.fetch import cache_folder

KINDS = ("analysis", "synthesis")


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch, tiny_model: str) -> Path:
    """Let the registry know one model only, "far", whose files are not on this computer."""
    folder = Path(tiny_model)
    files = {}
    for kind in KINDS:
        content = (folder / f"{kind}.safetensors").read_bytes()
        entry = WeightsEntry(
            file=f"{kind}.safetensors",
            sha256=hashlib.sha256(content).hexdigest(),
            size=len(content),
            kind=kind,
            preset="tiny",
            kernel_size=15,
        )
        files[entry.file] = entry
    model = ModelEntry("far", *files, kernel_size=15)
    known = Registry(files=files, models={"far": model}, default="far")
    monkeypatch.setattr("napari_deblur.weights.registry.registry", lambda: known)
    return folder


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, far: Path) -> Iterator[str]:
    """A server of the files, named by the variable that a user sets."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(far)))
    thread = threading.Thread(target=http.serve_forever, args=(0.05,))
    thread.start()
    url = f"http://127.0.0.1:{http.server_port}"
    monkeypatch.setenv("NAPARI_DEBLUR_WEIGHTS_URL", url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield url
    http.shutdown()
    http.server_close()
    thread.join()


def test_without_a_server_it_is_said_where_the_file_belongs(far: Path) -> None:
    assert not can_be_fetched()
    missing = missing_weights("far")
    assert [entry.kind for entry, _ in missing] == list(KINDS)
    assert str(cache_folder() / "analysis.safetensors") in missing[0][1]


def test_fetching_reports_progress_and_leaves_the_files(server: str) -> None:
    steps = list(fetch_task("far"))
    assert all(isinstance(step, Step) and 0 <= step.done <= 1 for step in steps)
    assert not missing_weights("far")


@pytest.mark.gui
def test_the_widget_offers_the_download_and_then_runs(server: str, dock, make_layer, qtbot) -> None:
    viewer, widget = dock("Deblur")
    viewer.add_layer(make_layer("yx uint8"))
    widget._engine.model.value = "far"
    assert not widget._run.enabled
    assert "border" in widget._engine.model.native.styleSheet()
    assert widget._engine.fetch.native.isVisibleTo(widget.native)
    assert "MB" in widget._engine.fetch.text
    widget._engine.fetch.native.click()
    qtbot.waitUntil(lambda: widget.state is State.IDLE, timeout=30_000)
    assert not widget._engine.fetch.native.isVisibleTo(widget.native)
    assert widget._run.enabled, widget._run.tooltip


@pytest.mark.gui
def test_without_a_server_the_widget_says_where_to_put_the_file(
    far: Path, dock, make_layer
) -> None:
    viewer, widget = dock("Deblur")
    viewer.add_layer(make_layer("yx uint8"))
    widget._engine.model.value = "far"
    assert not widget._run.enabled
    assert str(cache_folder()) in widget._run.tooltip
    assert not widget._engine.fetch.native.isVisibleTo(widget.native)
