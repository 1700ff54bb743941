"""Whatever is not usable is refused with one line and exit code 2, and nothing is written."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

Outcome = tuple[int, str, str]

GOOD = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
KERNEL = np.eye(5, dtype=np.float32)


def _tif(array: Any, **options: Any) -> Callable[[Path], None]:
    return lambda path: tifffile.imwrite(path, np.asarray(array), **options)


def _bytes(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content) and None


def _spoilt(value: float) -> np.ndarray:
    image = GOOD.astype(np.float32)
    image[3, 7] = value
    return image


BAD_IMAGES = {
    "missing": (lambda _: None, r"image\.tif"),
    "empty file": (lambda path: path.touch(), r"image\.tif"),
    "not an image": (_bytes(b"Dear diary, today nothing happened."), r"image\.tif"),
    "truncated": (_bytes(b"II*\0\x08\0\0\0"), r"image\.tif"),
    "too small": (_tif(GOOD[:15]), "15 x 40"),
    "nan": (_tif(_spoilt(np.nan)), "nan"),
    "inf": (_tif(_spoilt(np.inf)), "inf"),
    "complex": (_tif(GOOD.astype(np.complex64)), "complex64"),
    "bool": (_tif(GOOD > 99), "bool cannot be deblurred"),
    "cmyk": (_tif(np.zeros((40, 40, 4), np.uint8), photometric="separated"), "CMYK.*RGB"),
    "channels": (_tif(np.zeros((40, 40, 5), np.uint8), photometric="rgb"), "5"),
}

BAD_KERNELS = {
    "not 2-D": (np.ones((3, 5, 5), np.float32), "3"),
    "even": (np.ones((4, 4), np.float32), "4"),
    "not square": (np.ones((3, 5), np.float32), "3"),
    "larger than the model's": (np.ones((301, 301), np.float32), "301"),
    "negative": (KERNEL - 0.5, "-0.5"),
    "all zero": (KERNEL * 0, "zero"),
    "nan": (KERNEL * np.nan, "nan|finite"),
}

# Arguments after `deblur image.tif -o out.tif --model MODEL`; later options win.
BAD_OPTIONS = {
    "model": (["--model", "no-such-model"], "no-such-model"),
    "device": (["--device", "abacus"], "abacus"),
    "tile": (["--tile", "3"], "3"),
    "not a number": (["--tile", "large"], "large"),
    "unknown option": (["--sharpness", "9"], "--sharpness"),
    "output format": (["-o", "out.gif"], r"out\.gif"),
    "output is the input": (["-o", "image.tif", "--overwrite"], r"image\.tif"),
    "output exists": (["-o", "taken.tif"], r"taken\.tif.*--overwrite"),
    "output in a file": (["-o", "taken.tif/out.tif"], r"taken\.tif"),
    "output cannot be written": (["-o", "/proc/out.tif"], "/proc"),
    "kernel's file missing": (["--kernel", "nowhere.tif"], r"nowhere\.tif"),
    "output is the kernel": (
        ["--kernel", "taken.tif", "-o", "taken.tif", "--overwrite"],
        r"taken\.tif",
    ),
    "axes": (["--axes", "TYX"], "'TYX'"),
    "axes twice": (["--axes", "YY"], "'YY'"),
    "channels": (["--channel-axis", "C"], "'C'"),
    "noise": (["--noise", "-3"], "-3"),
    "gamma": (["--gamma", "0"], "gamma 0"),
    "saturation": (["--saturation", "nan"], "saturation nan"),
    "region": (["--region", "0-9"], "0-9.*10:200"),
    "small region": (["--region", "0:9,0:40"], "9 x 40"),
    "mask": (["--mask", "nowhere.tif"], r"nowhere\.tif"),
    "mask and region": (["--mask", "taken.tif", "--region", "0:30,0:30"], "--region.*--mask"),
    "two kernels": (["--kernel", "taken.tif", "--one-kernel"], "--one-kernel"),
}


def contents(folder: Path) -> dict[str, bytes | None]:
    """Everything under a folder: files with their bytes, folders as None."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def assert_refused(outcome: Outcome, expected: str, folder: Path, before: object) -> None:
    code, _, err = outcome
    assert code == 2, err
    assert err.count("\n") == 1, err
    assert err.startswith("Error: ")
    assert re.search(expected, err), err
    assert contents(folder) == before


@pytest.mark.parametrize("case", BAD_IMAGES)
@pytest.mark.parametrize("name", ["deblur", "kernel", "shake"])
def test_bad_images(
    name: str, case: str, tmp_path: Path, command: Callable[..., Outcome], model: str
) -> None:
    make, expected = BAD_IMAGES[case]
    image = tmp_path / "image.tif"
    make(image)
    before = contents(tmp_path)
    options = [] if name == "shake" else ["--model", model, "--device", "cpu"]
    outcome = command(name, image, "-o", tmp_path / "out.tif", *options)
    assert_refused(outcome, expected, tmp_path, before)


@pytest.mark.parametrize("case", BAD_KERNELS)
def test_bad_kernels(
    case: str, tmp_path: Path, command: Callable[..., Outcome], model: str
) -> None:
    kernel, expected = BAD_KERNELS[case]
    tifffile.imwrite(tmp_path / "image.tif", GOOD)
    tifffile.imwrite(tmp_path / "kernel.tif", kernel, photometric="minisblack")
    before = contents(tmp_path)
    outcome = command(
        "deblur", tmp_path / "image.tif", "-o", tmp_path / "out" / "image.tif",
        "--kernel", tmp_path / "kernel.tif", "--model", model, "--device", "cpu",
    )  # fmt: skip
    assert_refused(outcome, expected, tmp_path, before)
    assert "kernel.tif" in outcome[2]


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_bad_options(
    case: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: Callable[..., Outcome],
    model: str,
) -> None:
    options, expected = BAD_OPTIONS[case]
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("image.tif", GOOD)
    tifffile.imwrite("taken.tif", KERNEL)
    before = contents(tmp_path)
    args = ["image.tif", "-o", "out.tif", "--model", model, "--device", "cpu", *options]
    assert_refused(command("deblur", *args), expected, tmp_path, before)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["shake", "image.tif", "-o", "out.tif", "--size", "0"], "0"),
        (["shake", "image.tif", "-o", "out.tif", "--noise", "-1"], "-1"),
        (["shake", "image.tif", "-o", "out.tif", "--gain", "0.5"], r"0\.5"),
        (["kernel", "image.tif", "-o", "kernel.png"], r"kernel\.png.*\.tif"),
        (["kernel", "image.tif", "-o", "kernel.tif", "--slice", "T3"], "T3"),
        (["kernel", "image.tif", "-o", "kernel.tif", "--grid", "many"], "many.*3x4"),
        (["kernel", "image.tif", "-o", "kernel.tif", "--grid", "9x9"], "9 x 9"),
        (["evaluate", "levin", "."], "im1_kernel1_blurry"),
        (["evaluate", "levin", ".", "--method", "magic"], "magic"),
        (["evaluate", "gopro", "."], "gopro"),
        (["evaluate", "levin", ".", "--keep-kernels", "pairs.tif"], "pairs.tif"),
        (["evaluate", "levin", ".", "--keep-kernels", "p.npz", "--known-kernel"], "--known-kernel"),
        (["models", "path", "no-such-model"], "no-such-model"),
        (["demo", "--out", "image.tif"], r"image\.tif"),
        (["deblur", "image.tif"], "-o"),
        (["polish", "image.tif"], "polish"),
    ],
)
def test_other_commands_refuse_too(
    args: list[str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: Callable[..., Outcome],
) -> None:
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("image.tif", GOOD)
    before = contents(tmp_path)
    assert_refused(command(*args), expected, tmp_path, before)


def test_a_process_of_its_own_refuses_without_a_traceback(
    tmp_path: Path, program: Callable[..., Outcome], model: str
) -> None:
    out = tmp_path / "out.png"
    outcome = program("deblur", tmp_path / "none.png", "-o", out, "--model", model)
    assert_refused(outcome, r"none\.png", tmp_path, {})
