"""Fetch a file over HTTP into the cache: through pooch, resumed, checked, one process at a time."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Protocol

import pooch  # type: ignore[import-untyped]
import requests
from filelock import FileLock

from napari_deblur.errors import WeightsError
from napari_deblur.weights.header import sha256_of

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ReportProgress", "fetch"]

_TIMEOUT = (15, 60)  # seconds to connect, and between two pieces
_PIECE = 2**18  # bytes
_ATTEMPTS = 10
_BROKEN_OFF = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
)
_PAUSE, _LONGEST_PAUSE = 0.5, 8.0  # seconds between attempts, doubled each time


class ReportProgress(Protocol):
    """Called while a file is fetched."""

    def __call__(self, done: int, total: int, /) -> object:
        """Take note of the bytes done and the bytes in all."""


def fetch(
    url: str, target: Path, sha256: str, size: int, progress: ReportProgress | None = None
) -> None:
    """Fetch a file unless it is there already.

    What arrived before a connection broke lies beside `target` under a hidden name with the
    hash in it, and the next call goes on from there.  `target` itself appears when the hash is
    right, in one step.  TLS certificates are always verified.

    Parameters
    ----------
    url : str
        Where it is.
    target : Path
        Where it shall be.
    sha256 : str
        Hash of its bytes in hexadecimal.
    size : int
        Its size in bytes.
    progress : callable, optional
        Called with the bytes done and the bytes in all.

    Raises
    ------
    WeightsError
        If the server cannot be reached, has no such file or another one, or the cache cannot be
        written.
    """
    downloader = _ResumingDownloader(target, sha256, size, progress)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{target.name}.lock")):
            if target.is_file() and sha256_of(target) == sha256:
                return  # another process fetched it meanwhile
            resumed = downloader.partial.exists()
            try:
                _retrieve(url, target, sha256, downloader)
            except _WrongFileError:
                if not resumed:
                    raise
                _retrieve(url, target, sha256, downloader)  # the old part may have been at fault
    except requests.RequestException as error:
        raise WeightsError(_explain(url, target, error)) from error
    except OSError as error:
        raise WeightsError(
            f"cannot write '{target}' ({error.strerror or error}); "
            "set NAPARI_DEBLUR_CACHE to a folder that can be written"
        ) from error


class _WrongFileError(WeightsError):
    """The server's file is complete and not the right one."""


def _retrieve(url: str, target: Path, sha256: str, downloader: _ResumingDownloader) -> None:
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")  # progress is reported by us, and not in between by pooch
    try:
        pooch.retrieve(
            url,
            known_hash=f"sha256:{sha256}",
            fname=target.name,
            path=target.parent,
            downloader=downloader,
        )
    except ValueError as error:  # all that pooch says of a hash
        if not downloader.finished:
            raise
        raise _WrongFileError(
            f"what {url} sent has another sha256 than {sha256} and was thrown away; "
            "ask the server's keeper for the right file, or update napari-deblur"
        ) from error
    finally:
        logger.setLevel(level)


class _ResumingDownloader:
    """A downloader for pooch that goes on where an earlier one stopped; pooch's own cannot."""

    def __init__(
        self, target: Path, sha256: str, size: int, progress: ReportProgress | None
    ) -> None:
        self.partial = target.with_name(f".{target.name}.{sha256[:16]}.part")
        self.finished = False
        self._size = size
        self._progress = progress

    def __call__(self, url: str, output_file: str, _pooch: Any) -> None:
        self.finished = False
        pause = _PAUSE
        for attempt in range(_ATTEMPTS):
            before = self._done()
            try:
                self._continue(url)
                break
            except _BROKEN_OFF as error:
                refused = isinstance(error, requests.exceptions.SSLError)
                stuck = self._done() == before and attempt > 0
                if refused or stuck or attempt == _ATTEMPTS - 1:
                    raise
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
        # Into the temporary file that pooch checks and renames.
        self.partial.replace(output_file)
        self.finished = True

    def _done(self) -> int:
        return self.partial.stat().st_size if self.partial.exists() else 0

    def _continue(self, url: str) -> None:
        """One request for what is still missing."""
        done = self._done()
        if done > self._size:
            self.partial.unlink()
            done = 0
        if done == self._size and done:
            return
        headers = {"Accept-Encoding": "identity"}
        if done:
            headers["Range"] = f"bytes={done}-"
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                self.partial.unlink()
                raise requests.ConnectionError("the server's file is shorter than what was fetched")
            response.raise_for_status()
            if done and not _continues_at(response, done):
                done = 0
            self._receive(response, done)

    def _receive(self, response: requests.Response, done: int) -> None:
        announced = _announced_size(response)
        if announced not in (None, self._size):
            self._reject(response.url, f"has {announced} bytes")
        with self.partial.open("r+b" if done else "wb") as file:
            file.seek(done)
            for piece in response.iter_content(_PIECE):
                done += len(piece)
                if done > self._size:
                    self._reject(response.url, "does not end there")
                file.write(piece)
                if self._progress is not None:
                    self._progress(done, self._size)
            file.flush()
            os.fsync(file.fileno())
        if done < self._size:
            raise requests.ConnectionError(f"it ended after {done} of {self._size} bytes")

    def _reject(self, url: str, what: str) -> None:
        self.partial.unlink(missing_ok=True)
        raise _WrongFileError(
            f"the file at {url} {what}, but {self._size} bytes are expected; "
            "ask the server's keeper for the right file, or update napari-deblur"
        )


def _announced_size(response: requests.Response) -> int | None:
    """Size of the whole file as the server says, or None where it does not."""
    if "Content-Encoding" in response.headers:
        return None  # then it is the packed size
    if response.status_code == requests.codes.partial_content:
        text = response.headers.get("Content-Range", "").rpartition("/")[2]
    else:
        text = response.headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdecimal() else None


def _continues_at(response: requests.Response, position: int) -> bool:
    """Whether a response holds the rest from `position` on, and not the whole file again."""
    content = response.headers.get("Content-Range", "")
    return response.status_code == requests.codes.partial_content and content.startswith(
        f"bytes {position}-"
    )


def _explain(url: str, target: Path, error: requests.RequestException) -> str:
    if isinstance(error, requests.HTTPError) and error.response is not None:
        what = f"the server answered {error.response.status_code} {error.response.reason}"
        remedy = "check NAPARI_DEBLUR_WEIGHTS_URL"
    elif isinstance(error, requests.exceptions.SSLError):
        what, remedy = "its certificate cannot be verified", "check the address and the clock"
    elif isinstance(error, requests.Timeout):
        what, remedy = "the server does not answer", "run it again: it goes on where it stopped"
    else:
        reason = " ".join(str(error).split())[-160:]
        what = f"the connection failed ({reason})"
        remedy = "check network and server, and run it again: it goes on where it stopped"
    return f"cannot fetch {url}: {what}; {remedy}, or put the file at '{target}' by hand"
