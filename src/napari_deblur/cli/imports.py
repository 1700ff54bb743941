"""Importing much at once."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quick_imports"]


@contextmanager
def quick_imports() -> Iterator[None]:
    """Keep the search for garbage away from what is imported, which stays until the end.

    Torch makes hundreds of thousands of objects; to go through them, again and again while they
    become more and once more when a command is under way, takes a quarter of a second.
    """
    collects, first = gc.isenabled(), "torch" not in sys.modules
    gc.disable()
    try:
        yield
    finally:
        if first:
            gc.freeze()
        if collects:
            gc.enable()
