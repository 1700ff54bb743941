"""The way of somebody who opens the plugin for the first time."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_deblur.defaults import DEFAULT_ROUNDS
from napari_deblur.plugin.metadata import KEY

pytestmark = pytest.mark.gui


def sharpness(image: np.ndarray) -> float:
    """Slope of the steepest per cent of the edges, noise averaged out over a pixel."""
    values = gaussian_filter(np.asarray(image, float), 0.8)
    return float(np.percentile(np.hypot(*np.gradient(values)), 99))


def test_from_a_sample_to_a_sharper_image(dock, finished):
    """Sample, kernel, kernel layer, deblurred layer, PSNR.

    The networks of the tests are untrained, so that the sharpening is shown with the true kernel:
    it comes from the deconvolution in front of the network, whose correction starts at nothing.
    """
    viewer, estimate = dock("Estimate blur kernel")
    viewer.open_sample("napari-deblur", "fluorescence")
    shaken = viewer.layers["cells shaken"]
    # A corner is enough here and quick on one core.
    for name in ("cells", "cells shaken"):
        viewer.layers[name].data = viewer.layers[name].data[:160, :160]
    estimate.source.image.value = shaken
    estimate._engine.refine.value = DEFAULT_ROUNDS
    finished(estimate)
    kernel = viewer.layers["kernel of cells shaken"]
    assert kernel.visible
    assert kernel.data.sum() == pytest.approx(1, abs=1e-3)

    truth = viewer.layers["true kernel of cells shaken"]
    _, deblur = dock("Deblur", viewer)
    deblur.source.image.value = shaken
    deblur._kernel.value = truth
    finished(deblur)
    result = viewer.layers["cells shaken deblurred"]
    assert sharpness(result.data) > 1.1 * sharpness(shaken.data)
    quality = result.metadata[KEY]["quality"]
    assert quality["psnr_after"] > quality["psnr_before"]
    assert f"{quality['psnr_after']:.1f} dB" in deblur.status
