"""What is played back is what the function would have done."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from napari_deblur.networks import graphs
from napari_deblur.networks.fold import FoldedUNet, fold
from napari_deblur.networks.graphs import Recording, Replayed
from napari_deblur.networks.presets import PRESETS
from napari_deblur.networks.synthesis import SynthesisNetwork

on_card = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def unet_on_card() -> tuple[FoldedUNet, int]:
    """A U-Net in bfloat16 for one kernel, and how many channels enter it."""
    torch.manual_seed(0)
    network = SynthesisNetwork(PRESETS["tiny"].synthesis).unet.cuda()
    torch.nn.init.normal_(network.last.weight, std=0.05)
    size = PRESETS["tiny"].synthesis.kernel_size
    kernel = torch.full((size, size), 1 / size**2, device="cuda")
    entering = network.encode[0].convolutions[0].in_channels
    return fold(network, kernel, torch.bfloat16), entering


def tiles(entering: int, count: int, side: int = 64) -> list[Tensor]:
    return [torch.rand(1, entering, side, side, device="cuda") for _ in range(count)]


def test_few_calls_and_large_images_are_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("recorded")

    monkeypatch.setattr(graphs, "Recording", refuse)
    monkeypatch.setattr(graphs, "_LARGEST", 16)
    double = Replayed(lambda image: 2 * image)
    small, large = torch.ones(1, 1, 4, 4), torch.ones(1, 1, 4, 5)
    for image in [small] * 7 + [large] * 20:
        torch.testing.assert_close(double(image), 2 * image)
    with pytest.raises(AssertionError, match="recorded"):
        double(small)


def test_what_cannot_be_recorded_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def fail(*_: object) -> None:
        tried.append(1)
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(graphs, "Recording", fail)
    double = Replayed(lambda image: 2 * image)
    for value in range(20):
        image = torch.full((1, 1, 4, 4), float(value))
        torch.testing.assert_close(double(image), 2 * image)
    assert len(tried) == 1


@on_card
def test_a_recording_does_what_the_network_does_with_every_image() -> None:
    unet, entering = unet_on_card()
    first, *others = tiles(entering, 6)
    recording = Recording(unet, first)
    # All before any is looked at: no result may be written over by the next.
    played = [recording(image) for image in others]
    for image, result in zip(others, played, strict=True):
        torch.testing.assert_close(result, unet(image), rtol=1e-3, atol=1e-3)
    assert not torch.equal(played[0], played[1])


@on_card
def test_a_network_that_is_called_often_is_recorded_and_gives_the_same() -> None:
    unet, entering = unet_on_card()
    replayed = Replayed(unet)
    for image in tiles(entering, 12):
        torch.testing.assert_close(replayed(image), unet(image), rtol=1e-3, atol=1e-3)
    assert replayed._recording is not None
    (other,) = tiles(entering, 1, side=80)
    torch.testing.assert_close(replayed(other), unet(other), rtol=1e-3, atol=1e-3)


@on_card
def test_a_function_that_looks_at_values_is_called_as_before_and_harms_nothing() -> None:
    def looks(image: Tensor) -> Tensor:
        return image * float(image.sum())

    replayed = Replayed(looks)
    stream = torch.cuda.current_stream()
    for image in tiles(1, 12, side=8):
        torch.testing.assert_close(replayed(image), looks(image))
    assert replayed._recording is None
    assert torch.cuda.current_stream() == stream
