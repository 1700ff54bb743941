"""The registry as text: TOML, parsed strictly and written in the same form.

An unknown key, a file name that leaves its folder, or a model without its file is an error here
and not a surprise later.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from napari_deblur.errors import WeightsError
from napari_deblur.weights.entries import ModelEntry, Registry, Trained, WeightsEntry
from napari_deblur.weights.header import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["parse_registry", "to_toml"]

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,120}\.safetensors")
_MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,60}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LARGEST_FILE = 2**34


def parse_registry(text: str) -> Registry:
    """Parse a registry.

    Parameters
    ----------
    text : str
        TOML: ``default``, tables ``[[file]]`` with the fields of `WeightsEntry` (but no
        location), and tables ``[[model]]`` with name, analysis, synthesis, description and, for a
        pair that serves one class of kernel sizes, size_class.

    Raises
    ------
    WeightsError
        If anything is unknown, missing, doubled, out of range, or does not fit together.
    """
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise _wrong(f"is no TOML ({str(error)[:100]})") from error
    _check_keys("top level", content, (), ("default", "file", "model"))
    files: dict[str, WeightsEntry] = {}
    for table in _tables(content, "file"):
        entry = _file(table)
        if entry.file.lower() in {name.lower() for name in files}:
            raise _wrong(f"lists file {entry.file!r} twice")
        files[entry.file] = entry
    known: dict[str, ModelEntry] = {}
    for table in _tables(content, "model"):
        model = _model(table, files)
        if model.name in known:
            raise _wrong(f"lists model {model.name!r} twice")
        known[model.name] = model
    default = content.get("default")
    if (default is not None or known) and (not isinstance(default, str) or default not in known):
        raise _wrong(
            f"has the default {default!r}, but its models are {', '.join(known) or 'none'}"
        )
    return Registry(MappingProxyType(files), MappingProxyType(known), default)


def _file(table: dict[str, Any]) -> WeightsEntry:
    required = ("file", "sha256", "size", "kind", "preset", "kernel_size", "training_data")
    where = f"file {table.get('file')!r}"
    _check_keys(where, table, (*required, "licence"), ("trained", "figures"))
    file = _text(where, table, "file")
    if not _FILE_NAME.fullmatch(file) or ".." in file:
        raise _wrong(
            f"has the file name {file!r}; letters, digits, '.', '_' and '-' are allowed, "
            "and '.safetensors' at its end"
        )
    sha256 = _text(where, table, "sha256")
    if not _SHA256.fullmatch(sha256):
        raise _wrong(f"{where} has the sha256 {sha256!r}; it must be 64 digits 0-9 a-f")
    kind = _text(where, table, "kind")
    if kind not in KINDS:
        raise _wrong(f"{where} has the kind {kind!r}; known are {', '.join(KINDS)}")
    kernel_size = _whole(where, table, "kernel_size", 1023)
    if kernel_size % 2 == 0:
        raise _wrong(f"{where} has the kernel_size {kernel_size}; it must be odd")
    return WeightsEntry(
        file=file,
        sha256=sha256,
        size=_whole(where, table, "size", _LARGEST_FILE),
        kind=kind,
        preset=_text(where, table, "preset"),
        kernel_size=kernel_size,
        training_data=_text(where, table, "training_data"),
        licence=_text(where, table, "licence"),
        trained=_trained(where, table["trained"]) if "trained" in table else Trained(),
        figures=_figures(where, table.get("figures", {})),
    )


def _trained(where: str, table: Any) -> Trained:
    where += " trained"
    _check_keys(where, table, ("recipe", "steps", "hours"), ())
    steps, hours = table["steps"], table["hours"]
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 0:
        raise _wrong(f"{where} has the steps {steps!r}; a whole number of at least 0 is needed")
    return Trained(_text(where, table, "recipe"), steps, _number(where, "hours", hours))


def _figures(where: str, table: Any) -> Mapping[str, float]:
    if not isinstance(table, dict):
        raise _wrong(f"{where} has the figures {table!r}; a table is needed")
    return MappingProxyType({key: _number(where, key, value) for key, value in table.items()})


def _model(table: dict[str, Any], files: Mapping[str, WeightsEntry]) -> ModelEntry:
    where = f"model {table.get('name')!r}"
    _check_keys(where, table, ("name", "analysis", "synthesis", "description"), ("size_class",))
    name = _text(where, table, "name")
    if not _MODEL_NAME.fullmatch(name) or name in ("default", "auto"):
        raise _wrong(
            f"has the model name {name!r}; lower-case letters, digits, '.', '_' and '-' "
            "are allowed, and 'default' and 'auto' are taken"
        )
    pair = []
    for kind in ("analysis", "synthesis"):
        file = files.get(_text(where, table, kind))
        if file is None or file.kind != kind:
            raise _wrong(f"{where} has the {kind} {table[kind]!r}, which is no file of this kind")
        pair.append(file)
    if pair[0].kernel_size > pair[1].kernel_size:
        sizes = f"{pair[0].kernel_size} and {pair[1].kernel_size}"
        raise _wrong(
            f"{where} has networks of kernel sizes {sizes}; the first must not be the larger"
        )
    description = _text(where, table, "description")
    limits = _size_class(where, table.get("size_class"))
    return ModelEntry(name, pair[0].file, pair[1].file, pair[1].kernel_size, description, limits)


def _size_class(where: str, value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    whole = isinstance(value, list) and all(
        isinstance(side, int) and not isinstance(side, bool) for side in value
    )
    if not whole or len(value) != 2 or not 1 <= value[0] <= value[1]:
        raise _wrong(
            f"{where} has the size_class {value!r}; the smallest and the largest side of its "
            "kernels are needed, for instance [32, 61]"
        )
    return (value[0], value[1])


def _tables(content: dict[str, Any], key: str) -> list[dict[str, Any]]:
    tables = content.get(key, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise _wrong(f"has {key!r} that is no list of tables; write [[{key}]]")
    return tables


def _check_keys(
    where: str, table: Any, required: tuple[str, ...], optional: tuple[str, ...]
) -> None:
    if not isinstance(table, dict):
        raise _wrong(f"{where} is no table")
    known = (*required, *optional)
    for key in table:
        if key not in known:
            raise _wrong(f"{where} has the unknown key {key!r}; known are {', '.join(known)}")
    missing = [key for key in required if key not in table]
    if missing:
        raise _wrong(f"{where} lacks {', '.join(missing)}")


def _text(where: str, table: dict[str, Any], key: str) -> str:
    value = table[key]
    if not isinstance(value, str):
        raise _wrong(f"{where} has the {key} {value!r}; a string is needed")
    return value


def _whole(where: str, table: dict[str, Any], key: str, largest: int) -> int:
    value = table[key]
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= largest:
        raise _wrong(
            f"{where} has the {key} {value!r}; a whole number from 1 to {largest} is needed"
        )
    return value


def _number(where: str, key: str, value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise _wrong(f"{where} has the {key} {value!r}; a finite number is needed")
    return float(value)


def _wrong(what: str) -> WeightsError:
    return WeightsError(f"the registry of weights {what}; mend it, or install napari-deblur again")


# ---------------------------------------------------------------------------- writing


def to_toml(content: Registry | WeightsEntry | ModelEntry) -> str:
    """Write a registry, or one table of it, such that `parse_registry` reads the same again.

    Parameters
    ----------
    content : Registry, WeightsEntry or ModelEntry
        What to write.

    Returns
    -------
    str
        TOML.
    """
    if isinstance(content, WeightsEntry):
        return _file_table(content)
    if isinstance(content, ModelEntry):
        keys = ("name", "analysis", "synthesis", "description")
        text = "[[model]]\n" + _lines({key: getattr(content, key) for key in keys})
        limits = content.size_class
        return text if limits is None else f"{text}size_class = {list(limits)}\n"
    start = "" if content.default is None else _lines({"default": content.default})
    tables = [to_toml(entry) for entry in content.files.values()]
    tables += [to_toml(entry) for entry in content.models.values()]
    return "\n".join(filter(None, [start, *tables]))


def _file_table(entry: WeightsEntry) -> str:
    keys = ("file", "sha256", "size", "kind", "preset", "kernel_size", "training_data", "licence")
    text = "[[file]]\n" + _lines({key: getattr(entry, key) for key in keys})
    if entry.trained != Trained():
        trained = {key: getattr(entry.trained, key) for key in ("recipe", "steps", "hours")}
        text += "[file.trained]\n" + _lines(trained)
    if entry.figures:
        text += "[file.figures]\n" + _lines(entry.figures)
    return text


def _lines(values: Mapping[str, str | float]) -> str:
    return "".join(f"{_key(key)} = {_value(value)}\n" for key, value in values.items())


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _value(key)


def _value(value: str | float) -> str:
    # A JSON string is a TOML string, but for the one control character that JSON leaves as it is.
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
    return text.replace("\x7f", "\\u007f")
