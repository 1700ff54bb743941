"""The log of a run: CSV, TensorBoard where installed, PNG pictures, a progress bar or lines."""

from __future__ import annotations

import csv
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from napari_deblur.files.atomic import atomic_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import torch
    from numpy.typing import NDArray

__all__ = ["RunLog", "Ticker", "say", "ticker"]

_ROWS = 6
_GAP = 4
_SECONDS_PER_HOUR = 3600


def say(line: str) -> None:
    """Tell the user something, on standard error."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


class RunLog:
    """Writes `training.csv`, `validation.csv`, `pictures/` and TensorBoard events into a folder.

    A resumed run drops the lines after the step that it resumes from: they are written again.
    """

    def __init__(self, folder: Path, resumed_step: int = 0) -> None:
        self.folder = folder
        self._resumed_step = resumed_step
        self._begun: set[Path] = set()
        self._board = _tensorboard(folder, resumed_step)

    def row(self, name: str, step: int, figures: Mapping[str, float]) -> None:
        """Append figures to `NAME.csv`."""
        path = self.folder / f"{name}.csv"
        self._drop_later(path)
        columns = ["step", *figures]
        fresh = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if fresh:
                writer.writerow(columns)
            writer.writerow([step, *(f"{value:.6g}" for value in figures.values())])
        if self._board is not None:
            for key, value in figures.items():
                self._board.add_scalar(f"{name}/{key}", value, step)

    def pictures(self, step: int, columns: Mapping[str, Sequence[torch.Tensor]]) -> None:
        """Write one PNG for kernels and one for images: a row for each sample."""
        sizes: dict[int, dict[str, Sequence[torch.Tensor]]] = {}
        for name, pictures in columns.items():
            sizes.setdefault(int(pictures[0].shape[-1]), {})[name] = pictures
        for group in sizes.values():
            sheet = _sheet(list(group.values()))
            title = " - ".join(group)
            path = self.folder / "pictures" / f"{step:09d} {title}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(sheet).save(path)
            if self._board is not None:
                self._board.add_image(title, sheet, step, dataformats="HWC")

    def close(self) -> None:
        """Flush."""
        if self._board is not None:
            self._board.close()

    def _drop_later(self, path: Path) -> None:
        """Once per file: remove lines of steps that this run will make again."""
        if path in self._begun:
            return
        self._begun.add(path)
        if not path.exists():
            return
        head, *rows = path.read_text(encoding="utf-8").splitlines()
        kept = [row for row in rows if _step(row) <= self._resumed_step]
        with atomic_path(path) as temporary:
            temporary.write_text("\n".join([head, *kept]) + "\n", encoding="utf-8")


def _step(row: str) -> int:
    """The step of a line; a line that a kill cut short counts as later than any."""
    text = row.partition(",")[0]
    return int(text) if text.isdigit() and "," in row else sys.maxsize


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    purge = step + 1 if step else None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=purge)


def _sheet(columns: Sequence[Sequence[torch.Tensor]]) -> NDArray[np.uint8]:
    samples = list(zip(*columns, strict=True))[:_ROWS]
    rows = [np.concatenate([_tile(picture) for picture in row], axis=1) for row in samples]
    return np.concatenate(rows, axis=0)


def _tile(picture: torch.Tensor) -> NDArray[np.uint8]:
    """Show an (H, W) kernel scaled to its peak and enlarged, or a (C, H, W) image."""
    values = picture.detach().float().cpu().numpy()
    if values.ndim == 2:
        values = values / max(float(values.max()), 1e-12)
        factor = max(1, 128 // len(values))
        values = np.kron(values, np.ones((factor, factor)))[None]
    rgb = np.moveaxis(np.broadcast_to(values, (3, *values.shape[1:])), 0, -1)
    tile = (np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8)
    return np.pad(tile, ((0, _GAP), (0, _GAP), (0, 0)), constant_values=40)


class Ticker:
    """Tells how far a stage is: the base class tells nobody."""

    def tick(self, fraction: float, line: str) -> None:
        """Take note of the done fraction in [0, 1] and of what to show beside it."""


class _Bar(Ticker):
    def __init__(self, bar: Any, task: Any) -> None:
        self._bar, self._task = bar, task

    def tick(self, fraction: float, line: str) -> None:
        self._bar.update(self._task, completed=fraction, line=line)


class _Lines(Ticker):
    def __init__(self, name: str) -> None:
        self._name = name

    def tick(self, fraction: float, line: str) -> None:
        say(f"{self._name} {fraction:6.1%}  {line}")


@contextmanager
def ticker(name: str, *, silent: bool) -> Iterator[Ticker]:
    """Yield a progress bar on a terminal, plain lines elsewhere, nothing when silent."""
    if silent:
        yield Ticker()
        return
    if not sys.stderr.isatty():
        yield _Lines(name)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    shown = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[line]}"),
    )
    with Progress(*shown, console=Console(stderr=True)) as bar:
        yield _Bar(bar, bar.add_task(name, total=1.0, line=""))


def time_left(seconds: float, fraction: float) -> str:
    """Return hours and minutes left, from the time that a fraction of the run took."""
    if fraction <= 0:
        return "?"
    left = seconds * (1 - fraction) / fraction
    hours, rest = divmod(int(left), _SECONDS_PER_HOUR)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"
