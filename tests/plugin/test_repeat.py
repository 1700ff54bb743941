"""A copied command line repeats its run exactly: every bit of the result is the same."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Labels, Layer, Shapes

from napari_deblur.files.images import read_image
from napari_deblur.plugin import (
    deblur_layer,
    estimate_kernel_of_layer,
    map_kernels_of_layer,
    shake_layer,
)
from napari_deblur.plugin.inputs import save_inputs
from napari_deblur.plugin.metadata import KEY

pytestmark = pytest.mark.slow

Case = Callable[[Callable[[str], Image], dict[str, Any]], tuple[list[Any], list[Layer]]]
"""Makes layers, runs a function on them; returns what it made and the layers that there were."""


def marks() -> Shapes:
    """A rectangle and an ellipse, so that the region is a mask."""
    corners = [[4, 4], [4, 40], [36, 40], [36, 4]]
    far = [[20, 20], [20, 46], [46, 46], [46, 20]]
    return Shapes([corners, far], shape_type=["rectangle", "ellipse"], name="marks")


def _deblur(kind: str, kernel: Any = "each", **options: Any) -> Case:
    def run(make: Any, model: Any) -> Any:
        layer = make(kind)
        held = [layer]
        chosen = kernel
        if isinstance(kernel, tuple):
            rng = np.random.default_rng(3)
            chosen = Image(rng.random(kernel).astype(np.float32), name="drawn: by hand")
            held.append(chosen)
        return deblur_layer(layer, chosen, **(model | options)), held

    return run


def _kernel(kind: str, **options: Any) -> Case:
    def run(make: Any, model: Any) -> Any:
        layer = make(kind)
        held = [layer]
        if options.get("region") == "marks":
            held.append(marks())
        elif options.get("region") == "labels":
            painted = np.zeros((48, 48), int)
            painted[8:40, 8:40] = 1
            held.append(Labels(painted, name="painted"))
        extra = {"region": held[1]} if len(held) > 1 else {}
        return estimate_kernel_of_layer(layer, **(model | options | extra)), held

    return run


def _map(kind: str, **options: Any) -> Case:
    def run(make: Any, model: Any) -> Any:
        layer = make(kind)
        return map_kernels_of_layer(layer, **(model | options)), [layer]

    return run


def _shake(kind: str, **options: Any) -> Case:
    def run(make: Any, model: Any) -> Any:
        del model
        layer = make(kind)
        return shake_layer(layer, **options), [layer]

    return run


CASES: dict[str, Case] = {
    "deblur grey": _deblur("yx uint8", refine=1),
    "deblur float, given noise": _deblur("yx float", noise=0.3, kernel_size=9, refine=0),
    "deblur series, a kernel each": _deblur("tyx", refine=0),
    "deblur series, one kernel": _deblur("tyx", "pooled", refine=0, index=(1,)),
    "deblur series, kernel layers": _deblur("tyx", (3, 5, 5)),
    "deblur channels together": _deblur("cyx", refine=0),
    "deblur five axes": _deblur("tzcyx", "pooled", refine=0),
    "deblur RGBA, drawn kernel": _deblur("rgba", (5, 5)),
    "deblur RGB series": _deblur("t rgb", refine=0),
    "deblur columns last but one": _deblur("yxt", refine=0),
    "deblur coarse level": _deblur("multiscale", level=1, refine=0),
    "deblur in linear light": _deblur("yx uint8", refine=0, gamma=2.2, saturation=120.0),
    "deblur nothing clipped": _deblur("rgb", refine=0, saturation=float("inf")),
    "deblur with a field": _deblur("multiscale", field="grid", grid=(1, 2), refine=1),
    "deblur, model by the blur's size": _deblur("tyx", refine=0, model="auto"),
    "deblur dask": _deblur("dask", refine=0, tile=64),
    "kernel of grey": _kernel("yx uint16", refine=1),
    "kernel, model by the blur's size": _kernel("yx uint8", refine=0, model="auto"),
    "kernel of what shapes mark": _kernel("yx float", region="marks", refine=0),
    "kernel of what labels mark": _kernel("yx float", region="labels", refine=0),
    "kernel for each plane": _kernel("tyx", planes="each", refine=0),
    "kernel of a stack": _kernel("zyx", planes="pooled", refine=0, index=(1,)),
    "kernel of the shown plane": _kernel("tzcyx", planes="shown", index=(1, 0), refine=0),
    "map": _map("yx uint16", grid=(2, 2), refine=0),
    "map of a plane": _map("tyx", grid=(1, 2), refine=0, index=(2,)),
    "shake": _shake("rgb", size=9, seed=5, noise=0.02, gain=1.5),
    "shake series": _shake("tyx", size=7, seed=2),
    "shake channels": _shake("cyx", size=7, seed=2),
}


@pytest.fixture(scope="module")
def repeated(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: str, make_layer: Callable[[str], Image]
) -> dict[str, Any]:
    """Run each case in the viewer's way, then all copied command lines in one process."""
    model = {"model": tiny_model, "device": "cpu"}
    results, folders, lines = {}, {}, []
    for name, case in CASES.items():
        folder = tmp_path_factory.mktemp("case")
        made, held = case(make_layer, model)
        layers = [Layer.create(*each) for each in made]
        save_inputs(layers[0].metadata[KEY], held, folder)
        commands = [layer.metadata[KEY]["command_line"] for layer in layers]
        lines.extend((str(folder), f"{command} --overwrite") for command in commands)
        results[name], folders[name] = layers, folder
    said = _run(lines)
    return {name: (results[name], folders[name], said) for name in CASES}


def _run(lines: list[tuple[str, str]]) -> str:
    """Run command lines, each in its folder, as a shell would cut them into words."""
    code = (
        "import os, shlex, sys\n"
        "from napari_deblur.cli.running import run\n"
        f"for folder, line in {lines!r}:\n"
        "    os.chdir(folder)\n"
        "    print('>', line, flush=True)\n"
        "    print('=', run(shlex.split(line)[1:]), flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=280
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", CASES)
def test_the_command_line_gives_the_same_bits(name: str, repeated: dict[str, Any]) -> None:
    layers, folder, said = repeated[name]
    outputs = [_output(layer, folder) for layer in layers]
    assert all(path.is_file() for path in outputs), said
    for layer, path in zip(layers, outputs, strict=True):
        expected = np.asarray(layer.data)
        if layer.metadata[KEY]["kind"] == "kernel map":
            expected = layer.metadata[KEY]["kernels"]
        elif "kernel" in layer.metadata[KEY]["kind"]:
            expected = _bare(expected, layer.metadata[KEY])
        found = read_image(path).array
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_a_command_is_one_that_a_shell_takes(repeated: dict[str, Any]) -> None:
    """The very line, in a shell, with spaces and colons in the names of layers."""
    layers, folder, _ = repeated["deblur RGBA, drawn kernel"]
    line = layers[0].metadata[KEY]["command_line"]
    assert "drawn_ by hand.tif" in line
    program = shlex.join([sys.executable, "-m", "napari_deblur.cli"])
    shell = line.replace("napari-deblur", program, 1) + " --overwrite"
    done = subprocess.run(
        shell, shell=True, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(read_image(_output(layers[0], folder)).array, layers[0].data)


def _output(layer: Layer, folder: Path) -> Path:
    """The file that a command writes a layer to."""
    about = layer.metadata[KEY]
    words = shlex.split(about["command_line"])
    out = Path(words[words.index("-o") + 1])
    return folder / (f"{out.stem}_kernel.tif" if "--save-kernel" in words else out)


def _bare(kernels: np.ndarray, about: dict[str, Any]) -> np.ndarray:
    """Kernels as (..., m, m), without the channels that repeat them."""
    axes = about["source"]["axes"].replace("S", "")
    if kernels.ndim == 2:
        return kernels
    if "C" in axes and kernels.ndim == len(axes):
        kernels = kernels.take(0, axis=axes.index("C"))
        axes = axes.replace("C", "")
    return np.moveaxis(kernels, [axes.index("Y"), axes.index("X")], [-2, -1])
