"""The registry is parsed strictly and written as it is read; models are found by name or folder."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_deblur.errors import ModelError, WeightsError
from napari_deblur.networks.classifier import BlurSizeClassifier
from napari_deblur.networks.presets import PRESETS
from napari_deblur.weights import fetch, registry
from napari_deblur.weights.entries import ModelEntry, Registry, Trained, WeightsEntry
from napari_deblur.weights.files import save_weights
from napari_deblur.weights.register import entry_for, main
from napari_deblur.weights.registry import find_model, find_weights, local_model, models
from napari_deblur.weights.registry_text import parse_registry, to_toml


def entry(kind: str = "analysis", **changes: object) -> WeightsEntry:
    plain = WeightsEntry(
        file=f"one-{kind}.safetensors",
        sha256="ab" * 32,
        size=1234,
        kind=kind,
        preset="tiny",
        kernel_size=15,
        training_data="photographs",
        licence="CC0-1.0",
        trained=Trained("short", 100, 0.5),
        figures={"Levin, PSNR (dB)": 30.25},
    )
    return replace(plain, **changes)


MODEL = ModelEntry("one", "one-analysis.safetensors", "one-synthesis.safetensors", 15, "first")
FILES = {each.file: each for each in (entry("analysis"), entry("synthesis"), entry("classifier"))}
GOOD = Registry(FILES, {"one": MODEL}, "one")
TEXT = to_toml(GOOD)


def test_registry_comes_back_as_it_was_written() -> None:
    again = parse_registry(TEXT)
    assert dict(again.files) == FILES
    assert dict(again.models) == {"one": MODEL}
    assert again.default == "one"


def test_registry_may_be_empty() -> None:
    assert parse_registry("# nothing yet\n") == Registry({}, {}, None)


text = st.text(st.characters(exclude_categories=["Cs"]))


@given(text, text, st.floats(allow_nan=False, allow_infinity=False), text)
def test_any_text_and_figure_survives(data: str, key: str, value: float, recipe: str) -> None:
    before = entry(training_data=data, figures={key: value}, trained=Trained(recipe, 1, 2.0))
    assert parse_registry(to_toml(before)).files[before.file] == before


@pytest.mark.parametrize(
    "name",
    [
        "../one-analysis.safetensors",
        "/etc/one.safetensors",
        "a/b.safetensors",
        "a\\b.safetensors",
        "..safetensors",
        "a..safetensors",
        ".hidden.safetensors",
        "C:one.safetensors",
        "one.bin",
        "one.safetensors\n",
        "",
        "é.safetensors",
    ],
)
def test_file_name_that_could_leave_its_folder_is_refused(name: str) -> None:
    with pytest.raises(WeightsError, match="file name"):
        parse_registry(to_toml(entry(file=name)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('default = "one"', "", "default None"),
        ('default = "one"', 'default = "two"', "default 'two'"),
        ('default = "one"', "default = 1", "default 1"),
        ('default = "one"', 'default = "one"\nextra = 1', "unknown key 'extra'"),
        ("size = 1234", "size = 0", "the size 0"),
        ("size = 1234", "size = 1.5", "the size 1.5"),
        ("size = 1234", "size = true", "the size True"),
        ("size = 1234", "size = 1234\nurl = 'x'", "unknown key 'url'"),
        ("size = 1234\n", "", "lacks size"),
        ('sha256 = "ab', 'sha256 = "AB', "the sha256"),
        ('sha256 = "ab', 'sha256 = "', "the sha256"),
        ('kind = "analysis"', 'kind = "magic"', "kind 'magic'"),
        ('kind = "analysis"', 'kind = "synthesis"', "no file of this kind"),
        ("kernel_size = 15", "kernel_size = 14", "must be odd"),
        ("kernel_size = 15", "kernel_size = 31", "must not be the larger"),
        ('preset = "tiny"', "preset = 3", "a string is needed"),
        ("steps = 100", "steps = -1", "the steps -1"),
        ("hours = 0.5", "hours = nan", "finite number"),
        ("30.25", '"high"', "finite number"),
        ("one-synthesis.safetensors", "one-analysis.safetensors", "twice"),
        ("one-synthesis.safetensors", "ONE-analysis.safetensors", "twice"),
        ("[[model]]", to_toml(MODEL) + "[[model]]", "twice"),
        ('name = "one"', 'name = "default"', "'default' and 'auto' are taken"),
        ('name = "one"', 'name = "auto"', "'default' and 'auto' are taken"),
        ('name = "one"', 'name = "one"\nsize_class = [61, 32]', r"the size_class \[61, 32\]"),
        ('name = "one"', 'name = "one"\nsize_class = 31', "the size_class 31"),
        ('name = "one"', 'name = "../one"', "model name"),
        ('analysis = "one-analysis', 'analysis = "two-analysis', "no file of this kind"),
        ("[[model]]", "[model]", "list of tables"),
        ("[[model]]", "[[", "no TOML"),
    ],
)
def test_registry_with_one_thing_wrong_is_refused(old: str, new: str, message: str) -> None:
    assert old in TEXT
    with pytest.raises(WeightsError, match=message):
        parse_registry(TEXT.replace(old, new, 1))


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(st.integers(0, len(TEXT) - 1), st.characters(exclude_categories=["Cs"])),
        min_size=1,
        max_size=4,
    )
)
def test_damaged_registry_is_read_or_refused_and_nothing_else(
    changes: list[tuple[int, str]],
) -> None:
    damaged = list(TEXT)
    for position, character in changes:
        damaged[position] = character
    message = ""
    try:
        parse_registry("".join(damaged))
    except WeightsError as error:
        message = str(error)
    assert "\n" not in message


def test_shipped_registry_is_valid_and_its_embedded_files_are_right() -> None:
    shipped = registry.registry()
    assert registry.models() == dict(shipped.models)
    embedded = {path.name for path in fetch.EMBEDDED.glob("*.safetensors")}
    assert embedded <= shipped.files.keys(), "a file in data/ that the registry does not list"
    for name in embedded:
        content = (fetch.EMBEDDED / name).read_bytes()
        assert len(content) == shipped.files[name].size
        assert hashlib.sha256(content).hexdigest() == shipped.files[name].sha256
    if shipped.default is not None:
        default = shipped.models[shipped.default]
        assert {default.analysis, default.synthesis} <= embedded
        assert find_model("default") == find_model(shipped.default) == default


def test_unknown_model_is_refused_with_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "registry", lambda: GOOD)
    assert find_model() == find_model("default") == find_model("one") == MODEL
    assert list(models()) == ["one"]
    assert find_weights(MODEL.analysis) == FILES[MODEL.analysis]
    with pytest.raises(ModelError, match="'two' is not known; known are default, auto, one"):
        find_model("two")
    with pytest.raises(ModelError, match="known are one-analysis"):
        find_weights("two.safetensors")
    monkeypatch.setattr(registry, "registry", lambda: Registry({}, {}, None))
    with pytest.raises(ModelError, match="none in this version"):
        find_model("default")


def test_folder_with_a_pair_is_a_model(save: Callable[..., Path], tmp_path: Path) -> None:
    analysis, synthesis = save("analysis", steps=7), save("synthesis")
    for name in (tmp_path, str(tmp_path)):
        model = find_model(name)
        assert model.name == str(tmp_path)
        assert model.kernel_size == 15
        found = find_weights(model.analysis)
        assert (found.location, found.kind) == (analysis, "analysis")
        assert fetch.weights_path(found) == analysis
        assert fetch.weights_path(find_weights(model.synthesis)) == synthesis
        assert fetch.status(found) == "cached"
        assert found.sha256 == hashlib.sha256(analysis.read_bytes()).hexdigest()
    assert local_model(analysis, synthesis).kernel_size == 15


def test_folder_without_a_pair_is_refused(save: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no file .*analysis\.safetensors"):
        find_model(tmp_path)
    analysis = save("analysis")
    with pytest.raises(ModelError, match=r"no file .*synthesis\.safetensors"):
        find_model(tmp_path)
    with pytest.raises(WeightsError, match="holds a network for analysis; synthesis is needed"):
        local_model(analysis, analysis)


def test_a_synthesis_network_for_smaller_kernels_than_the_analysis_finds_makes_no_pair(
    save: Callable[..., Path], tmp_path: Path
) -> None:
    from napari_deblur.networks.presets import PRESETS
    from napari_deblur.networks.synthesis import SynthesisNetwork
    from napari_deblur.weights.files import save_weights

    save("analysis")
    path = tmp_path / "synthesis.safetensors"

    def write(size: int) -> None:
        config = replace(PRESETS["tiny"].synthesis, kernel_size=size)
        save_weights(path, SynthesisNetwork(config), "synthesis", config, {})

    write(17)
    assert find_model(tmp_path).kernel_size == 17
    write(13)
    with pytest.raises(WeightsError, match=r"15 pixels .* takes 13"):
        find_model(tmp_path)


def test_entry_is_made_from_a_file(save: Callable[..., Path], tmp_path: Path) -> None:
    path = save("synthesis", steps=70, hours=1.5)
    made = entry_for(
        path,
        preset="tiny",
        training_data="photographs",
        licence="CC0-1.0",
        recipe="short",
        figures={"PSNR": 30},
        file="mine.safetensors",
    )
    content = path.read_bytes()
    assert made == WeightsEntry(
        "mine.safetensors",
        hashlib.sha256(content).hexdigest(),
        len(content),
        "synthesis",
        "tiny",
        15,
        "photographs",
        "CC0-1.0",
        Trained("short", 70, 1.5),
        {"PSNR": 30.0},
    )
    with pytest.raises(WeightsError, match="file name"):
        entry_for(path, preset="", training_data="", licence="", file="../x.safetensors")


def test_printed_tables_are_a_registry(
    save: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    names = [str(save("analysis")), str(save("synthesis"))]
    options = ["--name", "mine", "--preset", "tiny", "--training-data", "x", "--licence", "CC0-1.0"]
    main([*names, *options])
    known = parse_registry('default = "mine"\n' + capsys.readouterr().out)
    assert known.models["mine"].analysis == "mine-analysis.safetensors"
    assert set(known.files) == {"mine-analysis.safetensors", "mine-synthesis.safetensors"}


def test_the_classifier_is_registered_alone_and_found_by_its_kind(
    save: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = ["--name", "size", "--preset", "tiny", "--training-data", "x", "--licence", "CC0-1.0"]
    main([str(save("classifier")), *options])
    pair = replace(MODEL, size_class=(1, 31))
    text = to_toml(Registry(dict(list(FILES.items())[:2]), {"one": pair}, "one"))
    known = parse_registry(f"{text}\n{capsys.readouterr().out}")
    monkeypatch.setattr(registry, "registry", lambda: known)
    found = registry.classifier_entry()
    assert found is not None
    assert found.file == "size.safetensors"
    assert registry.pair_of_class((1, 31)) == "one"
    assert registry.pair_of_class((32, 61)) is None
    assert find_model("auto") == find_model("default")


def test_the_size_of_a_classifiers_kernels_counts_how_much_it_shrinks(tmp_path: Path) -> None:
    config = replace(PRESETS["tiny"].classifier, shrink=4)
    save_weights(tmp_path / "c.safetensors", BlurSizeClassifier(config), "classifier", config, {})
    assert find_weights(tmp_path / "c.safetensors").kernel_size == config.kernel_size == 57


def test_registry_and_paths_need_neither_torch_nor_pooch() -> None:
    code = (
        "import sys; from napari_deblur.weights import fetch, registry, register; "
        "registry.models(); fetch.cache_folder(); "
        "print({'torch', 'pooch', 'requests'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_registry_file_is_plain_toml() -> None:
    assert isinstance(tomllib.loads(registry.REGISTRY_FILE.read_text("utf-8")), dict)
