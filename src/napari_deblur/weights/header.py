"""What a weights file says about itself, read without torch.

A weights file is a safetensors file whose metadata holds one key, ``napari_deblur``, with a JSON
object: format version, kind of network, its configuration, and where the weights come from.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from napari_deblur.errors import InputError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = [
    "FORMAT",
    "KINDS",
    "Kind",
    "WeightsHeader",
    "header_text",
    "parse_header",
    "read_header",
    "sha256_of",
]

Kind = Literal["analysis", "synthesis", "classifier", "correction"]

KINDS: tuple[Kind, ...] = get_args(Kind)
"""Kinds of networks that a weights file may hold."""

FORMAT = 1
"""Version of the JSON object; a reader refuses newer ones."""

KEY = "napari_deblur"
_LENGTH = 8  # bytes before the header, holding its length
_LARGEST_HEADER = 2**23
_KEYS = {"format", "kind", "config", "provenance"}
_AGAIN = "fetch or copy the file again"


@dataclass(frozen=True)
class WeightsHeader:
    """Description of the network in a weights file.

    Attributes
    ----------
    kind : {"analysis", "synthesis", "classifier", "correction"}
        Which network it is.
    config : dict
        Its architecture, as the ``from_dict`` of the kind's configuration takes it.
    provenance : dict
        Training data, recipe, steps, versions, figures; free form.
    """

    kind: Kind
    config: dict[str, Any]
    provenance: dict[str, Any]


def header_text(kind: Kind, config: Mapping[str, Any], provenance: Mapping[str, Any]) -> str:
    """JSON object of a weights file, the same for the same content.

    Raises
    ------
    InputError
        If something in it is not a number, string, list, or dictionary.
    """
    content = {
        "format": FORMAT,
        "kind": kind,
        "config": dict(config),
        "provenance": dict(provenance),
    }
    try:
        return json.dumps(content, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"provenance or config cannot be written as JSON ({error}); "
            "use finite numbers, strings, lists and dictionaries only"
        ) from error


def parse_header(data: bytes, name: str) -> WeightsHeader:
    """Read the description from the beginning of a weights file.

    Parameters
    ----------
    data : bytes
        The file, or its first bytes up to the end of the safetensors header.
    name : str
        Name of the file for messages.

    Raises
    ------
    WeightsError
        If it is no safetensors file, or not one of this package.
    """
    length = int.from_bytes(data[:_LENGTH], "little")
    if len(data) < _LENGTH or not 2 <= length <= _LARGEST_HEADER:
        raise WeightsError(f"'{name}' is not a safetensors file, or is damaged; {_AGAIN}")
    if len(data) < _LENGTH + length:
        raise WeightsError(f"'{name}' is cut off within its header; {_AGAIN}")
    try:
        header = json.loads(data[_LENGTH : _LENGTH + length].decode("utf-8"))
        text = header["__metadata__"][KEY]
        content = json.loads(text)
    except (KeyError, TypeError) as error:
        raise WeightsError(
            f"'{name}' is not a weights file of napari-deblur (its metadata has no key {KEY!r}); "
            "give one that 'napari-deblur train' or 'napari-deblur models fetch' wrote"
        ) from error
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"'{name}' is damaged (unreadable header); {_AGAIN}") from error
    return _checked(content, name)


def read_header(path: Path) -> WeightsHeader:
    """Read the description of a weights file, and nothing else of it.

    Raises
    ------
    WeightsError
        If the file cannot be read, or is no weights file of this package.
    """
    try:
        with path.open("rb") as file:
            start = file.read(_LENGTH)
            length = min(int.from_bytes(start, "little"), _LARGEST_HEADER)
            data = start + file.read(length)
    except OSError as error:
        raise unreadable(path, error) from error
    return parse_header(data, str(path))


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in hexadecimal.

    Raises
    ------
    WeightsError
        If the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> WeightsError:
    """Error for a weights file that the system does not let us read."""
    return WeightsError(
        f"cannot read weights file '{path}' ({error.strerror or error}); "
        "check its name and permissions"
    )


def _checked(content: Any, name: str) -> WeightsHeader:
    if not isinstance(content, dict) or not isinstance(content.get("format"), int):
        raise WeightsError(f"'{name}' is damaged (its description has no format); {_AGAIN}")
    if content["format"] > FORMAT:
        raise WeightsError(
            f"'{name}' has format {content['format']} and this version reads up to {FORMAT}; "
            "update napari-deblur"
        )
    if content.keys() != _KEYS or content["format"] != FORMAT:
        found = ", ".join(sorted(map(repr, content)))
        raise WeightsError(
            f"'{name}' has an unknown description with {found[:200]}; "
            f"expected are {', '.join(sorted(_KEYS))}; {_AGAIN}"
        )
    kind, config, provenance = content["kind"], content["config"], content["provenance"]
    if kind not in KINDS:
        raise WeightsError(
            f"'{name}' holds a network of kind {kind!r}; known are {', '.join(KINDS)}; "
            "update napari-deblur"
        )
    if not isinstance(config, dict) or not isinstance(provenance, dict):
        raise WeightsError(f"'{name}' is damaged (config or provenance is no table); {_AGAIN}")
    return WeightsHeader(kind, config, provenance)
