"""Sharp images from outside: read, or skipped, counted and named; never written anywhere."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_deblur.errors import DeblurError, FileError, InputError
from napari_deblur.training.recipe import DataRecipe
from napari_deblur.training.sources import read_sources
from napari_deblur.training.store import load_sharp_data

if TYPE_CHECKING:
    from pathlib import Path


def _png(side: int = 40, value: int = 100) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side), (value, 10, 20)).save(file, "PNG")
    return file.getvalue()


def _folder(path: Path, **files: bytes) -> Path:
    path.mkdir()
    for name, data in files.items():
        (path / f"{name}.png").write_bytes(data)
    return path


def test_unreadable_images_are_skipped_counted_and_named(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "set", good=_png(), cut=_png()[:60], text=b"not an image")
    images, report = read_sources([folder], 2048)
    assert [image.name for image in images] == ["set/good.png"]
    assert {name for name, _ in report.skipped} == {"set/cut.png", "set/text.png"}
    assert report.sentence().startswith("2 skipped (")
    assert report.manifest[0]["images"] == 1


def test_zip_is_read_in_memory_and_members_that_point_outside_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("a.png", "../evil.png", "/abs.png", "sub/b.png"):
            archive.writestr(name, _png(value=len(name)))
        archive.writestr("notes.txt", "x")
    images, report = read_sources([path], 2048)
    assert {image.name for image in images} == {"set.zip/a.png", "set.zip/sub/b.png"}
    assert all("points out of the archive" in reason for _, reason in report.skipped)
    assert len(report.skipped) == 2
    assert sorted(tmp_path.iterdir()) == [path]


def test_member_whose_data_is_damaged_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", _png())
        archive.writestr("b.png", _png(value=7))
    data = bytearray(path.read_bytes())
    data[60] ^= 255
    path.write_bytes(bytes(data))
    images, report = read_sources([path], 2048)
    assert (len(images), len(report.skipped)) == (1, 1)


def test_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(_png())
    folder = _folder(tmp_path / "set", good=_png())
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    images, report = read_sources([folder], 2048)
    assert len(images) == 1
    assert report.skipped == [("set/link.png", "links out of its folder")]


@pytest.mark.parametrize("kind", ["absent", "text", "zip"])
def test_path_that_is_no_source_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"{kind}.dat"
    if kind == "text":
        path.write_text("hello")
    elif kind == "zip":
        path.write_bytes(b"PK\x05\x06" + bytes(10))
    with pytest.raises(FileError, match=f"{kind}.dat"):
        read_sources([path], 2048)


def test_depth_and_channels_become_rgb_of_8_bits(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "set")
    deep = np.linspace(1000, 3000, 40 * 40).reshape(40, 40).astype(np.uint16)
    tifffile.imwrite(folder / "deep.tif", deep)
    Image.fromarray(np.full((40, 40), 9, np.uint8)).save(folder / "grey.png")
    images, _ = read_sources([folder], 2048)
    by_name = {image.name: image.pixels for image in images}
    assert by_name["set/deep.tif"].shape == (40, 40, 3)
    assert (by_name["set/deep.tif"].min(), by_name["set/deep.tif"].max()) == (0, 255)
    assert (by_name["set/grey.png"] == 9).all()


def test_budget_bounds_what_is_decoded(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "set", **{f"i{i:03d}": _png(16, i % 250) for i in range(150)})
    images, report = read_sources([folder], 2048, budget=16 * 16 * 3 * 10)
    assert len(images) == 64
    assert len(report.skipped) == 86


def _load(paths: list[Path], **changes: float) -> None:
    recipe = DataRecipe(photographs=1, held_out=1, **changes)  # type: ignore[arg-type]
    load_sharp_data(recipe, paths, seed=0, workers=1, smallest=32)


def test_no_images_and_only_small_ones_are_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no usable photographs: give --data"):
        _load([])
    folder = _folder(tmp_path / "set", small=_png(31))
    with pytest.raises(DeblurError, match=r"set/small.png: 31x31 is under 32 pixels"):
        _load([folder])


def test_held_out_images_are_never_trained_on(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folder = _folder(tmp_path / "set")
    for i in range(9):
        Image.fromarray(rng.integers(0, 255, (40, 40, 3), np.uint8)).save(folder / f"{i}.png")
    recipe = DataRecipe(photographs=1, held_out=3)
    data = load_sharp_data(recipe, [folder], seed=0, workers=1, smallest=32)
    assert (len(data.training.table), len(data.held_out.table)) == (6, 3)
    mine = {data.training.window(i, 0, 0, 40).numpy().tobytes() for i in range(6)}
    theirs = {data.held_out.window(i, 0, 0, 40).numpy().tobytes() for i in range(3)}
    assert not mine & theirs
