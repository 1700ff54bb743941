"""What the commands say: results on stdout, notes on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from napari_deblur.errors import OutputError

__all__ = ["Message", "kept_messages", "note", "repeat", "say"]


@dataclass(frozen=True)
class Message:
    """What was said: a result, or something that is none."""

    text: str
    is_result: bool


_kept: ContextVar[list[Message] | None] = ContextVar("kept", default=None)


@contextmanager
def kept_messages() -> Iterator[list[Message]]:
    """Keep what is said within a block instead of printing it, to be said elsewhere."""
    messages: list[Message] = []
    token = _kept.set(messages)
    try:
        yield messages
    finally:
        _kept.reset(token)


def repeat(message: Message) -> None:
    """Say what was kept."""
    (say if message.is_result else note)(message.text)


def say(text: str) -> None:
    """Print a result.

    Nobody need be listening: a batch goes on when whoever read its output has left, as `head` does.

    Raises
    ------
    OutputError
        If it cannot be printed for any other reason.
    """
    kept = _kept.get()
    if kept is not None:
        kept.append(Message(text, is_result=True))
        return
    try:
        print(text, flush=True)
    except BrokenPipeError:
        sys.stdout = None
    except OSError as error:
        sys.stdout = None
        raise OutputError(
            f"'{text}' cannot be printed ({error.strerror}); send the output somewhere else"
        ) from error


def note(text: str) -> None:
    """Print something that is no result, on one line."""
    kept = _kept.get()
    if kept is not None:
        kept.append(Message(text, is_result=False))
        return
    print(f"Note: {' '.join(text.split())}", file=sys.stderr, flush=True)
