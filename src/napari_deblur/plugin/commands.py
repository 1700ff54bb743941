"""A run as a shell command and as Python code, made of its record (`provenance.Record`).

The command repeats the run exactly: on the same device its result has the same bits.  It reads
files.  What exists in the viewer only (a layer that was never saved, a drawn mask) is a file to be
written first; `input_files` says which, and `inputs.save_inputs` writes them.

Neither napari nor Qt nor torch here.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any

from napari_deblur.defaults import DEFAULT_ROUNDS

__all__ = ["LAYER", "command_line", "command_remark", "input_files", "python_code"]

LAYER = "layer"
"""Key under which a parameter that is a layer gives its name."""

About = Mapping[str, Any]

_DEFAULTS: dict[str, Any] = {
    "tile": None,
    "kernel_size": None,
    "refine": DEFAULT_ROUNDS,
    "gamma": 1.0,
    "saturation": None,
    "noise": None,
}
"""Options that are named only where they differ from the command line's own default."""


def command_line(about: About) -> str:
    """Return the shell command that repeats a run on files."""
    words = _WORDS[about["kind"] if about["function"] != "deblur_layer" else "deblurred"](about)
    return shlex.join(["napari-deblur", *words])


def command_remark(about: About) -> str:
    """Return what somebody should know who runs the command; empty for nothing."""
    if "preview" in about["found"]:
        return "It deblurs everything, and not only what was previewed."
    files = ", ".join(input_files(about))
    return f"It reads {files}: press Save, and run it in that folder." if files else ""


def input_files(about: About) -> dict[str, str]:
    """Files that the command reads and that must be written first, and what is in each.

    Returns
    -------
    dict
        Name of the file: "source", "kernel" or "mask".
    """
    files = {} if about["source"]["path"] else {_source(about): "source"}
    if _kernel_file(about):
        files[_kernel_file(about)] = "kernel"
    if _region(about).get("mask"):
        files[_mask_file(about)] = "mask"
    return files


def python_code(about: About) -> str:
    """Return the Python code that repeats a run in a viewer that holds the source layer."""
    function, source = about["function"], about["source"]
    arguments = [f"viewer.layers[{source['name']!r}]"]
    arguments += [f"{key}={_literal(value)}" for key, value in about["parameters"].items()]
    inner = "".join(f"\n    {argument}," for argument in arguments)
    imports = ["from napari.layers import Layer", f"from napari_deblur.plugin import {function}"]
    if "numpy.array" in inner:
        imports.insert(0, "import numpy")
    if "Region.from_dict" in inner:
        imports.append("from napari_deblur.plugin.regions import Region")
    loop = [f"for layer in {function}({inner}\n):", "    viewer.add_layer(Layer.create(*layer))"]
    return "\n".join([*imports, "", *loop, ""])


def _deblur(about: About) -> list[str]:
    words = ["deblur", _source(about), "-o", f"{_stem(about)}-deblurred.tif", *_common(about)]
    if about["parameters"]["kernel"] == "pooled":
        words.append("--one-kernel")
    if about["parameters"]["field"] == "grid":
        words.append("--field=grid")
        words += _grid(about)
    if _kernel_file(about):
        words.append(f"--kernel={_kernel_file(about)}")
    if about["kind"] in ("kernel", "kernel map"):
        words.append("--save-kernel")
    return words


def _kernel(about: About) -> list[str]:
    words = ["kernel", _source(about), "-o", f"{_stem(about)}-kernel.tif", *_common(about)]
    if about["parameters"]["planes"] == "each" and about["source"]["plane"] == "":
        words.append("--each")
    return [*words, *_where(about)]


def _kernel_map(about: About) -> list[str]:
    out = f"{_stem(about)}-kernels.tif"
    words = ["kernel", _source(about), "-o", out, *_common(about), *_grid(about)]
    return [*words, *_where(about)]


def _grid(about: About) -> list[str]:
    grid = about["parameters"]["grid"]
    return [] if grid is None else [f"--grid={grid[0]}x{grid[1]}"]


def _shake(about: About) -> list[str]:
    parameters = about["parameters"]
    words = ["shake", _source(about), "-o", f"{_stem(about)}-shaken.tif", *_axes(about)]
    words += [f"--{key}={parameters[key]!r}" for key in ("size", "seed", "noise", "gain")]
    if about["kind"] == "true kernel":
        words.append("--save-kernel")
    return words


_WORDS: dict[str, Callable[[About], list[str]]] = {
    "deblurred": _deblur,
    "kernel": _kernel,
    "kernel map": _kernel_map,
    "shaken": _shake,
    "true kernel": _shake,
}


def _common(about: About) -> list[str]:
    parameters = about["parameters"] | about["found"]
    # What "auto" chose for one plane need not be what it chooses for another.
    model = "auto" if about["parameters"]["model"] == "auto" else about["model"]
    words = [*_axes(about), f"--model={model}", f"--device={about['device']}"]
    for name, default in _DEFAULTS.items():
        value = about["parameters"].get(name, default)
        if name == "tile":  # what was chosen then from the free memory
            value = parameters.get(name)
        if value != default:
            words.append(f"--{name.replace('_', '-')}={value!r}")
    return words


def _axes(about: About) -> list[str]:
    """What the axes are: files of stacks and of colours do not always say so."""
    axes = about["source"]["axes"]
    words = [] if axes == "YX" else [f"--axes={axes}"]
    return [*words, "--channel-axis=C"] if "C" in axes else words


def _where(about: About) -> list[str]:
    words = [f"--slice={about['source']['plane']}"] if about["source"]["plane"] else []
    region = _region(about)
    if region.get("mask"):
        words.append(f"--mask={_mask_file(about)}")
    elif region:
        rows, columns = (":".join(map(str, region[axis])) for axis in ("rows", "columns"))
        words.append(f"--region={rows},{columns}")
    return words


def _region(about: About) -> Mapping[str, Any]:
    return about["found"].get("region") or {}


def _source(about: About) -> str:
    source = about["source"]
    level = f" level {source['level']}" if source["level"] else ""
    return str(source["path"]) or f"{_file_name(source['name'])}{level}.tif"


def _stem(about: About) -> str:
    name = PurePath(_source(about)).name
    return re.sub(r"(\.ome)?\.[^.]*$", "", name, flags=re.IGNORECASE)


def _kernel_file(about: About) -> str:
    kernel = about["parameters"].get("kernel")
    if isinstance(kernel, Mapping):
        return f"{_file_name(kernel[LAYER])}.tif"
    if isinstance(kernel, list):
        return f"kernel for {_stem(about)}.tif"
    return ""


def _mask_file(about: About) -> str:
    return f"mask of {_stem(about)}.tif"


def _file_name(layer: str) -> str:
    """Name of a layer without what no file may have in its name."""
    return re.sub(r'[\\/:*?"<>|\x00-\x1f]', "_", layer)


def _literal(value: Any) -> str:
    if isinstance(value, Mapping):
        if LAYER in value:
            return f"viewer.layers[{value[LAYER]!r}]"
        return f"Region.from_dict({dict(value)!r})"
    if isinstance(value, list):
        nested = bool(value) and isinstance(value[0], list)
        return f"numpy.array({value!r})" if nested else repr(tuple(value))
    return "float('inf')" if value == math.inf else repr(value)
