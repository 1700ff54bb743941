"""The engine: goes on bit for bit, survives kill -9, a full disk and a loss that is no number."""

from __future__ import annotations

import csv
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from toy import ToyTask, run_toy, toy_batch

from napari_deblur.errors import OutputError, RecipeError
from napari_deblur.training import checkpoints
from napari_deblur.training.checkpoints import latest_checkpoint
from napari_deblur.training.fit import Interrupted, TrainingError

if TYPE_CHECKING:
    from napari_deblur.training.fit import Outcome

TOY = Path(__file__).with_name("toy.py")


def _equal(first: Outcome, second: Outcome) -> bool:
    states = first.module.state_dict(), second.module.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.safetensors"))


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_resumed_run_is_bit_for_bit_the_uninterrupted_one(
    tmp_path: Path, schedule: str, optimizer: str
) -> None:
    settings = {"schedule": schedule, "optimizer": optimizer, "epoch": 2, "patience": 1}
    whole = run_toy(tmp_path / "whole", **settings)
    resumed = tmp_path / "resumed"
    run_toy(resumed, **settings)
    (resumed / "checkpoint-000000012.safetensors").unlink()
    assert latest_checkpoint(resumed).state["run"]["step"] == 8  # type: ignore[union-attr]
    assert _equal(run_toy(resumed, **settings), whole)
    for name in ("training.csv", "validation.csv"):
        assert _steps(resumed / name) == _steps(tmp_path / "whole" / name)


def _steps(path: Path) -> list[str]:
    with path.open(encoding="utf-8") as file:
        return [row["step"] for row in csv.DictReader(file)]


def test_run_killed_with_a_checkpoint_half_written_goes_on_bit_for_bit(tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    process = _script("killed", folder)
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert _files(folder) == ["checkpoint-000000004.safetensors"]
    assert _equal(run_toy(folder), run_toy(tmp_path / "whole"))


def test_two_processes_make_the_steps_of_one(tmp_path: Path) -> None:
    process = _script("two", tmp_path)
    assert process.returncode == 0, process.stderr
    ranks = [torch.load(tmp_path / f"rank-{i}.pt", weights_only=True) for i in range(2)]
    task = ToyTask()
    run_toy(tmp_path / "one", task=task)
    for name, value in task.module.state_dict().items():
        assert torch.equal(ranks[0][name], ranks[1][name])
        torch.testing.assert_close(ranks[0][name], value, rtol=1e-4, atol=1e-6)


def _script(what: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOY), what, str(folder)]
    folder.mkdir(exist_ok=True)
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


def test_last_two_checkpoints_are_kept_and_a_damaged_one_is_passed_over(tmp_path: Path) -> None:
    run_toy(tmp_path)
    names = ["checkpoint-000000008.safetensors", "checkpoint-000000012.safetensors"]
    assert _files(tmp_path) == names
    newest = tmp_path / names[1]
    newest.write_bytes(newest.read_bytes()[:500])
    assert latest_checkpoint(tmp_path).path.name == names[0]  # type: ignore[union-attr]


def test_full_disk_keeps_the_checkpoint_before_and_stops_after_three(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_toy(tmp_path, steps=4)
    before = (tmp_path / "checkpoint-000000004.safetensors").read_bytes()
    tries = []

    def full(tensors: Any, path: Path, metadata: Any) -> None:
        del tensors, metadata
        tries.append(path)
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(OutputError, match=r"checkpoint-000000016.*disk is full"):
        run_toy(tmp_path, steps=40)
    assert len(tries) == 3
    assert _files(tmp_path) == ["checkpoint-000000004.safetensors"]
    assert (tmp_path / "checkpoint-000000004.safetensors").read_bytes() == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_resume_from_another_recipe_is_refused(tmp_path: Path) -> None:
    run_toy(tmp_path, steps=4)
    with pytest.raises(RecipeError, match="another recipe, data or seed"):
        run_toy(tmp_path, fingerprint="other")


def test_non_finite_loss_is_skipped_and_counted(tmp_path: Path) -> None:
    calls = []

    def spoil(loss: torch.Tensor) -> torch.Tensor:
        calls.append(loss)
        return loss * float("nan") if len(calls) in {3, 4} else loss

    outcome = run_toy(tmp_path, task=ToyTask(spoil), bad_steps=2)
    assert outcome.skipped == 2
    assert all(value.isfinite().all() for value in outcome.module.state_dict().values())


def test_loss_that_stays_non_finite_stops_the_run_with_a_message(tmp_path: Path) -> None:
    task = ToyTask(lambda loss: loss * float("inf"))
    with pytest.raises(TrainingError, match=r"'toy'.*not finite for 4 steps.*learning rate"):
        run_toy(tmp_path, task=task, bad_steps=3)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_writes_a_checkpoint_and_stops(tmp_path: Path, number: int) -> None:
    calls = []

    def spoil(loss: torch.Tensor) -> torch.Tensor:
        calls.append(loss)
        if len(calls) == 3:
            os.kill(os.getpid(), number)
        return loss

    with pytest.raises(Interrupted):
        run_toy(tmp_path, task=ToyTask(spoil))
    assert _files(tmp_path) == ["checkpoint-000000003.safetensors"]
    assert _equal(run_toy(tmp_path), run_toy(tmp_path / "whole"))


def test_minutes_end_the_run_and_its_schedule(tmp_path: Path) -> None:
    outcome = run_toy(tmp_path, minutes=0.02, steps=10**6, validate_every=10**6)
    assert 1.2 <= outcome.seconds < 10
    with (tmp_path / "training.csv").open(encoding="utf-8") as file:
        last = list(csv.DictReader(file))[-1]
    assert float(last["learning rate"]) < 3e-3 * 0.1


def test_loss_falls_and_the_averaged_weights_follow(tmp_path: Path) -> None:
    before = ToyTask()
    first = before.measure(before.module, toy_batch(0))["error"].mean().item()
    outcome = run_toy(tmp_path, steps=60, warmup=0, learning_rate=2e-2)
    assert outcome.figures["error"] < 0.5 * first


def test_nothing_is_pickled() -> None:
    package = Path(checkpoints.__file__).parent
    for path in package.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "pickle" not in text.replace("allow_pickle=False", "").replace("is pickled", "")
        assert "torch.save" not in text
        assert "torch.load(" not in text
