"""Sample data open without a network and carry the truth."""

from __future__ import annotations

import socket

import numpy as np
import pytest
from napari.layers import Layer
from scipy.signal import fftconvolve

from napari_deblur.plugin import samples
from napari_deblur.plugin.metadata import KEY


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def refuse(*_):
        raise OSError("there is no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_the_clock_is_as_it_was_photographed():
    [(data, attributes, _)] = samples.clock()
    assert data.shape == (300, 400)
    assert attributes["name"] == "clock"


@pytest.mark.parametrize("make", [samples.photograph, samples.fluorescence, samples.series])
def test_shaken_samples_carry_the_sharp_image_and_the_kernels(make):
    shaken, sharp, kernels = (Layer.create(*each) for each in make())
    assert shaken.visible
    assert not sharp.visible
    assert sharp.data.shape == shaken.data.shape
    assert shaken.metadata[KEY]["truth"] == sharp.name
    assert kernels.metadata[KEY]["kind"] == "true kernel"
    # The frame is the sharp one convolved with its kernel, away from the borders.
    frame, light, kernel = (np.asarray(each.data, float) for each in (shaken, sharp, kernels))
    if shaken.ndim == 3:
        frame, light, kernel = frame[1], light[1], kernel[1]
    if shaken.rgb:
        frame, light = frame[..., 0], light[..., 0]
    margin = kernel.shape[0]
    blurred = fftconvolve(light, kernel, mode="same")
    inner = (slice(margin, -margin),) * 2
    difference = np.abs(blurred[inner] - frame[inner]).mean()
    assert difference < 0.1 * np.abs(light[inner] - frame[inner]).mean() + 0.01 * np.ptp(light)


def test_each_frame_of_the_series_was_shaken_differently():
    kernels = samples.series()[2][0]
    assert np.abs(np.diff(kernels, axis=0)).sum(axis=(1, 2)).min() > 0.3
    np.testing.assert_allclose(kernels.sum(axis=(1, 2)), 1, rtol=1e-5)
