"""The buttons that hand a run on: as a command line, as Python, and with the files it reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from magicgui.widgets import Container, PushButton, Widget
from napari.layers import Layer

from napari_deblur.errors import DeblurError
from napari_deblur.plugin import clipboard
from napari_deblur.plugin.commands import command_line, command_remark, input_files, python_code
from napari_deblur.plugin.inputs import save_inputs
from napari_deblur.plugin.provenance import record_of
from napari_deblur.plugin.rows import row

__all__ = ["CopyButtons"]


class CopyButtons:
    """Copy command line, Copy Python, and Save its inputs where there are none on the disk.

    Parameters
    ----------
    layers : callable
        Returns the viewer's layers.
    say : callable
        Tells the user something.
    """

    def __init__(self, layers: Callable[[], list[Any]], say: Callable[[str], None]) -> None:
        self._layers, self._say = layers, say
        self._result: Layer | None = None
        self.command = PushButton(
            text="Copy command line",
            enabled=False,
            tooltip="The shell command that repeats this run on files.",
        )
        self.python = PushButton(
            text="Copy Python",
            enabled=False,
            tooltip="The code that repeats this run in a viewer that holds the layer.",
        )
        self.save = PushButton(
            text="Save what the command reads …",
            tooltip="Writes the layers that exist only in the viewer as the files that the command "
            "line names.",
        )
        self.command.clicked.connect(self._copy_command)
        self.python.clicked.connect(self._copy_python)
        self.save.clicked.connect(self._ask_and_save)
        self._save_row = row(self.save)
        self._save_row.visible = False

    @property
    def widgets(self) -> list[Widget | Container[Widget]]:
        """The rows of buttons."""
        return [row(self.command, self.python), self._save_row]

    @property
    def record(self) -> dict[str, Any] | None:
        """How the result at hand was made."""
        return None if self._result is None else record_of(self._result)

    def offer(self, result: Layer | None) -> None:
        """Offer the way to make a result again; None for nothing."""
        self._result = result
        record = self.record
        self.command.enabled = self.python.enabled = record is not None
        self._save_row.visible = record is not None and bool(input_files(record))

    def save_to(self, folder: Path) -> None:
        """Write the files that the command reads and that are not there, and say so."""
        if self.record is None:
            return
        try:
            written = save_inputs(self.record, self._layers(), folder)
        except DeblurError as error:
            self._say(str(error))
            return
        names = ", ".join(path.name for path in written)
        self._say(f"Saved {names}: the command line works in {folder}.")

    def _copy_command(self) -> None:
        if self.record is not None:
            clipboard.put(command_line(self.record))
            said = f"The command line is on the clipboard. {command_remark(self.record)}"
            self._say(said.strip())

    def _copy_python(self) -> None:
        if self.record is not None:
            clipboard.put(python_code(self.record))
            self._say("The Python code is on the clipboard.")

    def _ask_and_save(self) -> None:
        from qtpy.QtWidgets import QFileDialog

        folder = QFileDialog.getExistingDirectory(self.save.native, "Folder for the files")
        if folder:
            self.save_to(Path(folder))
