"""What the commands say: results on stdout, notes on stderr."""

from __future__ import annotations

import sys

__all__ = ["note", "say"]


def say(text: str) -> None:
    """Print a result."""
    print(text, flush=True)


def note(text: str) -> None:
    """Print something that is no result, on one line."""
    print(f"Note: {' '.join(text.split())}", file=sys.stderr, flush=True)
