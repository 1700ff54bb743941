"""Small networks as weights files, and a web server that can be told how to fail."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from torch import nn

from napari_deblur.networks.analysis import AnalysisNetwork
from napari_deblur.networks.classifier import BlurSizeClassifier
from napari_deblur.networks.presets import PRESETS
from napari_deblur.networks.synthesis import SynthesisNetwork
from napari_deblur.weights.files import save_weights

CLASSES = {
    "analysis": AnalysisNetwork,
    "synthesis": SynthesisNetwork,
    "classifier": BlurSizeClassifier,
}


@pytest.fixture(scope="session")
def networks() -> dict[str, nn.Module]:
    """One tiny network of every kind, with random weights."""
    torch.manual_seed(0)
    return {kind: make(getattr(PRESETS["tiny"], kind)) for kind, make in CLASSES.items()}


@pytest.fixture
def save(networks: dict[str, nn.Module], tmp_path: Path) -> Callable[..., Path]:
    """Function that writes a network of a kind as `<kind>.safetensors`."""

    def write(kind: str, folder: Path = tmp_path, **provenance: object) -> Path:
        path = folder / f"{kind}.safetensors"
        save_weights(path, networks[kind], kind, getattr(PRESETS["tiny"], kind), provenance)
        return path

    return write


class Server:
    """A static server of one file, on a free port of this computer.

    Attributes
    ----------
    content : bytes
        What it sends.
    ranges : bool
        Whether it honours a Range header.
    cut : list of int
        Bytes after which it drops the connection, one for each coming request; then no more.
    codes : list of int
        Status to answer with instead, one for each coming request.
    delay : float
        Seconds before it answers.
    requests : list of str
        Range header of every request, "" where there was none.
    paths : list of str
        Path of every request.
    """

    def __init__(self) -> None:
        self.content = b""
        self.ranges = True
        self.cut: list[int] = []
        self.codes: list[int] = []
        self.delay = 0.0
        self.requests: list[str] = []
        self.paths: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server._answer(self)

            def log_message(self, *_: object) -> None:
                pass

        class Http(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                """Say nothing of a client that hung up."""

        self._http = Http(("127.0.0.1", 0), Handler)
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/weights"

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range", "")
        with self._lock:
            self.requests.append(wanted)
            self.paths.append(handler.path)
            code = self.codes.pop(0) if self.codes else 200
            cut = self.cut.pop(0) if self.cut else None
        time.sleep(self.delay)
        if code != 200:
            handler.send_error(code)
            return
        start = int(wanted[6:-1]) if wanted and self.ranges else 0
        if start >= len(self.content):
            handler.send_error(416)
            return
        body = self.content[start:]
        handler.send_response(206 if start else 200)
        if start:
            end = len(self.content) - 1
            handler.send_header("Content-Range", f"bytes {start}-{end}/{len(self.content)}")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[:cut])
        handler.close_connection = True


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A running server, named by NAPARI_DEBLUR_WEIGHTS_URL."""
    running = Server()
    monkeypatch.setenv("NAPARI_DEBLUR_WEIGHTS_URL", running.url)
    # No proxy of the environment between this test and its own computer.
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield running
    running.close()
