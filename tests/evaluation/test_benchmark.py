"""Benchmarks run end to end; the published figures come out where the data are there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
import skimage.io
import tifffile

from napari_deblur.errors import FileError, InputError
from napari_deblur.evaluation import folder, lai, levin
from napari_deblur.evaluation.benchmark import Protocol, evaluate, score
from napari_deblur.evaluation.methods import Method, find_method


def write_pairs(path: Path, *, kernel: bool) -> None:
    """Write `text_blurry.png`, its truth and its kernel: a shift by two pixels to the right."""
    sharp = skimage.data.camera()[100:196, 200:300]
    skimage.io.imsave(path / "text_sharp.png", sharp)
    skimage.io.imsave(path / "text_blurry.png", np.roll(sharp, 2, axis=1))
    if kernel:
        shift = np.zeros((5, 5), np.float32)
        shift[2, 4] = 1
        tifffile.imwrite(path / "text_kernel.tif", shift)


def test_pairs_side_by_side_are_found_aligned_and_scored(tmp_path: Path) -> None:
    write_pairs(tmp_path, kernel=True)
    cases = folder.find_cases(tmp_path)
    (row,) = evaluate(cases, find_method("blurry"), folder.PROTOCOL)
    assert (row.name, row.shift) == ("text", (0.0, 2.0))
    assert row.scores["psnr"] == np.inf


def test_pairs_in_two_folders_are_found_by_name(tmp_path: Path) -> None:
    for name in ("blurry", "sharp"):
        (tmp_path / name).mkdir()
        skimage.io.imsave(tmp_path / name / "a.png", skimage.data.camera()[100:164, 200:264])
    (case,) = folder.find_cases(tmp_path)
    assert (case.name, case.kernel) == ("a", None)
    with pytest.raises(InputError, match="known-kernel"):
        next(evaluate([case], find_method("wiener"), folder.PROTOCOL, known_kernel=True))
    (tmp_path / "sharp" / "a.png").unlink()
    with pytest.raises(FileError, match=r"a\.png"):
        folder.find_cases(tmp_path)


def test_known_kernels_reach_the_method(tmp_path: Path) -> None:
    write_pairs(tmp_path, kernel=True)
    method = find_method("hyper-laplacian", device="cpu")
    (row,) = evaluate(folder.find_cases(tmp_path), method, folder.PROTOCOL, known_kernel=True)
    # The kernel is a pure shift, so the deconvolution has to undo it.
    assert row.shift == (0.0, 0.0)
    assert row.scores["psnr"] > 30


@pytest.mark.parametrize(("tells", "expected"), [(False, None), (True, 9)])
def test_a_blind_method_is_told_the_kernels_size_only_where_the_protocol_says_so(
    tmp_path: Path, tells: bool, expected: int | None
) -> None:
    write_pairs(tmp_path, kernel=True)
    told = []

    def estimate(blurry: np.ndarray, size: int | None) -> np.ndarray:
        del blurry
        told.append(size)
        return np.eye(1, dtype=np.float32)

    method = Method("recorder", estimate, lambda blurry, _: blurry)
    protocol = Protocol(crop=8, largest_shift=2, luma=False, tells_size=tells)
    next(evaluate(folder.find_cases(tmp_path), method, protocol))
    assert told == [expected]


def test_estimates_are_clipped_like_an_image_file() -> None:
    sharp = np.zeros((1, 40, 40), np.float32)
    sharp[:, 20] = 1
    protocol = Protocol(crop=0, largest_shift=0, luma=False)
    assert score(sharp * 3 - 1, sharp, protocol)[0]["psnr"] == np.inf


@pytest.mark.parametrize("module", [levin, lai, folder])
def test_a_folder_without_images_is_refused(tmp_path: Path, module: object) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FileError, match=str(path)):
            module.find_cases(path)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "weight"), [("bm3d", None), ("wiener", -1.0), ("network", 3.0)])
def test_unknown_methods_and_impossible_weights_are_refused(
    name: str, weight: float | None
) -> None:
    with pytest.raises(InputError, match="one of"):
        find_method(name, weight=weight)


def test_linear_light_is_refused_where_a_method_would_ignore_it() -> None:
    with pytest.raises(InputError, match=r"gamma 2\.2"):
        find_method("wiener", more={"gamma": 2.2})
    find_method("network", more={"gamma": 2.2})


@pytest.mark.shared
def test_levin_has_32_images_whose_blurry_row_is_the_published_one(shared: Path) -> None:
    cases = levin.find_cases(shared / "bench" / "levin")
    rows = list(evaluate(cases, find_method("blurry"), levin.PROTOCOL))
    assert len(rows) == 32
    assert np.mean([row.scores["psnr"] for row in rows]) == pytest.approx(23.25, abs=0.005)


@pytest.mark.shared
def test_known_kernels_give_levins_known_kernel_row(shared: Path) -> None:
    """34.53 dB in the literature, over all images; a quarter of them stands for all."""
    cases = levin.find_cases(shared / "bench" / "levin")[1::4]
    method = find_method("hyper-laplacian", device="cpu")
    rows = list(evaluate(cases, method, levin.PROTOCOL, known_kernel=True))
    assert np.mean([row.scores["psnr"] for row in rows]) > 33


@pytest.mark.shared
def test_lai_is_scored_on_luma(shared: Path) -> None:
    cases = lai.find_cases(shared / "bench" / "lai")
    assert len(cases) == 60
    assert {case.group for case in cases} == {"manmade", "natural", "people", "saturated", "text"}
    case = next(case for case in cases if case.name == "text_01_kernel1")
    (row,) = evaluate([case], find_method("blurry"), lai.PROTOCOL)
    sharp = skimage.io.imread(case.sharp).astype(float)
    blurry = skimage.io.imread(case.blurry).astype(float)
    luma = (sharp - blurry) @ [65.481, 128.553, 24.966] / 255
    unaligned = 10 * np.log10(255**2 / np.mean(luma[15:-15, 15:-15] ** 2))
    assert unaligned - 0.01 < row.scores["psnr"] < unaligned + 4
