"""Real microscopy files, where they lie beside the checkout: opened and deblurred in the viewer."""

from __future__ import annotations

import numpy as np
import pytest
from npe2 import PluginManifest

pytestmark = [pytest.mark.shared, pytest.mark.gui]

# Names begin with their axes, fastest first.
NAMES = (
    "xy_12bit__saturated_plant",
    "xy_16bit__rat_hippocampal_neuron",
    "xy_8bit__nup_bgsubtracted",
    "xyc_16bit__hela-cells",
    "xyt_8bit__em_fly_eye",
    "xyt_calibrated_16bit__golgi_bfa_sum_projection",
    "xyz_8bit_calibrated_anisotropic__mri_head",
    "xyzc_16bit__dna_conf_wf",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_real_file_is_deblurred(shared, dock, finished, npe2pm, name):
    path = shared / "microscopy" / f"{name}.tif"
    if not path.is_file():
        pytest.skip(f"{path.name} is not there")
    npe2pm.register(PluginManifest.from_distribution("napari"))  # its readers
    viewer, widget = dock("Deblur")
    [layer] = viewer.open(path, plugin="napari")
    assert widget._run.enabled, widget._run.tooltip
    layer.data = corner(layer)
    widget.source.image.value = layer
    finished(widget)
    assert "Done" in widget.status
    deblurred, kernels = (viewer.layers[f"{layer.name} deblurred"], viewer.layers[-1])
    assert deblurred.data.shape == layer.data.shape
    assert deblurred.data.dtype == layer.data.dtype
    assert deblurred.axis_labels == layer.axis_labels
    np.testing.assert_allclose(deblurred.extent.world, layer.extent.world)
    np.testing.assert_allclose(np.sum(kernels.data, axis=(-2, -1)), 1, atol=1e-3)


def corner(layer):
    """The first three planes of each axis, and of them a corner of 160 x 160 pixels."""
    key = [slice(3)] * (layer.ndim - 2) + [slice(160)] * 2
    return np.asarray(layer.data[tuple(key)])
