"""Read plain tables (TOML, JSON) strictly into frozen dataclasses.

Every field says in its metadata what it allows; an unknown key or an impossible
value is a `RecipeError` that names it and what is allowed instead.
"""

from __future__ import annotations

import dataclasses
import types
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from napari_deblur.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from _typeshed import DataclassInstance

    T = TypeVar("T", bound=DataclassInstance)

__all__ = ["free_table", "limited", "read_table"]


def limited(
    default: Any = dataclasses.MISSING,
    low: float | None = None,
    high: float | None = None,
) -> Any:
    """Declare a dataclass field whose number, or each number of whose list, is in [low, high]."""
    return dataclasses.field(default=default, metadata={"low": low, "high": high})


def free_table() -> Any:
    """Declare a field that holds any table; whoever uses it checks it."""
    return dataclasses.field(default_factory=dict)


def read_table(cls: type[T], table: Mapping[str, Any], where: str) -> T:
    """Build `cls` from a table.

    Parameters
    ----------
    cls
        A dataclass whose fields are numbers, strings, tuples of numbers,
        literals, tables or dataclasses again.
    table
        What the file holds.
    where
        Its dotted name, for messages; empty for the whole file.

    Raises
    ------
    RecipeError
        On an unknown key, a missing one, or a value that is not allowed.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}
    hints = get_type_hints(cls)
    for key in table:
        if key not in fields:
            allowed = ", ".join(sorted(fields))
            raise RecipeError(f"unknown key {_dotted(where, key)!r}: allowed are {allowed}")
    values = {}
    for name, field in fields.items():
        dotted = _dotted(where, name)
        if name in table:
            values[name] = _read_value(hints[name], table[name], dotted, field.metadata)
        elif dataclasses.is_dataclass(hints[name]) and isinstance(hints[name], type):
            values[name] = read_table(hints[name], {}, dotted)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise RecipeError(f"key {dotted!r} is missing: the recipe must give it")
    return cls(**values)


def _dotted(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _read_value(hint: Any, value: Any, where: str, limits: Mapping[str, Any]) -> Any:
    origin = get_origin(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        _expect(isinstance(value, dict), where, value, "a table")
        return read_table(hint, value, where)
    if origin is types.UnionType and type(None) in get_args(hint):
        inner = next(part for part in get_args(hint) if part is not type(None))
        return None if value is None else _read_value(inner, value, where, limits)
    if origin is Literal:
        options = ", ".join(repr(option) for option in get_args(hint))
        _expect(value in get_args(hint), where, value, f"one of {options}")
        return value
    if origin is tuple:
        return _read_tuple(hint, value, where, limits)
    if origin is dict or hint is dict:
        _expect(isinstance(value, dict), where, value, "a table")
        return dict(value)
    return _read_scalar(hint, value, where, limits)


def _read_tuple(hint: Any, value: Any, where: str, limits: Mapping[str, Any]) -> tuple[Any, ...]:
    parts = get_args(hint)
    _expect(isinstance(value, (list, tuple)), where, value, "a list")
    if parts[-1] is Ellipsis:
        return tuple(_read_value(parts[0], item, where, limits) for item in value)
    _expect(len(value) == len(parts), where, value, f"a list of {len(parts)} values")
    items = tuple(
        _read_value(part, item, where, limits) for part, item in zip(parts, value, strict=True)
    )
    if len(items) == 2 and all(isinstance(item, (int, float)) for item in items):
        _expect(items[0] <= items[1], where, value, "[low, high] with low <= high")
    return items


def _read_scalar(hint: type, value: Any, where: str, limits: Mapping[str, Any]) -> Any:
    if hint is bool:
        _expect(isinstance(value, bool), where, value, "true or false")
        return value
    if hint is str:
        _expect(isinstance(value, str), where, value, "a string")
        return value
    if hint is int:
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        _expect(whole and not isinstance(value, bool), where, value, "a whole number")
        value = int(value)
    elif hint is float:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        _expect(number, where, value, "a number")
        value = float(value)
    low, high = limits.get("low"), limits.get("high")
    inside = (low is None or value >= low) and (high is None or value <= high)
    _expect(inside, where, value, _range_words(low, high))
    return value


def _range_words(low: float | None, high: float | None) -> str:
    if high is None:
        return f">= {low}"
    return f"<= {high}" if low is None else f"in [{low}, {high}]"


def _expect(good: bool, where: str, value: Any, allowed: str) -> None:  # noqa: FBT001
    if not good:
        raise RecipeError(f"{where} = {value!r} is impossible: it must be {allowed}")
