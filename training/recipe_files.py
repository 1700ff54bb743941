"""Reading recipes.

A recipe is a TOML file.  `[data]`, `[kernels]` and `[sensor]` hold for all stages; a stage may
override single keys of them in `[stage.NAME.data]`, `[stage.NAME.kernels]` and
`[stage.NAME.sensor]`.
"""

from __future__ import annotations

import dataclasses
import tomllib
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_deblur.errors import RecipeError
from napari_deblur.training.recipe import (
    AnalysisStage,
    CorrectionStage,
    DataRecipe,
    KernelRecipe,
    Recipe,
    SensorRecipe,
    StageRecipe,
    StagesRecipe,
)
from napari_deblur.training.schema import read_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["load_recipe", "recipe_names"]

_SHARED = {"data": DataRecipe, "kernels": KernelRecipe, "sensor": SensorRecipe}


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with the package."""
    folder = resources.files("napari_deblur.training") / "recipes"
    return sorted(item.name[:-5] for item in folder.iterdir() if item.name.endswith(".toml"))


def load_recipe(name: str | Path, settings: Sequence[str] = ()) -> Recipe:
    """Read a recipe by its name, or from a file, and apply `section.key=value` settings.

    Raises
    ------
    RecipeError
        When there is no such recipe, when it is not TOML, or when it holds an
        unknown key or an impossible value.
    """
    table = _read_toml(name)
    for setting in settings:
        _apply_setting(table, setting)
    return _build(table, default_name=Path(name).stem)


def _read_toml(name: str | Path) -> dict[str, Any]:
    path = Path(name)
    try:
        if path.suffix == ".toml":
            return tomllib.loads(path.read_text(encoding="utf-8"))
        if str(name) in recipe_names():
            shipped = resources.files("napari_deblur.training") / "recipes" / f"{name}.toml"
            return tomllib.loads(shipped.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(
            f"recipe {str(name)!r} cannot be read ({error.strerror}): "
            f"give a TOML file or one of {', '.join(recipe_names())}"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"recipe {str(name)!r} is not TOML ({error}): mend it") from error
    raise RecipeError(
        f"unknown recipe {str(name)!r}: "
        f"allowed are {', '.join(recipe_names())} or the path of a .toml file"
    )


def _apply_setting(table: dict[str, Any], setting: str) -> None:
    key, equals, text = setting.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"setting {setting!r} is not understood: write section.key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    *path, last = key.strip().split(".")
    for part in path:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise RecipeError(f"setting {setting!r}: {part!r} is not a section of a recipe")
    table[last] = value


def _build(table: dict[str, Any], default_name: str) -> Recipe:
    table = {"name": default_name, **table}
    shared = {name: table.pop(name, {}) for name in _SHARED}
    for name, cls in _SHARED.items():
        _table(shared[name], name)
        read_table(cls, shared[name], name)
    stages = dict(_table(table.get("stage", {}), "stage"))
    for field in dataclasses.fields(StagesRecipe):
        stage = dict(_table(stages.get(field.name, {}), f"stage.{field.name}"))
        for name in _SHARED:
            where = f"stage.{field.name}.{name}"
            stage[name] = {**shared[name], **_table(stage.get(name, {}), where)}
        stages[field.name] = stage
    recipe = read_table(Recipe, {**table, "stage": stages}, "")
    for field in dataclasses.fields(StagesRecipe):
        _check_stage(getattr(recipe.stage, field.name), f"stage.{field.name}")
    return recipe


def _table(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise RecipeError(f"{where} = {value!r} is impossible: it must be a section")
    return value


def _check_stage(stage: StageRecipe, where: str) -> None:
    kernels, data = stage.kernels, stage.data
    if kernels.smallest > kernels.largest:
        raise RecipeError(
            f"{where}.kernels.smallest = {kernels.smallest} is impossible: "
            f"it must be <= kernels.largest = {kernels.largest}"
        )
    families = ("shake", "straight", "defocused", "gaussian", "curves")
    if not any(getattr(kernels, name) for name in families):
        raise RecipeError(f"kernels: one of the weights {', '.join(families)} must be > 0")
    kinds = ("photographs", "dead_leaves", "text", "spots", "filaments", "cells")
    if not any(getattr(data, name) for name in kinds):
        raise RecipeError(f"data: one of the weights {', '.join(kinds)} must be > 0")
    if not data.scales:
        raise RecipeError("data.scales = [] is impossible: it must hold at least one factor")
    if isinstance(stage, AnalysisStage) and stage.flip_hold > stage.flip_until:
        raise RecipeError(
            f"{where}.flip_hold = {stage.flip_hold} is impossible: "
            f"it must be <= flip_until = {stage.flip_until}"
        )
    if isinstance(stage, CorrectionStage) and stage.enabled:
        stage.check(where)
