"""What a command line reads and what exists only in the viewer, as files.

Neither Qt nor torch here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray

from napari_deblur.errors import InputError, OutputError
from napari_deblur.files.images import write_image
from napari_deblur.plugin.commands import LAYER, input_files
from napari_deblur.plugin.kernel_layers import is_map
from napari_deblur.plugin.metadata import KEY
from napari_deblur.plugin.regions import Region

__all__ = ["save_inputs"]


def save_inputs(about: Mapping[str, Any], layers: Iterable[Any], folder: Path) -> list[Path]:
    """Write the files that a run's command reads and that must be written first.

    Parameters
    ----------
    about : mapping
        The run's record.
    layers : iterable of layers
        The viewer's layers.
    folder : Path
        Where to write.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    InputError
        When a layer is not there any more, or has another shape by now.
    OutputError
        When a file exists already or cannot be written.
    """
    known = {str(layer.name): layer for layer in layers}
    contents = {folder / name: what for name, what in input_files(about).items()}
    for path in contents:
        if path.exists():
            raise OutputError(f"'{path}' exists; choose another folder, or move the file away")
    arrays = {path: _array(what, about, known) for path, what in contents.items()}
    for path, (array, axes) in arrays.items():
        write_image(path, array, axes=axes)
    return list(arrays)


def _array(
    what: str, about: Mapping[str, Any], known: Mapping[str, Any]
) -> tuple[NDArray[Any], str | None]:
    source = about["source"]
    if what == "mask":
        height, width = (source["shape"][source["axes"].index(axis)] for axis in "YX")
        mask = Region.from_dict(about["found"]["region"]).within((height, width))
        return np.asarray(mask, np.uint8), "YX"
    if what == "kernel":
        kernel = about["parameters"]["kernel"]
        if isinstance(kernel, list):
            return np.asarray(kernel), "YX"
        layer = _layer(kernel[LAYER], known)
        if is_map(layer):
            return np.asarray(layer.metadata[KEY]["kernels"]), "IQYX"
        return np.asarray(layer.data), None
    layer = _layer(source["name"], known)
    data = layer.data[source["level"]] if layer.multiscale else layer.data
    if list(data.shape) != source["shape"]:
        raise InputError(
            f"{source['name']!r} has the shape {tuple(data.shape)} by now, and had "
            f"{tuple(source['shape'])} in that run: bring it back, or run again"
        )
    return np.asarray(data), source["axes"]


def _layer(name: str, known: Mapping[str, Any]) -> Image:
    layer = known.get(name)
    if not isinstance(layer, Image):
        raise InputError(f"there is no image layer {name!r} any more: bring it back, or run again")
    return layer
