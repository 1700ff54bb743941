"""Signals that end a command as Ctrl-C does, so that it can take away what it had begun."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

__all__ = ["stop_signals"]

_NAMES = ("SIGTERM", "SIGHUP")  # of a batch system or `kill`; of a terminal that was closed


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Let SIGTERM and SIGHUP raise `KeyboardInterrupt` within a block; those that came are listed.

    Only the first one does, so that another does not break off the cleaning up.  A signal that
    is ignored, as `nohup` makes it, stays so.
    """
    came: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        came.append(number)
        if len(came) == 1:
            raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    heeded = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]
    for number in heeded:
        signal.signal(number, stop)
    try:
        yield came
    finally:
        for number in heeded:
            signal.signal(number, signal.SIG_DFL)
