"""Images larger than the memory are read and written window by window, with the same result."""

from __future__ import annotations

import gc
import os
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st

from napari_deblur.errors import FileError, OutputError
from napari_deblur.files import tiff_reader
from napari_deblur.files.arrays import ChunkedArray, RawArray
from napari_deblur.files.images import ImageFile, create_image, open_image, read_image, write_image
from napari_deblur.files.tiff_writer import write_tiff

SHAPE = (3, 40, 50)


def values(*shape: int, dtype: str = "uint16") -> np.ndarray:
    return np.random.default_rng(3).integers(0, 200, size=shape).astype(dtype)


@pytest.fixture(autouse=True)
def _always_lazy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff_reader, "SMALLEST_LAZY", 0)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


# ---------------------------------------------------------------------------- raw values


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> tuple[RawArray, np.ndarray]:
    array = values(3, 5, 6, 4)
    path = tmp_path_factory.mktemp("raw") / "values"
    path.write_bytes(b"head" + array.astype(">u2").tobytes())
    return RawArray(path, np.dtype(">u2"), array.shape, 4), array


index = st.tuples(
    *(
        st.one_of(
            st.integers(-side, side - 1),
            st.builds(slice, *(st.none() | st.integers(-side - 1, side + 1) for _ in range(2))),
        )
        for side in (3, 5, 6, 4)
    )
).flatmap(lambda parts: st.integers(0, 4).map(lambda count: parts[:count]))


@given(key=index)
def test_any_window_is_that_of_the_array(raw: tuple[RawArray, np.ndarray], key: Any) -> None:
    lazy, array = raw
    np.testing.assert_array_equal(lazy[key], array[key])
    assert lazy[key].dtype == array.dtype
    np.testing.assert_array_equal(lazy[..., 1], array[..., 1])


@given(key=index)
def test_any_window_can_be_written(raw: tuple[RawArray, np.ndarray], key: Any) -> None:
    lazy, array = raw
    new = np.asarray(array[key] + 7)
    copy = RawArray(lazy.path.with_name("copy"), lazy.stored, lazy.shape)
    copy.path.write_bytes(array.astype(">u2").tobytes())
    copy[key] = new
    expected = array.copy()
    expected[key] = new
    np.testing.assert_array_equal(copy[...], expected)


@pytest.mark.parametrize("key", [np.s_[::2], np.s_[3], np.s_[0, 0, 0, 0, 0]])
def test_other_indices_are_refused(raw: tuple[RawArray, np.ndarray], key: Any) -> None:
    with pytest.raises(IndexError):
        raw[0][key]


def test_a_file_that_breaks_off_later_is_an_error_and_no_crash(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "in.tif", values(*SHAPE), photometric="minisblack")
    image = open_image(tmp_path / "in.tif")
    os.truncate(tmp_path / "in.tif", 6000)
    with pytest.raises(FileError, match="cut off"):
        image.array[2]
    (tmp_path / "in.tif").unlink()
    with pytest.raises(FileError, match=r"in\.tif"):
        image.array[0]


# ---------------------------------------------------------------------------- reading

FORMS: dict[str, dict[str, Any]] = {
    "plain": {"metadata": {"axes": "ZYX"}},
    "big-endian": {"byteorder": ">", "metadata": {"axes": "TYX"}},
    "imagej": {"imagej": True, "metadata": {"axes": "ZYX", "unit": "um", "spacing": 0.3}},
    "tiles": {"tile": (16, 32), "metadata": {"axes": "ZYX"}},
    "compressed strips": {"compression": "zlib", "rowsperstrip": 7, "predictor": True},
    "compressed tiles": {"tile": (16, 16), "compression": "zlib", "bigtiff": True},
    "ome": {"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeX": 0.2}},
}


def without_identity(image: ImageFile) -> str:
    return re.sub("urn:uuid:[0-9a-f-]*", "", str(image.metadata))


def save(path: Path, form: str) -> np.ndarray:
    array = values(*SHAPE)
    tifffile.imwrite(path, array, photometric="minisblack", **FORMS[form])
    return array


@pytest.mark.parametrize("form", FORMS)
def test_a_lazy_file_holds_what_the_whole_one_does(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ("in.ome.tif" if form == "ome" else "in.tif")
    array = save(path, form)
    lazy = open_image(path)
    assert isinstance(lazy.array, RawArray | ChunkedArray)
    assert (lazy.array.shape, lazy.array.dtype) == (array.shape, array.dtype)
    np.testing.assert_array_equal(lazy.array[1, 3:20, 30:], array[1, 3:20, 30:])
    sent = pickle.loads(pickle.dumps(lazy.array))
    np.testing.assert_array_equal(sent[...], array)
    monkeypatch.setattr(tiff_reader, "SMALLEST_LAZY", 2**62)
    whole = read_image(path)
    assert isinstance(whole.array, np.ndarray)
    assert (lazy.axes, lazy.notes) == (whole.axes, whole.notes)
    assert str(lazy.metadata) == str(whole.metadata)
    del lazy, sent
    gc.collect()  # a file left open would be a warning, which is an error here


def test_damage_is_an_error_where_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "in.tif"
    array = save(path, "compressed tiles")
    with tifffile.TiffFile(path) as file:
        offset = file.series[0].pages[2].dataoffsets[0]
    with path.open("rb+") as file:
        file.seek(offset)
        file.write(b"\0" * 40)
    lazy = open_image(path).array
    np.testing.assert_array_equal(lazy[0], array[0])
    with pytest.raises(FileError, match=r"in\.tif.*damaged"):
        lazy[2]


def test_without_zarr_compressed_files_are_read_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = save(tmp_path / "in.tif", "compressed tiles")
    monkeypatch.setattr(tiff_reader, "find_spec", lambda _: None)
    found = open_image(tmp_path / "in.tif").array
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, array)


# ---------------------------------------------------------------------------- writing


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("suffix", [".tif", ".ome.tif"])
def test_windows_in_any_order_make_the_file_that_the_whole_array_makes(
    tmp_path: Path, form: str, suffix: str
) -> None:
    path = tmp_path / ("in.ome.tif" if form == "ome" else "in.tif")
    array = save(path, form)
    like = open_image(path)
    whole, parts = tmp_path / f"whole{suffix}", tmp_path / "parts" / f"whole{suffix}"
    parts.parent.mkdir()
    write_tiff(whole, array, like.axes, like.metadata)
    with create_image(parts, array.shape, array.dtype, like) as out:
        for index in np.random.default_rng(0).permutation(6):
            plane, half = divmod(int(index), 2)
            window = np.s_[plane, :, 25 * half : 25 * half + 25]
            out[window] = array[window]
        assert not parts.exists()
    first, second = read_image(whole), read_image(parts)
    np.testing.assert_array_equal(second.array, array)
    assert second.axes == first.axes
    assert without_identity(second) == without_identity(first)
    assert names(parts.parent) == [f"whole{suffix}"]


@pytest.mark.parametrize("name", ["out.tif", "out.zarr", "out.png"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, FileError])
def test_a_failure_leaves_the_old_image_and_nothing_else(
    tmp_path: Path, name: str, error: type[BaseException]
) -> None:
    old = values(20, 30, dtype="uint8")
    write_image(tmp_path / name, old)

    def fail() -> None:
        with create_image(tmp_path / name, (20, 30), "uint8") as out:
            out[:10] = 1
            raise error("stop")

    with pytest.raises(error):
        fail()
    np.testing.assert_array_equal(read_image(tmp_path / name).array, old)
    assert names(tmp_path) == [name]


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="no room can be reserved here")
def test_a_full_disk_is_found_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with (
        pytest.raises(OutputError, match="disk is full"),
        create_image(tmp_path / "out.tif", (20, 30), "uint8"),
    ):
        pytest.fail("the work must not begin")
    assert names(tmp_path) == []


# ---------------------------------------------------------------------------- Zarr


@pytest.mark.parametrize("version", [2, 3])
def test_a_zarr_array_keeps_chunks_axes_and_attributes(tmp_path: Path, version: int) -> None:
    array = values(*SHAPE)
    made = zarr.create_array(
        tmp_path / "in.zarr", data=array, chunks=(1, 16, 32), zarr_format=version,
        attributes={"_ARRAY_DIMENSIONS": ["t", "y", "x"], "note": "kept"},
        dimension_names=["t", "y", "x"] if version == 3 else None,
    )  # fmt: skip
    image = open_image(tmp_path / "in.zarr")
    assert image.axes == "TYX"
    np.testing.assert_array_equal(image.array[1, 5:9], array[1, 5:9])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(image.array))[...], array)
    write_image(tmp_path / "out.zarr", array + 1, image)
    out = zarr.open_array(tmp_path / "out.zarr", mode="r")
    np.testing.assert_array_equal(out[...], array + 1)
    assert (out.chunks, out.dtype, out.compressors) == (made.chunks, made.dtype, made.compressors)
    assert dict(out.attrs) == dict(made.attrs)
    assert out.metadata.zarr_format == version
    assert open_image(tmp_path / "out.zarr").axes == "TYX"


@pytest.mark.parametrize("version", [2, 3])
def test_an_ome_zarr_image_stays_one(tmp_path: Path, version: int) -> None:
    array = values(*SHAPE)
    group = zarr.create_group(tmp_path / "in.zarr", zarr_format=version)
    kinds = {"z": "space", "y": "space", "x": "space"}
    image = {
        "axes": [
            {"name": name, "type": kind, "unit": "micrometer"} for name, kind in kinds.items()
        ],
        "datasets": [
            {"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": [1] * 3}]}
            for level in range(2)
        ],
    }
    about = {"multiscales": [image], "omero": {"channels": [{"label": "GFP"}]}}
    group.attrs.update(about if version == 2 else {"ome": {"version": "0.5", **about}})
    for level in range(2):
        group.create_array(str(level), data=array[:, :: level + 1], chunks=(1, 16, 16))
    opened = open_image(tmp_path / "in.zarr")
    assert opened.axes == "ZYX"
    assert opened.notes == ("only the finest of 2 levels was read",)
    np.testing.assert_array_equal(opened.array[...], array)
    write_image(tmp_path / "out.zarr", array + 1, opened)
    out = zarr.open_group(tmp_path / "out.zarr", mode="r")
    held = out.attrs if version == 2 else out.attrs["ome"]
    assert held["multiscales"][0]["axes"] == image["axes"]
    assert [each["path"] for each in held["multiscales"][0]["datasets"]] == ["0"]
    assert held["omero"] == about["omero"]
    assert list(out) == ["0"]
    np.testing.assert_array_equal(read_image(tmp_path / "out.zarr").array, array + 1)


def test_formats_can_be_exchanged(tmp_path: Path) -> None:
    array = save(tmp_path / "in.tif", "imagej")
    image = read_image(tmp_path / "in.tif")
    write_image(tmp_path / "a.zarr", array, image)
    through = open_image(tmp_path / "a.zarr")
    assert through.axes == "ZYX"
    write_image(tmp_path / "b.tif", array, through)
    assert read_image(tmp_path / "b.tif").axes == "ZYX"
    np.testing.assert_array_equal(read_image(tmp_path / "b.tif").array, array)


def test_what_is_no_zarr_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.zarr").mkdir()
    with pytest.raises(FileError, match="no Zarr store"):
        open_image(tmp_path / "folder.zarr")
    with pytest.raises(OutputError, match="no Zarr store"):
        write_image(tmp_path / "folder.zarr", values(20, 30))
    zarr.create_group(tmp_path / "group.zarr")
    with pytest.raises(FileError, match="no OME-Zarr"):
        open_image(tmp_path / "group.zarr")
    zarr.create_array(tmp_path / "line.zarr", shape=(9,), dtype="u1")
    with pytest.raises(FileError, match="at least two"):
        open_image(tmp_path / "line.zarr")
    (tmp_path / "line.zarr" / "zarr.json").write_text("{")
    with pytest.raises(FileError, match="damaged"):
        open_image(tmp_path / "line.zarr")
