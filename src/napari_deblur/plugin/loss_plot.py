"""A small plot of losses over steps, drawn with Qt alone."""

from __future__ import annotations

import math

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QWidget

__all__ = ["LossPlot"]

_COLOURS = ("#f0a35e", "#5fb3d9", "#8fd16f", "#d98fd1")
_MARGIN = (52.0, 10.0, 10.0, 22.0)  # left, top, right, bottom

Curves = dict[str, tuple[list[float], list[float]]]


class LossPlot(QWidget):
    """Losses on a logarithmic axis, a curve for each stage from its first step to its last."""

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumHeight(150)
        self.curves: Curves = {}

    def show_curves(self, curves: Curves) -> None:
        """Draw these instead of what is there."""
        self.curves = curves
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802 - Qt calls it so
        """Draw."""
        del event
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        left, top, right, bottom = _MARGIN
        area = QRectF(left, top, self.width() - left - right, self.height() - top - bottom)
        ink = self.palette().windowText().color()
        values = [v for _, ys in self.curves.values() for v in ys if v > 0 and math.isfinite(v)]
        if not values:
            painter.setPen(ink)
            painter.drawText(area, Qt.AlignmentFlag.AlignCenter, "The loss will be shown here.")
            painter.end()
            return
        low, high = math.log10(min(values)), math.log10(max(values))
        if high - low < 0.05:
            low, high = low - 0.05, high + 0.05
        self._draw_axes(painter, area, ink, low, high)
        for number, (name, (steps, ys)) in enumerate(self.curves.items()):
            colour = QColor(_COLOURS[number % len(_COLOURS)])
            painter.setPen(QPen(colour, 1.5))
            painter.drawPolyline(_polyline(area, steps, ys, low, high))
            painter.drawText(QPointF(area.right() - 70, area.top() + 14 * (number + 1)), name)
        painter.end()

    def _draw_axes(
        self, painter: QPainter, area: QRectF, ink: QColor, low: float, high: float
    ) -> None:
        faint = QColor(ink)
        faint.setAlphaF(0.2)
        for part in (0.0, 0.5, 1.0):
            y = area.bottom() - part * area.height()
            painter.setPen(faint)
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
            painter.setPen(ink)
            value = 10 ** (low + part * (high - low))
            painter.drawText(
                QRectF(0, y - 8, area.left() - 6, 16), Qt.AlignmentFlag.AlignRight, f"{value:.3g}"
            )
        bottom = QRectF(area.left(), area.bottom() + 4, area.width(), 16)
        painter.drawText(bottom, Qt.AlignmentFlag.AlignCenter, "loss over steps")


def _polyline(
    area: QRectF, steps: list[float], values: list[float], low: float, high: float
) -> QPolygonF:
    first, last = steps[0], max(steps[-1], steps[0] + 1)
    points = [
        QPointF(
            area.left() + (step - first) / (last - first) * area.width(),
            area.bottom() - (math.log10(value) - low) / (high - low) * area.height(),
        )
        for step, value in zip(steps, values, strict=True)
        if value > 0 and math.isfinite(value)
    ]
    return QPolygonF(points)
