"""Sample data, all of it without a network connection.

One picture with real motion blur, and sharp ones that are shaken here, so that the truth is known:
the sharp image and the kernels come along as layers.
"""

from __future__ import annotations

import numpy as np
from napari.layers import Image
from napari.types import LayerDataTuple
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from napari_deblur.plugin.shake_task import shake_layer

__all__ = ["clock", "fluorescence", "photograph", "series"]

_CELLS = 14
_FILAMENTS = 60


def clock() -> list[LayerDataTuple]:
    """A clock, photographed with a camera that was moved during the exposure (grey, uint8).

    From scikit-image (`skimage.data.clock`), which has it from Stefan van der Walt.
    """
    from skimage import data

    picture = data.clock()  # type: ignore[no-untyped-call]
    return [(picture, {"name": "clock"}, "image")]


def photograph() -> list[LayerDataTuple]:
    """A cup of coffee, shaken with a known kernel (RGB, uint8).

    The sharp one is from scikit-image (`skimage.data.coffee`), by Rachel Michetti.
    """
    from skimage import data

    picture = data.coffee()  # type: ignore[no-untyped-call]
    return _with_truth(Image(picture, name="coffee", rgb=True), size=21, seed=4)


def fluorescence() -> list[LayerDataTuple]:
    """Drawn cells with filaments, shaken with a known kernel (grey, uint16, calibrated)."""
    picture = _draw_cells(np.random.default_rng(7), 400)
    layer = Image(
        picture,
        name="cells",
        colormap="green",
        scale=(0.2, 0.2),
        units=("µm", "µm"),
        axis_labels=("y", "x"),
        contrast_limits=_limits(picture),
    )
    return _with_truth(layer, size=15, seed=11)


def series() -> list[LayerDataTuple]:
    """Drawn cells that drift, each frame shaken with another known kernel (T, Y, X, uint16)."""
    picture = _draw_cells(np.random.default_rng(3), 300)
    frames = np.stack([picture[n * 6 : n * 6 + 256, n * 4 : n * 4 + 256] for n in range(5)])
    layer = Image(
        frames,
        name="drifting cells",
        colormap="green",
        scale=(2.0, 0.2, 0.2),
        units=("s", "µm", "µm"),
        axis_labels=("t", "y", "x"),
        contrast_limits=_limits(picture),
    )
    return _with_truth(layer, size=15, seed=21)


def _with_truth(sharp: Image, *, size: int, seed: int) -> list[LayerDataTuple]:
    """The shaken layer; above it, hidden, the sharp one and the kernels that it was shaken with.

    The shaken one comes first, because widgets offer the first layer first.
    """
    shaken, kernels = shake_layer(sharp, size=size, seed=seed, noise=0.002)
    data, attributes, kind = sharp.as_layer_data_tuple()
    kernels[1]["visible"] = attributes["visible"] = False
    return [shaken, (data, attributes, kind), kernels]


def _limits(picture: NDArray[np.uint16]) -> tuple[float, float]:
    """Contrast limits in which filaments can be seen beside bright spots."""
    return 0.0, float(np.percentile(picture, 99.5))


def _draw_cells(rng: np.random.Generator, side: int) -> NDArray[np.uint16]:
    """Nuclei, filaments and bright spots on a dark ground, sharp to about a pixel."""
    rows, columns = np.mgrid[:side, :side].astype(float)
    light = np.zeros((side, side))
    grain = gaussian_filter(rng.standard_normal((side, side)), 2)
    for _ in range(_CELLS):
        y, x = rng.uniform(0, side, 2)
        long, short = rng.uniform(14, 24), rng.uniform(9, 15)
        angle = rng.uniform(0, np.pi)
        u = (columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)
        v = (rows - y) * np.cos(angle) - (columns - x) * np.sin(angle)
        inside = np.clip((1 - (u / long) ** 2 - (v / short) ** 2) * 6, 0, 1)
        light = np.maximum(light, inside * (0.35 + 1.2 * np.abs(grain)))
    for _ in range(_FILAMENTS):
        _draw_filament(light, rng)
    spots = np.zeros((side, side))
    at = rng.integers(0, side, (2, 2 * side // 5))
    spots[tuple(at)] = rng.uniform(2, 6, at.shape[1])
    light += gaussian_filter(spots, 0.9)
    picture: NDArray[np.uint16] = np.clip(300 + 9000 * light, 0, 65535).astype(np.uint16)
    return picture


def _draw_filament(light: NDArray[np.float64], rng: np.random.Generator) -> None:
    """Add one thin line whose direction wanders."""
    side, steps = light.shape[0], 400
    angle = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.03, steps))
    path = rng.uniform(0, side, (2, 1)) + np.cumsum([np.sin(angle), np.cos(angle)], axis=1) * 0.5
    line = np.zeros_like(light)
    y, x = np.rint(path).astype(int)
    inside = (y >= 0) & (y < side) & (x >= 0) & (x < side)
    line[y[inside], x[inside]] = 1
    light += 0.9 * gaussian_filter(line, 0.7)
