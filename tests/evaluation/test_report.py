"""Tables and JSON say what was measured, and where published figures come from."""

from __future__ import annotations

import json
import math

import pytest

from napari_deblur.evaluation.benchmark import Row
from napari_deblur.evaluation.report import format_report, means, references, to_json

ROWS = [
    Row("im1_kernel1", "im1", {"psnr": 30.0, "ssim": 0.9, "error_ratio": 1.5}, 2.0, (0.25, -1.0)),
    Row("im1_kernel2", "im1", {"psnr": 32.0, "ssim": 0.8, "error_ratio": 4.5}, 1.0, (0.0, 0.0)),
    Row("im2_kernel1", "im2", {"psnr": 40.0, "ssim": 0.7, "error_ratio": 2.0}, 3.0, (0.0, 0.0)),
]


def test_the_table_has_groups_the_mean_and_published_rows_with_sources() -> None:
    text = format_report("levin", "network", ROWS)
    cells = {line.split("  ")[0]: line.split() for line in text.splitlines() if line}
    assert cells["im1"] == ["im1", "2", "31.00", "0.850", "3.00", "1.50"]
    assert cells["network"] == ["network", "3", "34.00", "0.800", "2.67", "2.00"]
    assert cells["SelfDeblur *"][2:5] == ["32", "33.07", "0.931"]
    assert "67%" in text
    assert "CVPR 2020" in text


@pytest.mark.parametrize("benchmark", ["levin", "lai", "kohler"])
def test_every_published_row_names_its_source(benchmark: str) -> None:
    published = references(benchmark)
    assert published["rows"]
    assert all(row["source"] and row["psnr"] > 10 for row in published["rows"])


def test_own_folders_have_no_published_rows() -> None:
    assert references("folder")["rows"] == []
    assert "*" not in format_report("folder", "wiener", ROWS[:1])


def test_measures_that_some_rows_lack_are_averaged_over_the_others() -> None:
    other = Row("x", "im3", {"psnr": 20.0, "ssim": 0.5}, 1.0, (0.0, 0.0))
    assert means([*ROWS, other])["error_ratio"] == pytest.approx(8 / 3)


def test_json_holds_every_row_and_is_json_even_for_equal_images() -> None:
    equal = Row("same", "all", {"psnr": math.inf}, 0.1, (0.0, 0.0))
    report = json.loads(to_json("folder", "blurry", [equal], {"model": "default"}))
    assert report["rows"] == [
        {"name": "same", "group": "all", "psnr": None, "shift": [0.0, 0.0], "seconds": 0.1}
    ]
    assert report["settings"] == {"model": "default"}
