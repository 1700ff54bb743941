"""Damaged and malicious files: the documented error, no crash, no hang, no file elsewhere."""

from __future__ import annotations

import io
import json
import shutil
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_deblur.errors import DeblurError, FileError, RecipeError, WeightsError
from napari_deblur.files.images import open_image, read_image, write_image
from napari_deblur.files.kernels import read_kernel, write_kernel
from napari_deblur.training.checkpoints import latest_checkpoint, save_checkpoint
from napari_deblur.training.recipe_files import load_recipe, recipe_names
from napari_deblur.training.sources import read_sources
from napari_deblur.weights.files import open_network, read_weights
from napari_deblur.weights.registry_text import parse_registry

from .conftest import SOAK_SHARE, damaged

CASES = 30  # of each kind of file in `make test`; `make soak` runs fifty times as many
MANY = max(1, round(50 * CASES * SOAK_SHARE))
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 24, 30), np.uint8)


def tiff(**options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, PIXELS, photometric="minisblack", **options)
    return buffer.getvalue()


def picture(folder: Path, name: str) -> bytes:
    write_image(folder / name, PIXELS[0])
    return (folder / name).read_bytes()


IMAGES = {
    "plain.tif": lambda _: tiff(),
    "packed.tif": lambda _: tiff(compression="zlib", predictor=True, tile=(16, 16)),
    "big.tif": lambda _: tiff(bigtiff=True, byteorder=">"),
    "imagej.tif": lambda _: tiff(imagej=True),
    "a.ome.tif": lambda _: tiff(ome=True),
    "a.png": lambda folder: picture(folder, "a.png"),
    "a.jpg": lambda folder: picture(folder, "a.jpg"),
}


def assert_documented(read, path: Path, errors: type[DeblurError] = FileError) -> None:
    """Reading ends well or with a documented error of one line, and takes little memory."""
    tracemalloc.start()
    try:
        read(path)
    except errors as error:
        message = str(error)
    else:
        message = "read"
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert message
    assert "\n" not in message
    assert peak < 2**28, f"{peak >> 20} MiB for {path.stat().st_size} bytes"


def check(content: bytes, path: Path, read, errors=FileError, cases: int = CASES) -> None:
    """Try damaged copies of a file's content."""

    @settings(max_examples=cases)
    @given(damaged(content))
    def run(copy: bytes) -> None:
        path.write_bytes(copy)
        assert_documented(read, path, errors)

    run()


def limited(path: Path) -> None:
    read_image(path, max_pixels=10**6)


@pytest.mark.parametrize("name", IMAGES)
def test_damaged_image_is_read_or_refused(tmp_path: Path, name: str) -> None:
    check(IMAGES[name](tmp_path), tmp_path / name, limited)


@pytest.mark.soak
@pytest.mark.parametrize("name", IMAGES)
def test_many_damaged_images_are_read_or_refused(
    tmp_path: Path, name: str, record_property
) -> None:
    check(IMAGES[name](tmp_path), tmp_path / name, limited, cases=MANY)
    record_property("damaged copies tried", MANY)


@pytest.mark.parametrize("name", ["k.tif", "k.npy", "k.png"])
def test_damaged_kernel_is_read_or_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    kernel = np.outer([1, 2, 1], [1, 2, 1])
    if name == "k.tif":
        write_kernel(path, kernel / 16)
    elif name == "k.npy":
        np.save(path, kernel / 16)
    else:
        write_image(path, kernel.astype(np.uint8))
    check(path.read_bytes(), path, read_kernel, DeblurError)


def ome_zarr(path: Path) -> Path:
    """An OME-Zarr image of two compressed chunks."""
    group = zarr.create_group(path)
    group.create_array("0", data=PIXELS[0], chunks=(24, 15))
    axes = [{"name": name, "type": "space"} for name in "yx"]
    image = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": []}]}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}
    return path


@pytest.mark.parametrize("name", ["zarr.json", "0/zarr.json", "0/c/0/1"])
def test_damaged_store_is_read_or_refused(tmp_path: Path, name: str) -> None:
    store = ome_zarr(tmp_path / "a.zarr")
    assert limited(store) is None
    check((store / name).read_bytes(), store / name, lambda _: limited(store))


@pytest.mark.parametrize("name", ["../other.zarr", "x/../../other.zarr", "{folder}/other.zarr"])
def test_a_store_that_names_an_image_outside_of_itself_is_refused(
    tmp_path: Path, name: str
) -> None:
    zarr.create_array(tmp_path / "other.zarr", data=PIXELS[0])
    store = ome_zarr(tmp_path / "a.zarr")
    file = store / "zarr.json"
    outside = json.dumps(name.format(folder=tmp_path))
    file.write_text(file.read_text().replace('"path": "0"', f'"path": {outside}'))
    with pytest.raises(FileError, match="outside of it"):
        open_image(store)


# ---------------------------------------------------------------------------- decompression bombs


def png_bomb(side: int) -> bytes:
    """A grey PNG of side x side zeros, a thousandth of that in size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(b"\0" * (side + 1)) for _ in range(side)) + packer.flush()
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def tiff_bomb(side: int) -> bytes:
    """A TIFF of side x side zeros in one strip, a thousandth of that in size."""
    packer = zlib.compressobj(9)
    strip = b"".join(packer.compress(b"\0" * side) for _ in range(side)) + packer.flush()
    # Tags: width, height, bits, compression (deflate), photometric, offset, rows, bytes.
    tags = [(256, side), (257, side), (258, 8), (259, 8), (262, 1), (273, 8), (278, side)]
    tags.append((279, len(strip)))
    entries = b"".join(struct.pack("<HHII", code, 4, 1, value) for code, value in tags)
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    return struct.pack("<2sHI", b"II", 42, 8 + len(strip)) + strip + directory


@pytest.mark.parametrize(("name", "bomb"), [("a.png", png_bomb), ("a.tif", tiff_bomb)])
def test_bomb_is_refused_by_a_limit_that_can_be_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, bomb
) -> None:
    side = 3000
    path = tmp_path / name
    path.write_bytes(bomb(side))
    assert path.stat().st_size * 100 < side**2
    monkeypatch.setenv("NAPARI_DEBLUR_MAX_PIXELS", str(side**2 - 1))
    tracemalloc.start()
    with pytest.raises(FileError, match=f"NAPARI_DEBLUR_MAX_PIXELS={side**2}"):
        read_image(path)
    assert tracemalloc.get_traced_memory()[1] < side**2 / 2
    tracemalloc.stop()
    monkeypatch.setenv("NAPARI_DEBLUR_MAX_PIXELS", str(side**2))
    assert read_image(path).array.shape == (side, side)


def test_a_store_without_chunks_or_of_huge_ones_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Missing chunks are read as zeros, so that a store of no size can be an image of any."""
    side = 3000
    monkeypatch.setenv("NAPARI_DEBLUR_MAX_PIXELS", str(side**2 - 1))
    for chunk in (side, 100):
        store = tmp_path / f"{chunk}.zarr"
        zarr.create_array(store, shape=(side, side), dtype="u1", chunks=(chunk, chunk))
        with pytest.raises(FileError, match=f"NAPARI_DEBLUR_MAX_PIXELS={side**2}"):
            read_image(store)
    with pytest.raises(FileError, match="NAPARI_DEBLUR_MAX_PIXELS"):
        open_image(tmp_path / f"{side}.zarr")
    assert open_image(tmp_path / "100.zarr").array[:9, :9].sum() == 0


@pytest.mark.parametrize(("name", "bomb"), [("a.png", png_bomb), ("a.tif", tiff_bomb)])
def test_bomb_among_training_images_is_skipped_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, bomb
) -> None:
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr(name, bomb(3000))
    monkeypatch.setenv("NAPARI_DEBLUR_MAX_PIXELS", "1000000")
    images, report = read_sources([tmp_path / "data.zip"], 512)
    assert images == []
    assert [left[0] for left in report.skipped] == [f"data.zip/{name}"]
    assert "NAPARI_DEBLUR_MAX_PIXELS" in report.skipped[0][1]


# ---------------------------------------------------------------------------- archives


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "..\\a.png", "x/../../a.png", "C:\\a.png"])
def test_names_that_point_out_of_an_archive_are_refused_and_nothing_is_written(
    tmp_path: Path, name: str
) -> None:
    inner = tmp_path / "deep" / "inner"
    inner.mkdir(parents=True)
    with zipfile.ZipFile(inner / "data.zip", "w") as archive:
        info = zipfile.ZipInfo("a.png")
        info.filename = name  # as a malicious program would write it
        archive.writestr(info, b"content")
    before = sorted(tmp_path.rglob("*"))
    images, report = read_sources([inner / "data.zip"], 512)
    assert images == []
    assert "points out" in report.skipped[0][1]
    assert sorted(tmp_path.rglob("*")) == before


def test_damaged_archive_is_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", picture(tmp_path, "a.png"))
        archive.writestr("b.tif", tiff())
    check(path.read_bytes(), path, lambda path: read_sources([path], 64, workers=1))


# ---------------------------------------------------------------------------- weights


@pytest.fixture(scope="module")
def weights(model: str) -> bytes:
    return (Path(model) / "analysis.safetensors").read_bytes()


def test_damaged_weights_are_opened_or_refused(tmp_path: Path, weights: bytes) -> None:
    path = tmp_path / "analysis.safetensors"
    check(weights, path, open_network, WeightsError)


def test_description_of_weights_may_hold_any_json(tmp_path: Path, weights: bytes) -> None:
    """The header is well-formed, and its content is not what is expected."""
    path = tmp_path / "analysis.safetensors"
    length = int.from_bytes(weights[:8], "little")
    header = json.loads(weights[8 : 8 + length])
    good = json.loads(header["__metadata__"]["napari_deblur"])
    leaves = st.one_of(
        st.none(), st.booleans(), st.integers(-(2**65), 2**65), st.floats(), st.text(max_size=5)
    )
    anything = st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
        ),
        max_leaves=6,
    )
    config_keys = st.sampled_from(sorted(good["config"]))

    @settings(max_examples=CASES)
    @given(st.sampled_from(["top", "config", "kind", "whole"]), config_keys, anything)
    def run(where: str, key: str, value: object) -> None:
        content = json.loads(json.dumps(good))
        if where == "config":
            content["config"][key] = value
        elif where == "whole":
            content = value
        else:
            content["kind" if where == "kind" else "config"] = value
        new = {**header, "__metadata__": {"napari_deblur": json.dumps(content)}}
        data = json.dumps(new).encode()
        path.write_bytes(len(data).to_bytes(8, "little") + data + weights[8 + length :])
        assert_documented(open_network, path, WeightsError)

    run()


def test_no_byte_of_weights_with_a_wrong_hash_is_parsed(
    tmp_path: Path, weights: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_deblur.weights import files

    def parsed(*_: object, **__: object) -> None:
        pytest.fail("the content was looked at")

    path = tmp_path / "analysis.safetensors"
    path.write_bytes(weights)
    for name in ("parse_header", "load"):
        monkeypatch.setattr(files, name, parsed)
    with pytest.raises(WeightsError, match="hash"):
        read_weights(path, "0" * 64)


def test_damaged_registry_is_read_or_refused(tmp_path: Path, root: Path) -> None:
    source = root / "src/napari_deblur/weights/registry.toml"

    def read(path: Path) -> None:
        parse_registry(path.read_text("utf-8", errors="replace"))

    check(source.read_bytes(), tmp_path / "registry.toml", read, WeightsError)


# ---------------------------------------------------------------------------- training


@pytest.mark.parametrize("name", recipe_names())
def test_damaged_recipe_is_read_or_refused(tmp_path: Path, root: Path, name: str) -> None:
    source = root / "training" / "recipes" / f"{name}.toml"
    check(source.read_bytes(), tmp_path / "recipe.toml", load_recipe, RecipeError)


@settings(max_examples=CASES)
@given(
    key=st.sampled_from(
        ["seed", "name", "model.preset", "model.analysis", "data.scales", "data.gamma", "stage",
         "kernels.classes", "stage.analysis.steps", "stage.joint.loss", "machine.devices", "x.y"]
    ),
    value=st.one_of(
        st.text(max_size=8),
        st.sampled_from(["[]", "{}", "[[1,2],[3]]", "[[]]", "nan", "inf", "-1", "true", "1e999",
                         "9" * 400, "0x7f", "1979-05-27", '"\\u0000"', "{a={b={c=1}}}"]),
    ),
)  # fmt: skip
def test_any_setting_of_a_recipe_is_taken_or_refused(key: str, value: str) -> None:
    try:
        load_recipe("tiny", [f"{key}={value}"])
    except RecipeError as error:
        assert "\n" not in str(error)  # noqa: PT017 - the other way out is as good


def test_damaged_checkpoint_is_read_or_refused(tmp_path: Path) -> None:
    state = {"step": 4, "fingerprint": "toy"}
    path = save_checkpoint(tmp_path, 4, {"model/w": torch.zeros(3)}, state)
    check(path.read_bytes(), path, lambda path: latest_checkpoint(path.parent))


def test_damaged_newest_checkpoint_gives_the_one_before(tmp_path: Path) -> None:
    for step in (4, 8):
        save_checkpoint(tmp_path, step, {"model/w": torch.full((3,), step)}, {"step": step})
    newest = tmp_path / "checkpoint-000000008.safetensors"
    content = newest.read_bytes()
    for cut in (0, 1, 8, 30, len(content) - 1):
        newest.write_bytes(content[:cut])
        found = latest_checkpoint(tmp_path)
        assert found is not None
        assert found.state == {"step": 4}


def test_pictures_among_training_images_are_read_or_skipped(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("plain.tif", "a.png", "a.jpg"):
        content = IMAGES[name](tmp_path)
        shutil.rmtree(folder)
        folder.mkdir()

        def read(path: Path) -> None:
            images, report = read_sources([path.parent], 64, workers=1)
            assert len(images) + len(report.skipped) == 1

        check(content, folder / name, read, cases=CASES // 2)
