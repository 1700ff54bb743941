"""Values get to the device and back unchanged and in order, however they are copied."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_deblur.engine import plans
from napari_deblur.engine.run import deblur_steps, drain
from napari_deblur.engine.simulate import shake
from napari_deblur.engine.transfers import Direct, Overlapped, Transfers, transfers_for

on_card = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def round_trips(transfers: Transfers, size: int, count: int) -> None:
    """Several images under way at once, each through work that takes its device a while."""
    images = np.random.default_rng(0).random((count, size, size), np.float32)
    results = np.zeros_like(images)
    waits = []
    for image, result in zip(images, results, strict=True):
        sent = transfers.send(image)
        worked = sent
        for _ in range(20):
            worked = torch.flip(worked, (0, 1)) + 1
        waits.append(transfers.fetch(worked - 20, result))
        del sent, worked
    for wait in waits:
        wait()
    np.testing.assert_allclose(results, images, rtol=0, atol=1e-5)


def test_a_processor_reads_the_array_itself_and_is_done_at_once() -> None:
    transfers = transfers_for(torch.device("cpu"))
    assert isinstance(transfers, Direct)
    values, result = np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros((2, 3), np.float32)
    round_trips(transfers, 64, 12)
    sent = transfers.send(values)
    assert sent.data_ptr() == values.ctypes.data
    wait = transfers.fetch(sent + 1, result)
    np.testing.assert_array_equal(result, values + 1)
    wait()


def test_results_come_to_the_arrays_that_they_are_for() -> None:
    transfers = transfers_for(torch.device("cpu"))
    results = np.zeros((3, 4, 5), np.float32)
    turned = torch.rand(5, 4).T  # not contiguous
    transfers.fetch(turned, results[1])()
    np.testing.assert_array_equal(results[1], turned.numpy())
    assert not results[[0, 2]].any()


@on_card
@pytest.mark.parametrize("size", [64, 1500])
def test_a_card_copies_while_it_computes_without_mixing_anything_up(size: int) -> None:
    transfers = transfers_for(torch.device("cuda", torch.cuda.current_device()))
    assert isinstance(transfers, Overlapped)
    round_trips(transfers, size, 12)


@on_card
def test_blocks_under_way_together_are_written_where_they_belong(model, monkeypatch) -> None:
    monkeypatch.setattr("napari_deblur.engine.pair.convolution_dtype", lambda _: torch.float32)
    monkeypatch.setattr(plans, "_LARGEST_BLOCK", 64)
    scene = np.kron(np.random.default_rng(5).random((50, 40)), np.ones((8, 8)))
    image, kernel = shake(scene.astype(np.float32), size=9, seed=1, noise=0.01)
    made = [
        drain(deblur_steps(image, kernel, model=model, noise=0.01, device=device)).image
        for device in ("cpu", "cuda")
    ]
    np.testing.assert_allclose(made[1], made[0], rtol=0, atol=1e-3)
