"""How a result was made: enough to make it again from the command line or from Python.

A `Record` goes into ``layer.metadata["napari-deblur"]`` as a plain dictionary; `command_line` and
`python_code` make of that dictionary what a button copies.

Neither Qt nor torch here.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import PurePath
from typing import Any

from napari.layers import Image

from napari_deblur.plugin.metadata import KEY
from napari_deblur.plugin.slices import LayerView

__all__ = ["LAYER", "Record", "command_line", "describe", "python_code", "record_of"]

LAYER = "layer"
"""Key under which a parameter that is a layer gives its name."""


@dataclass(frozen=True)
class Record:
    """What a result was made from, with and by.

    Attributes
    ----------
    kind : str
        "deblurred", "kernel", "kernel map", "shaken" or "true kernel".
    source : dict
        Name, file, shape, dtype and level of the layer that it was made from.
    parameters : dict
        Every parameter, by its name in the function of `napari_deblur.plugin` that does it.
    model : str
        Name of the model, or its folder; empty where none was used.
    sha256 : dict
        Hash of each of the model's files.
    device : str
        Where it was computed.
    seconds : float
        How long it took.
    version : str
        Of this package.
    """

    kind: str
    source: dict[str, Any]
    parameters: dict[str, Any] = field(default_factory=dict)
    model: str = ""
    sha256: dict[str, str] = field(default_factory=dict)
    device: str = ""
    seconds: float = 0.0
    version: str = field(default_factory=lambda: version("napari-deblur"))

    def as_dict(self) -> dict[str, Any]:
        """Plain dictionary, with the command line and the Python code that repeat the run."""
        about = asdict(self)
        about["command_line"] = command_line(about)
        about["python"] = python_code(about)
        return about


def describe(layer: Image, view: LayerView) -> dict[str, Any]:
    """Describe the layer that a result is made from."""
    path = layer.source.path
    return {
        "name": str(layer.name),
        "path": str(path) if path else "",
        "shape": list(view.shape),
        "dtype": str(view.dtype),
        "level": view.level,
    }


def record_of(layer: Any) -> dict[str, Any] | None:
    """Return what is known of how a layer was made; None if it was not made here."""
    about = layer.metadata.get(KEY) if isinstance(layer, Image) else None
    return about if isinstance(about, dict) and "kind" in about else None


def command_line(about: Mapping[str, Any]) -> str:
    """Return the shell command that repeats a run on the source's file.

    A source without a file is named after its layer: save it under this name first.  What the
    command line has no word for is named in a comment; a kernel map has no command.
    """
    source, parameters = _input_name(about), about["parameters"]
    stem, kind = PurePath(source).stem, about["kind"]
    if kind == "kernel map":
        return ""
    if kind in ("shaken", "true kernel"):
        words = ["shake", source, "-o", f"{stem}-shaken.tif"]
        words += [f"--{key}={parameters[key]}" for key in ("size", "seed", "noise")]
        words += _differing(parameters, saturation=1.0)
    else:
        verb, made = {
            "deblurred": ("deblur", f"{stem}-deblurred.tif"),
            "kernel": ("kernel", f"{stem}-kernel.tif"),
        }[kind]
        words = [
            verb,
            source,
            "-o",
            made,
            f"--model={about['model']}",
            f"--device={about['device']}",
        ]
        words += _differing(parameters, tile=None, noise=None, refine=5)
        kernel = parameters.get("kernel")
        if isinstance(kernel, dict):
            words.append(f"--kernel={kernel[LAYER]}.tif")
        if kernel == "pooled":
            words.append("--one-kernel")
    return shlex.join(["napari-deblur", *words]) + _unsaid(about)


def _differing(parameters: Mapping[str, Any], **defaults: Any) -> list[str]:
    """Options for the parameters that differ from the command line's defaults."""
    return [
        f"--{name}={parameters[name]}"
        for name, default in defaults.items()
        if parameters.get(name, default) != default
    ]


def _unsaid(about: Mapping[str, Any]) -> str:
    """Comment that names what the command does not do as the widget did."""
    parameters = about["parameters"]
    names = [name for name in ("region", "level", "channel_axis") if parameters.get(name)]
    if isinstance(parameters.get("kernel"), list):
        names.append("kernel")
    return f"  # without {', '.join(names)}" if names else ""


_FUNCTIONS = {
    "deblurred": "deblur_layer",
    "kernel": "estimate_kernel_of_layer",
    "kernel map": "map_kernels_of_layer",
    "shaken": "shake_layer",
    "true kernel": "shake_layer",
}


def python_code(about: Mapping[str, Any]) -> str:
    """Return the Python code that repeats a run in a viewer that holds the source layer."""
    function = _FUNCTIONS[about["kind"]]
    arguments = [f"viewer.layers[{about['source']['name']!r}]"]
    for key, value in about["parameters"].items():
        text = repr(value)
        if isinstance(value, dict):
            text = f"viewer.layers[{value[LAYER]!r}]"
        arguments.append(f"{key}={text}")
    inner = "".join(f"\n    {argument}," for argument in arguments)
    return (
        f"from napari.layers import Layer\n"
        f"from napari_deblur.plugin import {function}\n\n"
        f"for layer in {function}({inner}\n):\n"
        f"    viewer.add_layer(Layer.create(*layer))\n"
    )


def _input_name(about: Mapping[str, Any]) -> str:
    source = about["source"]
    return str(source["path"]) or f"{source['name']}.tif"
