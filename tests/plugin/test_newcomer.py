"""The way of somebody who opens the plugin for the first time, with the weights that ship."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift

from napari_deblur.defaults import DEFAULT_ROUNDS
from napari_deblur.plugin.metadata import KEY

pytestmark = [pytest.mark.gui, pytest.mark.slow]

SIDE = 200  # pixels of the sample's corner: quick on one core


def sharpness(image: np.ndarray) -> float:
    """Slope of the steepest per cent of the edges, noise averaged out over a pixel."""
    values = gaussian_filter(np.asarray(image, float), 0.8)
    return float(np.percentile(np.hypot(*np.gradient(values)), 99))


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of two centred kernels at the best shift of a few pixels."""
    side = max(len(one), len(other)) + 8
    one, other = (np.pad(each, (side - len(each)) // 2) for each in (one, other))
    shifts = [(a, b) for a in range(-4, 5) for b in range(-4, 5)]
    products = [float((one * shift(other, by, order=0)).sum()) for by in shifts]
    return max(products) / float(np.linalg.norm(one) * np.linalg.norm(other))


def test_from_a_sample_to_a_sharper_image(dock, finished):
    """Sample, kernel, kernel layer, deblurred layer, PSNR: every field as it is found."""
    viewer, estimate = dock("Estimate blur kernel")
    viewer.open_sample("napari-deblur", "fluorescence")
    shaken = viewer.layers["cells shaken"]
    for name in ("cells", "cells shaken"):
        viewer.layers[name].data = viewer.layers[name].data[:SIDE, :SIDE]
    estimate.source.image.value = shaken
    as_shipped(estimate)
    finished(estimate)
    kernel = viewer.layers["kernel of cells shaken"]
    assert kernel.visible
    assert kernel.data.sum() == pytest.approx(1, abs=1e-3)
    truth = viewer.layers["true kernel of cells shaken"]
    assert likeness(np.asarray(kernel.data), np.asarray(truth.data)) > 0.7

    _, deblur = dock("Deblur", viewer)
    deblur.source.image.value = shaken
    as_shipped(deblur)
    assert deblur._kernel.value == kernel, "what was estimated is used"
    finished(deblur)
    result = viewer.layers["cells shaken deblurred"]
    assert sharpness(result.data) > 1.1 * sharpness(shaken.data)
    quality = result.metadata[KEY]["quality"]
    assert quality["psnr_after"] > quality["psnr_before"] + 1
    assert f"{quality['psnr_after']:.1f} dB" in deblur.status


def as_shipped(widget):
    """Take back what the tests set for the sake of speed."""
    widget._engine.model.value = widget._engine.model.choices[0]
    widget._engine.refine.value = DEFAULT_ROUNDS
