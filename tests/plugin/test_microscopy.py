"""Real microscopy files, where they lie beside the checkout: each is deblurred as it comes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from napari.layers import Image, Layer

from napari_deblur.plugin.deblur_task import deblur_layer

pytestmark = pytest.mark.shared

# Names end as "xyzc_16bit__...": their axes, fastest first.
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


def opened(path: Path) -> Image:
    """Open a file as napari does, with axis labels, cut down to a corner of three planes."""
    with tifffile.TiffFile(path) as file:
        data, axes = file.series[0].asarray(), file.series[0].axes.lower()
    rgb = axes.endswith("s")
    labels = axes[:-1] if rgb else axes
    key = tuple(slice(200) if axis in "yx" else slice(3) for axis in labels)
    return Image(data[key], name=path.stem, rgb=rgb, axis_labels=tuple(labels))


@pytest.mark.parametrize("name", NAMES)
def test_a_real_file_is_deblurred(shared, tiny_model, name):
    path = shared / "microscopy" / f"{name}.tif"
    if not path.is_file():
        pytest.skip(f"{path.name} is not there")
    layer = opened(path)
    deblurred, kernels = (
        Layer.create(*made) for made in deblur_layer(layer, "pooled", model=tiny_model, refine=0)
    )
    assert deblurred.data.shape == layer.data.shape
    assert deblurred.data.dtype == layer.data.dtype
    assert deblurred.axis_labels == layer.axis_labels
    np.testing.assert_allclose(np.sum(kernels.data, axis=(-2, -1)), 1, atol=1e-3)
