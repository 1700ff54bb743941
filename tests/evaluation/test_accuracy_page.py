"""The script behind docs/accuracy.md: rows that can be built, tables between markers, resuming."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import skimage.data
import skimage.filters
import skimage.io

from napari_deblur.evaluation import simulated
from napari_deblur.evaluation.benchmark import Case


@pytest.fixture
def script(root: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """The script's modules by name."""
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    names = ("rows", "store", "pictures", "field", "real", "tables")
    yield {name: importlib.import_module(f"_accuracy_{name}") for name in names}
    for name in [*(f"_accuracy_{each}" for each in names), "field", "pooling"]:
        sys.modules.pop(name, None)


def test_every_row_can_be_built_and_has_a_key_of_its_own(script: dict[str, ModuleType]) -> None:
    rows = script["rows"]
    noise = [row for level in rows.NOISES for row in rows.noise_rows(level)]
    for section in (rows.LEVIN, rows.LAI, rows.KODAK, noise):
        assert len({row.key for row in section}) == len(section)
        for row in section:
            assert row.build("default", "cpu").name == row.method


def test_results_are_kept_image_by_image_and_written_between_the_markers(
    script: dict[str, ModuleType], tmp_path: Path
) -> None:
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for name, top in (("a", 0), ("b", 100)):
        skimage.io.imsave(
            photographs / f"{name}.png", skimage.data.camera()[top : top + 90, 150:250]
        )
    cases = simulated.find_cases(photographs, sizes=(5, 9))
    bench = script["store"].Bench(tmp_path / "work", tmp_path / "accuracy.json", "default", "cpu")
    row = next(row for row in script["rows"].KODAK if row.key == "known-hl")
    bench.run("kodak", row, cases, simulated.PROTOCOL)
    first = json.loads((tmp_path / "accuracy.json").read_text())["kodak"]["known-hl"]
    assert first["images"] == 2

    # What is there is not measured again.
    kept = tmp_path / "work" / "kodak" / "known-hl.json"
    images = json.loads(kept.read_text())
    images["a"]["psnr"] = 99.0
    kept.write_text(json.dumps(images))
    bench.run("kodak", row, cases, simulated.PROTOCOL)
    results = json.loads((tmp_path / "accuracy.json").read_text())
    mean = results["kodak"]["known-hl"]["mean"]
    assert mean["psnr"] == pytest.approx(np.mean([99, images["b"]["psnr"]]), abs=1e-3)

    page = tmp_path / "page.md"
    page.write_text("before\n<!-- kodak: begin -->\nold\n<!-- kodak: end -->\nafter\n")
    script["tables"].write_tables(page, results)
    text = page.read_text()
    assert text.startswith("before\n<!-- kodak: begin -->\n")
    assert text.endswith("<!-- kodak: end -->\nafter\n")
    assert f"| {row.label} | {mean['psnr']:.2f} |" in text
    assert "old" not in text


def test_the_page_has_the_markers_of_every_table(script: dict[str, ModuleType], root: Path) -> None:
    text = (root / "docs" / "accuracy.md").read_text(encoding="utf-8")
    for name in [*script["tables"].TABLES, "durations"]:
        assert text.index(f"<!-- {name}: begin -->") < text.index(f"<!-- {name}: end -->")


def test_published_rows_stand_in_the_tables(script: dict[str, ModuleType]) -> None:
    row = {
        "label": "ours",
        "images": 1,
        "weights": "x",
        "mean": {"psnr": 30.0, "ssim": 0.9, "seconds": 2.0},
        "groups": {"text": {"psnr": 30.0}},
    }
    tables = script["tables"]
    assert "| ours | 30.00 | 0.900 |  | 2.0 | 30.00 |" in tables.lai({"blind": row})
    assert "*Cho & Lee* (Ren et al. CVPR 2020) | 30.57 | 0.897" in tables.levin({"blind": row})


def test_the_mean_of_a_row_that_leaves_groups_out_is_not_shown_as_that_of_all(
    script: dict[str, ModuleType],
) -> None:
    def row(label: str, *groups: str) -> dict[str, object]:
        return {
            "label": label,
            "images": len(groups),
            "weights": "x",
            "mean": {"psnr": 30.0, "seconds": 1.0, "spent": 90.0},
            "groups": {group: {"psnr": 30.0} for group in groups},
        }

    results = {"blind": row("ours", "saturated", "text"), "clipped": row("part", "saturated")}
    table = script["tables"].lai(results)
    assert "| ours | 30.00 |  |  | 1.0 | 30.00 | 30.00 |" in table
    assert "| part |  |  |  |  | 30.00 |  |" in table
    assert "| Lai et al. | `--only lai` | 4 |" in script["tables"].durations({"lai": results})


def test_a_row_of_some_groups_is_measured_on_these_only(
    script: dict[str, ModuleType], tmp_path: Path
) -> None:
    clipped = [row for row in script["rows"].LAI if row.groups]
    assert {row.groups for row in clipped} == {("saturated",)}
    bench = script["store"].Bench(tmp_path / "work", tmp_path / "accuracy.json", "default", "cpu")
    missing = Case("text_01", "text", tmp_path / "a.png", tmp_path / "b.png")
    bench.run("lai", clipped[0], [missing], simulated.PROTOCOL)
    assert not bench.results.exists()


def test_what_is_no_benchmark_is_made_once_and_told_how_long_it_took(
    script: dict[str, ModuleType], tmp_path: Path
) -> None:
    bench = script["store"].Bench(tmp_path / "work", tmp_path / "accuracy.json", "default", "cpu")
    first = bench.once("field", "roll-a", lambda: {"psnr": {"grid": 30.0}})
    again = bench.once("field", "roll-a", lambda: pytest.fail("measured again"))
    assert first == again
    assert first["spent"] >= 0
    bench.keep("field", {"scenes": {"roll": [first]}})
    assert json.loads(bench.results.read_text())["field"]["scenes"]["roll"] == [first]


def test_a_field_has_one_line_with_its_gain(script: dict[str, ModuleType]) -> None:
    scenes = [
        {
            "psnr": {"blurry": 20.0, "one kernel": 25.0, "grid": 25.0 + gain, "true kernels": 30.0},
            "seconds": {"grid": 9.0},
            "varies": gain > 0,
        }
        for gain in (0.0, 2.0)
    ]
    _, lines = script["field"].field_table({"scenes": {"roll": scenes}})
    assert lines[0][1:] == ["20.00", "25.00", "26.00", "30.00", "+0.00 to +2.00", "1 of 2", "9"]


def test_sharper_pictures_are_sparser_and_explain_the_blurry_one(
    script: dict[str, ModuleType],
) -> None:
    sharp = np.stack([skimage.data.camera()[100:356, 60:316]] * 3, axis=-1)
    blurry = np.uint8(np.rint(skimage.filters.gaussian(sharp, 2, channel_axis=-1) * 255))
    figures = script["real"]._figures(sharp, blurry)
    assert figures["sparsity"] < 1
    other = script["real"]._figures(np.ascontiguousarray(sharp[::-1]), blurry)
    assert other["residual"] > 5 * figures["residual"]


def test_kernels_are_drawn_centred_and_missing_ones_left_grey(
    script: dict[str, ModuleType], tmp_path: Path
) -> None:
    kernel = np.zeros((9, 9), np.float32)
    kernel[1, 1] = 1
    script["pictures"].kernel_montage(tmp_path / "k.png", [[kernel], [None]], 15)
    picture = skimage.io.imread(tmp_path / "k.png")[::3, ::3]
    assert picture[2:17, 2:17][7, 7] == 255
    assert picture[2:17, 2:17].astype(int).sum() == 255
    assert (picture[-17:-2, 2:17] == 64).all()
