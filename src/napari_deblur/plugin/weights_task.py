"""Weights that are not there: which they are, and fetching them as a task."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from napari_deblur.errors import WeightsError
from napari_deblur.plugin.tasks import Step, Task

__all__ = ["can_be_fetched", "fetch_task", "missing_weights"]


def missing_weights(model: str) -> Sequence[tuple[Any, str]]:
    """Entries of a model whose files are not there, each with what the user can do about it.

    Raises
    ------
    ModelError
        When there is no such model.
    """
    from napari_deblur.weights.fetch import status, weights_path
    from napari_deblur.weights.registry import find_model, find_weights

    entry = find_model(model)
    missing = []
    for weights in (find_weights(entry.analysis), find_weights(entry.synthesis)):
        if status(weights) != "absent":  # quick; the hash is checked when the file is used
            continue
        try:
            weights_path(weights, download=False)
        except WeightsError as error:
            missing.append((weights, str(error)))
    return missing


def can_be_fetched() -> bool:
    """Whether there is a server to fetch weights from."""
    return bool(os.environ.get("NAPARI_DEBLUR_WEIGHTS_URL", "").strip())


def fetch_task(model: str) -> Task:
    """Fetch what a model lacks; no layers come of it.

    The download runs beside this generator, which looks at it some times a second; closing the
    generator breaks the download off, and the next one goes on from there.
    """
    from napari_deblur.weights.fetch import weights_path

    entries = [weights for weights, _ in missing_weights(model)]
    whole = sum(entry.size for entry in entries)
    before = 0
    for entry in entries:
        done = [0]
        stop = threading.Event()

        def report(received: int, _: int, done: list[int] = done, stop: Any = stop) -> None:
            done[0] = received
            if stop.is_set():
                raise _BrokenOffError

        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(weights_path, entry, download=True, progress=report)
            try:
                while not future.done():
                    part = (before + done[0]) / whole
                    yield Step(part, f"Downloading {entry.file}: {part * whole / 1e6:.0f} MB")
                    wait([future], timeout=0.2)
                future.result()
            finally:
                stop.set()
        before += entry.size
    return []


class _BrokenOffError(Exception):
    """The user does not want the download any more."""
