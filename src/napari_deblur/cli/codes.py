"""Exit codes of the command line."""

from __future__ import annotations

__all__ = ["FAILED", "INTERRUPTED", "REFUSED"]

FAILED = 1
"""Some files of a batch failed; the others are done."""
REFUSED = 2
"""Nothing was done: an input, an option or an output is not usable."""
INTERRUPTED = 130
"""Ended by Ctrl-C; shells count 128 + SIGINT, and so does `main` with other signals."""
