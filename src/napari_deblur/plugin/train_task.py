"""Training on one's own images, as a task: the training package in a process of its own.

The package is driven as from the shell (``python -m napari_deblur.training``), so that a training
run has its memory and its threads for itself, can be stopped and gone on with there as well as
here, and is exactly the one that the command line makes.  Stopping sends it SIGTERM (Windows:
ends it), upon which it writes a checkpoint.

Neither Qt nor torch here.
"""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from napari.layers import Image

from napari_deblur.errors import InputError, RecipeError
from napari_deblur.plugin.tasks import Step, Task, finish
from napari_deblur.plugin.train_images import save_layers

__all__ = [
    "TrainRequest",
    "is_begun",
    "losses",
    "model_folder",
    "stages_of",
    "train_on_layers",
    "train_task",
]

_PERCENT = re.compile(r"^(\S+)\s+([\d.]+)%\s+(.*)$")
_IMAGES, _START = "images", "start"


@dataclass(frozen=True, eq=False)
class TrainRequest:
    """What to train.

    Attributes
    ----------
    out : Path
        Folder of the run; going on with a run means giving the same one.
    layers : sequence of Image layers
        Sharp images; saved into the run's folder.
    folder : Path, optional
        Folder of sharp images to train on besides.
    start : str
        Model to fine-tune, a name or a folder; empty to train from scratch.
    recipe : str
        "compact", "tiny", "paper", or the path of a .toml file.
    minutes : float, optional
        Time for all of it; None for the recipe's own number of steps.
    """

    out: Path
    layers: Sequence[Image] = ()
    folder: Path | None = None
    start: str = ""
    recipe: str = "compact"
    minutes: float | None = None


def train_on_layers(
    layers: Sequence[Image],
    out: Path | str,
    *,
    folder: Path | str | None = None,
    start: str = "default",
    recipe: str = "compact",
    minutes: float | None = None,
) -> Path:
    """Fine-tune a model on sharp image layers, or train one from scratch.

    Parameters
    ----------
    layers : sequence of Image layers
        Sharp images; may be empty where there is a folder of them.
    out : Path or str
        Folder of the run.  That of an earlier run goes on with it.
    folder : Path or str, optional
        Folder of sharp images to train on besides.
    start : str
        Model to fine-tune, a name or a folder; empty to train from scratch.
    recipe : str
        "compact", "tiny", "paper", or the path of a .toml file; of the architecture of `start`.
    minutes : float, optional
        Time for all of it; None for the recipe's own number of steps.

    Returns
    -------
    Path
        Folder of the trained model, which the other functions take as `model`.

    Raises
    ------
    InputError
        When there are no images.
    RecipeError
        When the training stops with an error, which the message names.
    """
    request = TrainRequest(
        Path(out),
        tuple(layers),
        None if folder is None else Path(folder),
        start,
        recipe,
        minutes,
    )
    finish(train_task(request))
    return model_folder(request.out)


def is_begun(out: Path) -> bool:
    """Whether a folder holds a run that can go on."""
    return any(out.glob("*/checkpoint-*.safetensors"))


def stages_of(request: TrainRequest) -> list[str]:
    """Return the training package's stages that a request runs, in order."""
    if request.start:
        return ["joint"]
    from napari_deblur.training.recipe_files import load_recipe

    return load_recipe(request.recipe).stage.of_pair()


def model_folder(out: Path) -> Path:
    """Return the folder that holds the trained model in the end, ready for other widgets."""
    return out / "joint"


def losses(out: Path) -> dict[str, tuple[list[float], list[float]]]:
    """Read steps and losses that a run has logged so far, for each of its stages."""
    found = {}
    for path in sorted(out.glob("*/training.csv")):
        steps, values = [], []
        with (
            suppress(OSError, ValueError, KeyError, TypeError),
            path.open(encoding="utf-8") as file,
        ):
            for row in csv.DictReader(file):
                step, value = float(row["step"]), float(row["loss"])
                steps.append(step)
                values.append(value)
        if steps:
            found[path.parent.name] = steps, values
    return found


def train_task(request: TrainRequest) -> Task:
    """Prepare the work.

    Raises
    ------
    InputError
        When there are no images, or the training package cannot run here.
    """
    if not request.layers and request.folder is None:
        raise InputError("there is nothing to train on: select image layers or give a folder")
    if request.folder is not None and not request.folder.is_dir():
        raise InputError(f"{request.folder} is no folder: choose one that holds sharp images")
    return _train(request, stages_of(request))


def _train(request: TrainRequest, stages: list[str]) -> Task:
    yield Step(0, "Saving the images")
    data = [] if request.folder is None else [request.folder]
    if request.layers:
        save_layers(request.layers, request.out / _IMAGES)
        data.append(request.out / _IMAGES)
    settings = [f"machine.checkpoint_minutes={_CHECKPOINT_MINUTES}"]
    if request.start:
        settings.append(f"stage.joint.start={_copy_start(request.start, request.out / _START)}")
    for number, stage in enumerate(stages):
        minutes = None if request.minutes is None else request.minutes / len(stages)
        command = _command(request, stage, data, settings, minutes)
        yield from _drive(command, number / len(stages), 1 / len(stages))
    return []


_CHECKPOINT_MINUTES = 5


def _command(
    request: TrainRequest,
    stage: str,
    data: Sequence[Path],
    settings: Sequence[str],
    minutes: float | None,
) -> list[str]:
    words = [sys.executable, "-m", "napari_deblur.training", stage, "--recipe", request.recipe]
    words += [word for path in data for word in ("--data", str(path))]
    words += [word for setting in settings for word in ("--set", setting)]
    if minutes is not None:
        words += ["--minutes", str(minutes)]
    # Nothing to go on with is no error: the stage then begins.
    return [*words, "--out", str(request.out), "--resume"]


def _drive(command: Sequence[str], start: float, share: float) -> Generator[Step, None, None]:
    """Run a process to its end, and stop it where nobody wants it any more."""
    process = subprocess.Popen(  # noqa: S603 - this interpreter, and no shell
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    lines: deque[str] = deque(maxlen=20)
    reader = threading.Thread(target=_read, args=(process, lines), daemon=True)
    reader.start()
    try:
        while process.poll() is None:
            yield _step(lines, start, share)
            time.sleep(_GLANCE)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
        reader.join(timeout=5)
    if process.returncode:
        said = lines[-1] if lines else f"it ended with code {process.returncode}"
        raise RecipeError(f"training stopped: {said}")


_GLANCE = 0.3  # seconds between two looks at the process


def _read(process: subprocess.Popen[str], lines: deque[str]) -> None:
    assert process.stderr is not None
    with process.stderr as stream:
        for line in stream:
            if line.strip():
                lines.append(line.strip())


def _step(lines: deque[str], start: float, share: float) -> Step:
    for line in reversed(list(lines)):
        found = _PERCENT.match(line)
        if found:
            stage, percent, text = found.groups()
            # The time that this stage has left; a step tells that of all of them.
            text = re.sub(r"\s+left \S+$", "", text)
            return Step(start + share * float(percent) / 100, f"{stage}: {text}")
    return Step(start, lines[-1] if lines else "Starting the training")


def _copy_start(model: str, folder: Path) -> Path:
    """Put the two files of a model to where the training package looks for them."""
    import shutil

    from napari_deblur.weights.fetch import weights_path
    from napari_deblur.weights.registry import find_model, find_weights

    entry = find_model(model)
    folder.mkdir(parents=True, exist_ok=True)
    for kind in ("analysis", "synthesis"):
        target = folder / f"{kind}.safetensors"
        if not target.exists():  # the same ones when a run goes on
            shutil.copyfile(weights_path(find_weights(getattr(entry, kind))), target)
    return folder
