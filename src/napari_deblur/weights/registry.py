"""The weights files and models that this version knows, and models in folders of one's own."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from napari_deblur.errors import ModelError, WeightsError
from napari_deblur.weights.entries import ModelEntry, Registry, Trained, WeightsEntry
from napari_deblur.weights.header import read_header, sha256_of
from napari_deblur.weights.registry_text import parse_registry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_deblur.weights.header import Kind

__all__ = [
    "MODEL_FILES",
    "ModelEntry",
    "Registry",
    "Trained",
    "WeightsEntry",
    "classifier_entry",
    "correction_entry",
    "find_model",
    "find_weights",
    "local_model",
    "models",
    "pair_of_class",
    "registry",
]

REGISTRY_FILE = Path(__file__).with_name("registry.toml")

MODEL_FILES = ("analysis.safetensors", "synthesis.safetensors")
"""Names of the two files in a folder that is given as a model."""


@cache
def registry() -> Registry:
    """Read the registry that comes with this version, once.

    Raises
    ------
    WeightsError
        If it is damaged.
    """
    try:
        text = REGISTRY_FILE.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"cannot read the registry '{REGISTRY_FILE}' ({error}); install napari-deblur again"
        ) from error
    return parse_registry(text)


def models() -> dict[str, ModelEntry]:
    """Return the known models by name, in the registry's order; the default is among them."""
    return dict(registry().models)


def find_model(name: str | os.PathLike[str] = "default") -> ModelEntry:
    """Find a model by name, or in a folder.

    Parameters
    ----------
    name : str or path
        A name from `models`, ``"default"``, or a folder that holds ``analysis.safetensors`` and
        ``synthesis.safetensors``.  A name goes before a folder of the same name; write
        ``./name`` for the folder.  ``"auto"``, which the engine resolves for an image, is the
        default here, the pair that it falls back on.

    Raises
    ------
    ModelError
        If there is no such model; the message lists the known ones.
    WeightsError
        If a file in the folder is damaged or the two do not belong together.
    """
    known = registry()
    wanted = known.default if name in ("default", "auto") else name
    if isinstance(wanted, str) and wanted in known.models:
        return known.models[wanted]
    if _is_folder(wanted):
        return local_model(*(Path(wanted) / file for file in MODEL_FILES), name=str(wanted))
    names = (
        ", ".join(["default", "auto", *known.models]) if known.models else "none in this version"
    )
    raise ModelError(
        f"model {str(name)!r} is not known; known are {names}; give one of them, or a folder that "
        f"holds {' and '.join(MODEL_FILES)}"
    )


def _is_folder(wanted: object) -> TypeGuard[str | os.PathLike[str]]:
    if not isinstance(wanted, str | os.PathLike) or wanted == "":
        return False
    try:
        return Path(wanted).is_dir()
    except (OSError, ValueError, TypeError):  # too long, with a null byte, or of bytes
        return False


def classifier_entry() -> WeightsEntry | None:
    """Return the entry of the blur-size classifier; None where this version has none."""
    return _only("classifier")


def correction_entry() -> WeightsEntry | None:
    """Return the entry of the correction network; None where this version has none."""
    return _only("correction")


def _only(kind: Kind) -> WeightsEntry | None:
    return next((each for each in registry().files.values() if each.kind == kind), None)


def pair_of_class(limits: tuple[int, int]) -> str | None:
    """Return the name of the pair of a class of kernel sizes; None where there is none.

    Parameters
    ----------
    limits : tuple of int
        Smallest and largest side in pixels.
    """
    known = registry().models.values()
    return next((each.name for each in known if each.size_class == limits), None)


def local_model(
    analysis: str | os.PathLike[str], synthesis: str | os.PathLike[str], *, name: str | None = None
) -> ModelEntry:
    """Make a model of two weights files of one's own.

    Parameters
    ----------
    analysis, synthesis : path
        The files.
    name : str, optional
        What to call it; by default the folder of `analysis`.

    Raises
    ------
    ModelError
        If a file is missing.
    WeightsError
        If a file is damaged, holds another network, or the analysis network's kernels are larger
        than the synthesis network's.
    """
    entries = []
    for path, kind in ((Path(analysis), "analysis"), (Path(synthesis), "synthesis")):
        if not path.is_file():
            raise ModelError(
                f"there is no file '{path}' with the {kind} network; give a folder that holds "
                f"{' and '.join(MODEL_FILES)}, or the name of a model"
            )
        entry = find_weights(path)
        if entry.kind != kind:
            raise WeightsError(f"'{path}' holds a network for {entry.kind}; {kind} is needed")
        entries.append(entry)
    if entries[0].kernel_size > entries[1].kernel_size:
        raise WeightsError(
            f"'{analysis}' estimates kernels of {entries[0].kernel_size} pixels and '{synthesis}' "
            f"takes {entries[1].kernel_size}; give a synthesis network for kernels as large"
        )
    first, second = (str(Path(path).resolve()) for path in (analysis, synthesis))
    return ModelEntry(name or str(Path(analysis).parent), first, second, entries[1].kernel_size)


def find_weights(file: str | os.PathLike[str]) -> WeightsEntry:
    """Find a weights file by its name in the registry, or by its path.

    Parameters
    ----------
    file : str or path
        File name as in `ModelEntry`, or path of a file of one's own.

    Raises
    ------
    ModelError
        If it is neither in the registry nor a file.
    WeightsError
        If the file is no weights file of this package.
    """
    known = registry().files
    if isinstance(file, str) and file in known:
        return known[file]
    path = Path(file)
    if not path.is_file():
        names = ", ".join(known) or "none in this version"
        raise ModelError(
            f"weights file '{file}' is not known and is no file; known are {names}; "
            "give one of them or a path"
        )
    header = read_header(path)
    return WeightsEntry(
        file=path.name,
        sha256=sha256_of(path),
        size=path.stat().st_size,
        kind=header.kind,
        preset=str(header.provenance.get("preset", "")),
        kernel_size=kernel_size_of(header.config, str(path)),
        location=path.resolve(),
    )


def kernel_size_of(config: Mapping[str, Any], name: str) -> int:
    """Side m in pixels of the largest kernel, from a network's configuration.

    Raises
    ------
    WeightsError
        If it is not there, or no odd whole number.
    """
    inner = config.get("analysis")  # of a classifier
    size = (inner if isinstance(inner, dict) else config).get("kernel_size")
    shrink = config.get("shrink", 1)
    if isinstance(size, int) and isinstance(shrink, int) and shrink > 1:
        size = shrink * (size - 1) + 1
    if not isinstance(size, int) or isinstance(size, bool) or size < 1 or size % 2 == 0:
        raise WeightsError(
            f"'{name}' has the kernel size {size!r}; it must be odd; fetch or copy the file again"
        )
    return size
