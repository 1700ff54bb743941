"""A run can be watched, cancelled within a tile, and outlived by nothing."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from napari_deblur.errors import InputError
from napari_deblur.plugin.run import State, activity, time_left
from napari_deblur.plugin.tasks import Opened, Step, Written, finish, follow, where

TILE = 0.05  # seconds that a tile of the slow task takes
STAGES = ("load", "kernel", "refine", "deblur")


@pytest.fixture
def slow(monkeypatch):
    """Let the deblur widget run a task of many tiles, and note its life."""
    life = {"tiles": 0, "closed": threading.Event(), "threads": set()}

    def task(request):
        out = np.zeros(request.layer.data.shape, request.layer.data.dtype)
        try:
            yield Opened((out, {"name": "half"}, "image"))
            for tile in range(400):
                yield Step(tile / 400, f"Deblurring, tile {tile + 1} of 400")
                life["tiles"] += 1
                life["threads"].add(threading.current_thread())
                time.sleep(TILE)
                yield Written(out)
        finally:
            life["closed"].set()
        return [(out, {"name": "half", "metadata": {}}, "image")]

    monkeypatch.setattr("napari_deblur.plugin.deblur_dock.deblur_task", task)
    return life


@pytest.fixture
def running(dock, slow, qtbot, make_layer):
    viewer, widget = dock("Deblur")
    viewer.add_layer(make_layer("tyx"))
    widget._run.native.click()
    qtbot.waitUntil(lambda: slow["tiles"] >= 2, timeout=10_000)
    qtbot.waitUntil(lambda: "half" in viewer.layers, timeout=10_000)
    return viewer, widget


@pytest.mark.gui
def test_cancel_takes_effect_within_a_tile_and_leaves_no_half_layer(running, slow, qtbot):
    viewer, widget = running
    before = slow["tiles"]
    widget._cancel.native.click()
    assert widget.state is State.CANCELLING
    assert widget._cancel.text == "Cancelling…"
    assert widget.status == "Cancelling…"
    qtbot.waitUntil(lambda: widget.state is State.IDLE, timeout=10_000)
    assert slow["tiles"] <= before + 1
    assert slow["closed"].is_set()
    assert [layer.name for layer in viewer.layers] == ["tyx"]
    assert "Cancelled" in widget.status
    assert widget._run.enabled


@pytest.mark.gui
def test_the_work_is_done_beside_the_main_thread(running, slow, qtbot):
    _, widget = running
    widget.cancel()
    qtbot.waitUntil(lambda: widget.state is State.IDLE, timeout=10_000)
    assert threading.main_thread() not in slow["threads"]


@pytest.mark.gui
def test_the_activity_dock_shows_the_run_and_can_cancel_it(running, slow, qtbot):
    from napari.utils import progress

    _, widget = running
    bars = [bar for bar in progress._all_instances if "Deblur" in bar.desc]
    assert len(bars) == 1
    assert 0 < bars[0].n < bars[0].total
    assert "left" in widget.status
    bars[0].cancel()
    qtbot.waitUntil(lambda: widget.state is State.IDLE, timeout=10_000)
    assert slow["closed"].is_set()
    assert not [bar for bar in progress._all_instances if "Deblur" in bar.desc]


@pytest.mark.gui
def test_a_main_thread_that_was_busy_catches_up(dock, monkeypatch, qtbot, make_layer):
    """Steps wait for it by the hundred, and napari's bar runs them inside of each other."""
    left = threading.Event()

    def task(request):
        yield from (Step(tile / 3000, f"tile {tile} of 3000") for tile in range(3000))
        left.set()
        return [(request.layer.data, {"name": "made", "metadata": {}}, "image")]

    monkeypatch.setattr("napari_deblur.plugin.deblur_dock.deblur_task", task)
    viewer, widget = dock("Deblur")
    viewer.add_layer(make_layer("yx uint8"))
    widget._run.native.click()
    assert left.wait(60), "the worker goes on by itself while nobody listens"
    qtbot.waitUntil(lambda: widget.state is State.IDLE, timeout=60_000)
    assert "made" in viewer.layers


@pytest.mark.gui
def test_a_second_run_has_to_wait(running, dock, qtbot):
    viewer, widget = running
    _, other = dock("Simulate camera shake", viewer)
    other.source.image.value = viewer.layers["tyx"]
    assert not other._run.enabled
    assert "Deblur: tyx is running" in other._run.tooltip
    with pytest.raises(RuntimeError, match="is running"):
        other._runner.start(iter(()), "another")
    widget.cancel()
    qtbot.waitUntil(lambda: other._run.enabled, timeout=10_000)


@pytest.mark.gui
def test_closing_the_viewer_ends_the_run(running, slow, qtbot):
    viewer, _ = running
    viewer.close()
    qtbot.waitUntil(lambda: not activity.title, timeout=10_000)
    before = slow["tiles"]
    time.sleep(3 * TILE)
    assert slow["tiles"] == before


@pytest.mark.gui
def test_deleting_the_layer_that_is_being_filled_does_no_harm(running, qtbot):
    viewer, widget = running
    viewer.layers.remove("half")
    qtbot.wait(200)
    widget.cancel()
    qtbot.waitUntil(lambda: widget.state is State.IDLE, timeout=10_000)
    assert [layer.name for layer in viewer.layers] == ["tyx"]


@pytest.mark.gui
@pytest.mark.parametrize("error", [InputError("say why"), RuntimeError("a tensor is sad")])
def test_an_error_ends_the_run_and_is_said(dock, monkeypatch, qtbot, make_layer, error):
    def task(request):
        yield Step(0.1, "Trying")
        raise error

    monkeypatch.setattr("napari_deblur.plugin.deblur_dock.deblur_task", task)
    viewer, widget = dock("Deblur")
    viewer.add_layer(make_layer("yx uint8"))
    if isinstance(error, InputError):
        widget._run.native.click()
        qtbot.waitUntil(lambda: widget.state is State.IDLE, timeout=10_000)
    else:
        from napari.utils.notifications import notification_manager

        told = []
        monkeypatch.setattr(notification_manager, "receive_error", lambda *e: told.append(e[1]))
        widget._run.native.click()
        qtbot.waitUntil(lambda: widget.state is State.IDLE, timeout=10_000)
        assert told == [error]
    assert str(error) in widget.status
    assert not activity.title


def test_follow_counts_through_the_stages_and_closes_the_engine():
    from napari_deblur.engine.progress import Progress

    closed = []

    def engine():
        try:
            for stage, total in (("load", 1), ("kernel", 2), ("refine", 3), ("deblur", 4)):
                for done in range(total + 1):
                    yield Progress(stage, done, total)
        finally:
            closed.append(True)
        return "result"

    task = follow(engine(), stages=STAGES, start=0.5, share=0.5, where=" in x")
    steps, results = [], []

    def listen():
        results.append((yield from task))

    steps.extend(listen())
    assert results == ["result"]
    done = [step.done for step in steps]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0.5, 1.0)
    assert steps[-2].message == "Deblurring in x, tile 4 of 4"
    again = follow(engine(), stages=STAGES)
    next(again)
    again.close()
    assert closed == [True, True]


def test_finish_returns_the_result():
    def task():
        yield Step(0, "")
        return 3

    assert finish(task()) == 3


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""),
        (2, "a few seconds left"),
        (43, "about 45 s left"),
        (200, "about 3 min left"),
        (7200, "about 2.0 h left"),
    ],
)
def test_time_left_is_said_as_people_do(seconds, words):
    assert time_left(seconds) == words


def test_planes_are_named_only_where_there_are_several():
    assert where(0, 1) == ""
    assert where(2, 5, "patch") == " in patch 3 of 5"
