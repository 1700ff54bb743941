"""Rows of widgets, and the line that opens and closes a group of them."""

from __future__ import annotations

from collections.abc import Callable

from magicgui.widgets import Container, Label, PushButton, Widget
from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

__all__ = ["LABEL_ROOM", "Disclosure", "grid_row", "make_scrollable", "row"]

LABEL_ROOM = "\N{EM SPACE}" * 8
"""Label of a row that has none: as wide as any other, so that all fields begin at one place.

The widths of labels are measured before napari's style sheet makes the letters larger.
"""


def row(*widgets: Widget, label: str = "") -> Container[Widget]:
    """Widgets side by side, without margins of their own."""
    made: Container[Widget] = Container(
        widgets=list(widgets), layout="horizontal", labels=False, label=label
    )
    made.margins = (0, 0, 0, 0)
    return made


def grid_row(rows: Widget, columns: Widget) -> Container[Widget]:
    """How many rows and columns a grid has, as people write it."""
    return row(rows, Label(value="\N{MULTIPLICATION SIGN}"), columns, label="grid")


_MOST_TAKEN = QSize(480, 150)
"""Pixels that a form takes of a window at most, however little there is."""


class _Scrolled(QScrollArea):
    """A widget that is scrolled up and down; its width it gets."""

    def __init__(self, rows: QWidget) -> None:
        super().__init__()
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidget(rows)
        self._rows = rows

    def minimumSizeHint(self) -> QSize:  # noqa: N802  Qt's name
        room = self._rows.minimumSizeHint()
        width = room.width() + self.verticalScrollBar().sizeHint().width()
        return QSize(width, room.height()).boundedTo(_MOST_TAKEN)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        if event.type() == QEvent.Type.LayoutRequest:  # fields came or went
            self.updateGeometry()
        return bool(super().eventFilter(watched, event))


def make_scrollable(form: Container[Widget]) -> None:
    """Let a form that has all of its rows be as small as its dock, and be scrolled then.

    Without that a few docks above each other make napari's window higher than the screen.
    magicgui's own way to do so is lost when napari docks the inner one of its two widgets.
    """
    outer, rows = form.native, QWidget()
    layout = outer.layout()
    assert isinstance(layout, QVBoxLayout)
    rows.setLayout(layout)
    layout.addStretch()
    area = _Scrolled(rows)
    around = QVBoxLayout(outer)
    around.setContentsMargins(0, 0, 0, 0)
    around.addWidget(area)


class Disclosure:
    """A line with a triangle; the widgets of its group are shown while it is open.

    They stay rows of the outer form, so that labels and fields line up with all others.

    Parameters
    ----------
    title : str
        What the line says.
    widgets : list of Widget
        The group.
    is_apt : callable
        Tells of each widget whether it means anything now.
    """

    def __init__(self, title: str, widgets: list[Widget], is_apt: Callable[[Widget], bool]) -> None:
        self._title, self._is_apt = title, is_apt
        self.widgets = widgets
        self.is_open = False
        self.button = PushButton(text=title, label="", name="advanced")
        self.button.native.setFlat(True)
        self.button.native.setStyleSheet(
            "QPushButton { text-align: left; padding: 2px 0; background: transparent; }"
        )
        self.button.clicked.connect(self.toggle)
        self.update()

    def toggle(self) -> None:
        """Open or close the group."""
        self.is_open = not self.is_open
        self.update()

    def open(self) -> None:
        """Open the group, because something in it wants to be seen."""
        if not self.is_open:
            self.toggle()

    def update(self, *_: object) -> None:
        """Show what is to be shown."""
        apt = [widget for widget in self.widgets if self._is_apt(widget)]
        self.button.text = f"{'▾' if self.is_open else '▸'} {self._title}"
        self.button.visible = bool(apt)
        for widget in self.widgets:
            widget.visible = self.is_open and widget in apt
