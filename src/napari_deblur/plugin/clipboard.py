"""The system's clipboard."""

from __future__ import annotations

__all__ = ["put"]


def put(text: str) -> None:
    """Put a text onto the clipboard."""
    from qtpy.QtWidgets import QApplication

    board = QApplication.clipboard()
    if board is not None:
        board.setText(text)
