"""What the documentation says about the code is there in the code."""

from __future__ import annotations

import ast
import json
import re
import runpy
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest

from napari_deblur.networks import config

LAYERS = "blur|networks|weights|engine|evaluation|files|training|cli"
PAGES = ["method.md", "api.md", "install.md", "intensities.md", "scripting.md", "tutorial.md"]


def resolve(dotted: str) -> object:
    """Import the longest part of a dotted name that is a module, then follow its attributes."""
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(dotted)


@pytest.mark.parametrize("page", PAGES)
def test_code_that_a_page_names_exists(root: Path, page: str) -> None:
    text = (root / "docs" / page).read_text(encoding="utf-8")
    names = set(re.findall(rf"`(?:napari_deblur\.)?((?:{LAYERS})(?:\.\w+)+)`", text))
    names |= set(re.findall(r"^::: napari_deblur\.([\w.]+)$", text, re.MULTILINE))
    for name in sorted(names):
        assert resolve(f"napari_deblur.{name}") is not None


def test_settings_that_the_method_page_names_exist(root: Path) -> None:
    text = (root / "docs" / "method.md").read_text(encoding="utf-8")
    known = {
        name: {field.name for field in fields(getattr(config, name))}
        for name in ("AnalysisConfig", "SynthesisConfig")
    }
    for cell in re.findall(r"`(?:Analysis|Synthesis)Config\.\w+`(?:, `\.\w+`)*", text):
        name = cell[1:].partition(".")[0]
        assert set(re.findall(r"\.(\w+)`", cell)) <= known[name], cell


def test_every_command_has_its_help_on_the_command_line_page(root: Path) -> None:
    import typer

    from napari_deblur.cli.app import build_app

    text = (root / "docs" / "command-line.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"^<!-- help: *([a-z ]*?) *-->$", text, re.MULTILINE)) - {""}
    commands = set(typer.main.get_command(build_app()).commands)
    assert shown == commands


@pytest.mark.parametrize("page", ["README.md", "docs/index.md", "docs/api.md"])
def test_python_on_a_page_is_valid_and_uses_public_names(root: Path, page: str) -> None:
    import napari_deblur

    text = (root / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^( *)```python\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL)
    assert blocks
    for indent, block in blocks:
        code = "\n".join(line.removeprefix(indent) for line in block.splitlines())
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "napari_deblur":
                assert node.attr in napari_deblur.__all__


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/reliability.md", "README.md"])
def test_files_and_targets_that_a_page_names_exist(root: Path, page: str) -> None:
    text = (root / page).read_text(encoding="utf-8")
    homes = (root, root / "src" / "napari_deblur")
    named = set(re.findall(r"`((?:[\w.-]+/)+[\w.-]*)`", text))
    named |= {
        link for link in re.findall(r"\]\(([^)#:]+)\)", text) if page != "docs/reliability.md"
    }
    generated = {
        "site/",
        "demo-output/",
        "joint/analysis.safetensors",
        "joint/synthesis.safetensors",
    }
    for name in sorted(named - generated):
        if "NAME" not in name:
            assert any((home / name).exists() for home in homes), name
    targets = set(re.findall(r"^([a-z]+):", (root / "Makefile").read_text("utf-8"), re.MULTILINE))
    commands = re.findall(r"`(?:[A-Z_]+=\S+ )?make ([a-z]+)", text)
    commands += re.findall(r"^make ([a-z]+)", text, re.MULTILINE)
    assert set(commands) <= targets


def test_table_of_long_runs_is_the_one_that_was_measured(root: Path) -> None:
    text = (root / "docs" / "reliability.md").read_text(encoding="utf-8")
    soak = runpy.run_path(str(root / ".ci" / "soak.py"))
    table = text.partition(soak["BEGIN"])[2].partition(soak["END"])[0].strip()
    figures = json.loads((root / "docs" / "reliability.json").read_text(encoding="utf-8"))
    assert table == soak["section"](figures)
    assert "failed" not in table


def test_every_page_is_in_the_navigation(root: Path) -> None:
    listed = set(re.findall(r"^ +- ([\w-]+\.md)$", (root / "mkdocs.yml").read_text(), re.MULTILINE))
    assert listed == {path.name for path in (root / "docs").glob("*.md")}


def test_figures_of_the_readme_are_those_of_the_accuracy_page(root: Path) -> None:
    text = (root / "README.md").read_text(encoding="utf-8")
    measured = json.loads((root / "docs" / "accuracy.json").read_text(encoding="utf-8"))
    for name in ("levin", "kodak", "lai"):
        rows = [measured[name].get(row) for row in ("blurry", "blind", "known")]
        row = re.search(rf"^\| {name}\b.*?\|(.*)\|$", text, re.MULTILINE | re.IGNORECASE)[1]
        cells = [cell.strip(" *") for cell in row.split("|")]
        assert cells == ["" if row is None else f"{row['mean']['psnr']:.1f}" for row in rows], name
        assert f"{measured[name]['blind']['images']} " in text


def test_recipe_on_the_training_page_is_valid(root: Path, tmp_path: Path) -> None:
    from napari_deblur.training.recipe_files import load_recipe

    text = (root / "docs" / "training.md").read_text(encoding="utf-8")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(re.search(r"^```toml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[1])
    assert load_recipe(str(recipe)).stage.analysis.crop == 256


def test_the_install_page_tells_the_size_of_the_networks(root: Path) -> None:
    text = (root / "docs" / "install.md").read_text(encoding="utf-8")
    [told] = re.findall(r"networks come with it, (\d+) MB", text)
    data = root / "src" / "napari_deblur" / "weights" / "data"
    held = sum(path.stat().st_size for path in data.glob("*.safetensors"))
    assert float(told) == pytest.approx(held / 1e6, rel=0.15)
