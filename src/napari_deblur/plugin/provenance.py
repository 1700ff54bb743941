"""How a result was made: enough to make it again from the command line or from Python.

A `Record` goes into ``layer.metadata["napari-deblur"]`` as a plain dictionary, with the commands of
`napari_deblur.plugin.commands` in it, which a button copies.

Neither Qt nor torch here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image

from napari_deblur.plugin.commands import command_line, python_code
from napari_deblur.plugin.metadata import KEY
from napari_deblur.plugin.slices import Index, LayerView

if TYPE_CHECKING:
    from napari_deblur.plugin.requests import EngineRequest

__all__ = ["Record", "describe", "record_of"]

_CHOSEN = ("tile", "size_chances")
"""What the engine's settings say of its own choices."""


@dataclass(frozen=True)
class Record:
    """What a result was made from, with and by.

    Attributes
    ----------
    kind : str
        "deblurred", "kernel", "kernel map", "shaken" or "true kernel".
    function : str
        The function of `napari_deblur.plugin` that makes it.
    source : dict
        Name, file, shape, dtype, level and axes of the layer that it was made from.
    parameters : dict
        Every parameter, by its name in that function.
    model : str
        Name of the model, or its folder; empty where none was used.
    sha256 : dict
        Hash of each of the model's files.
    device : str
        Where it was computed.
    seconds : float
        How long it took.
    found : dict
        What the run chose or measured where nothing was prescribed: tile, noise, region, ...
    version : str
        Of this package.
    """

    kind: str
    function: str
    source: dict[str, Any]
    parameters: dict[str, Any] = field(default_factory=dict)
    model: str = ""
    sha256: dict[str, str] = field(default_factory=dict)
    device: str = ""
    seconds: float = 0.0
    found: dict[str, Any] = field(default_factory=dict)
    version: str = field(default_factory=lambda: version("napari-deblur"))

    @classmethod
    def of(
        cls,
        request: EngineRequest,
        source: dict[str, Any],
        result: Any,
        *,
        kind: str,
        function: str,
        seconds: float,
        found: dict[str, Any],
    ) -> Record:
        """Write down a run of the engine, whose last result tells where and with what it ran."""
        settings = result.settings
        return cls(
            kind=kind,
            function=function,
            source=source,
            parameters=request.parameters(),
            model=result.model,
            sha256=dict(settings["weights"]),
            device=str(result.device),
            seconds=seconds,
            found={key: settings[key] for key in _CHOSEN if key in settings} | found,
        )

    def with_networks_of(self, result: Any) -> Record:
        """Name the networks of another run, too, whose kernel this one was told."""
        return replace(self, sha256={**result.settings["weights"], **self.sha256})

    def of_kind(self, kind: str) -> Record:
        """Return the record of another thing that the same run made."""
        return replace(self, kind=kind)

    def as_dict(self) -> dict[str, Any]:
        """Plain dictionary, with the command line and the Python code that repeat the run."""
        about = asdict(self)
        about["command_line"] = command_line(about)
        about["python"] = python_code(about)
        return about


def describe(layer: Image, view: LayerView, index: Index | None = None) -> dict[str, Any]:
    """Describe the layer that a result is made from, and the one plane of it if it is of one."""
    path = "" if layer.source.path is None or layer.multiscale else str(layer.source.path)
    return {
        "name": str(layer.name),
        "path": path if _holds(Path(path), view) else "",
        "shape": list(view.shape),
        "dtype": str(view.dtype),
        "level": view.level,
        "axes": view.letters,
        "plane": "" if index is None else view.label_of(index),
    }


def record_of(layer: Any) -> dict[str, Any] | None:
    """Return what is known of how a layer was made; None if it was not made here."""
    about = layer.metadata.get(KEY) if isinstance(layer, Image) else None
    return about if isinstance(about, dict) and "kind" in about else None


def _holds(path: Path, view: LayerView) -> bool:
    """Whether a file holds the layer's array as it is, by its header.

    Readers make several layers of one file, or one layer of several files.
    """
    try:
        shape, dtype = _header(path)
    except (OSError, ValueError, KeyError):
        return False
    return shape == view.shape and dtype == view.dtype


def _header(path: Path) -> tuple[tuple[int, ...], Any]:
    if path.suffix.lower() in (".tif", ".tiff"):
        import tifffile

        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            return tuple(series.shape), series.dtype
    import PIL.Image

    with PIL.Image.open(path) as picture:
        width, height = picture.size
        dtype = np.dtype(np.uint16 if picture.mode.startswith("I;16") else np.uint8)
        samples = len(picture.getbands())
        return (height, width) if samples == 1 else (height, width, samples), dtype
