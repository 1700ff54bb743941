"""Images come back as they were written, with what belongs to them; anything else is refused."""

from __future__ import annotations

import struct
import zlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from napari_deblur.errors import FileError, InputError, OutputError
from napari_deblur.files import tiff_writer
from napari_deblur.files.images import check_image_output, read_image, write_image

needs_codecs = pytest.mark.skipif(find_spec("imagecodecs") is None, reason="needs imagecodecs")
without_codecs = pytest.mark.skipif(find_spec("imagecodecs") is not None, reason="imagecodecs")


def values(*shape: int, dtype: str = "uint8") -> np.ndarray:
    rng = np.random.default_rng(3)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, size=shape, dtype=dtype, endpoint=True)


def round_trip(path: Path, out: Path) -> None:
    """Write what was read, and read it again: all but the file's own bytes must be the same."""
    before = read_image(path)
    write_image(out, before.array, before)
    after = read_image(out)
    np.testing.assert_array_equal(after.array, before.array)
    assert after.array.dtype == before.array.dtype
    assert after.axes == before.axes
    for name in ("layout", "compression", "predictor", "tile", "big", "byteorder", "photometric"):
        assert getattr(after.metadata, name) == getattr(before.metadata, name), name
    for name in ("resolution_unit", "extrasamples", "orientation", "icc_profile", "shaped"):
        assert getattr(after.metadata, name) == getattr(before.metadata, name), name
    if before.metadata.resolution:
        for old, new in zip(before.metadata.resolution, after.metadata.resolution, strict=True):
            assert old[0] * new[1] == new[0] * old[1]
    if before.metadata.layout != "ome":
        assert after.metadata.description == before.metadata.description
    assert str(after.metadata.imagej) == str(before.metadata.imagej)


# ---------------------------------------------------------------------------- TIFF


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64", "complex64"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_plain_tiff_keeps_dtype_and_byte_order(tmp_path: Path, dtype: str, byteorder: str) -> None:
    array = values(20, 30, dtype="float32").astype(dtype)
    tifffile.imwrite(tmp_path / "in.tif", array, byteorder=byteorder)
    round_trip(tmp_path / "in.tif", tmp_path / "out.tif")


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "zlib", "predictor": True},
        {"compression": "zlib"},
        {"tile": (16, 32)},
        {"bigtiff": True},
        {"photometric": "miniswhite"},
        {"resolution": ((25, 4), (123457, 1000)), "resolutionunit": 3},
        {"iccprofile": b"profile"},
        {"extratags": [(274, 3, 1, 6, True)]},
        {"metadata": {"axes": "TYX", "exposure": 0.25}},
        {"description": "taken by night", "metadata": None},
        {"description": "taken by night", "metadata": {"axes": "ZYX"}},
    ],
    ids="-".join,
)
def test_tiff_keeps_how_it_was_stored_and_what_it_says(tmp_path: Path, options: dict) -> None:
    options = {"photometric": "minisblack"} | options
    tifffile.imwrite(tmp_path / "in.tif", values(3, 40, 50, dtype="uint16"), **options)
    round_trip(tmp_path / "in.tif", tmp_path / "out.tif")


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((20, 30, 3), {"photometric": "rgb"}),
        ((3, 20, 30), {"photometric": "rgb", "planarconfig": "separate"}),
        ((20, 30, 4), {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
        ((5, 20, 30, 3), {"photometric": "rgb"}),
        ((20, 30, 2), {"planarconfig": "contig", "extrasamples": ["assocalpha"]}),
    ],
)
def test_tiff_keeps_samples(tmp_path: Path, shape: tuple[int, ...], options: dict) -> None:
    tifffile.imwrite(tmp_path / "in.tif", values(*shape), **options)
    assert "S" in read_image(tmp_path / "in.tif").axes
    round_trip(tmp_path / "in.tif", tmp_path / "out.tif")


IMAGEJ = {
    "axes": "TZCYX",
    "unit": "um",
    "spacing": 2.5,
    "finterval": 0.5,
    "mode": "composite",
    "Ranges": (0.0, 255.0, 5.0, 99.0),
    "LUTs": [np.tile(np.arange(256, dtype=np.uint8), (3, 1)) // (1 + i) for i in range(2)],
    "Labels": [f"plane {i}" for i in range(12)],
    "Info": "µ-scope",
    "Overlays": [b"one overlay"],
}


def test_imagej_hyperstack_keeps_everything(tmp_path: Path) -> None:
    array = values(2, 3, 2, 20, 30, dtype="uint16")
    tifffile.imwrite(tmp_path / "in.tif", array, imagej=True, resolution=(4.5, 5), metadata=IMAGEJ)
    round_trip(tmp_path / "in.tif", tmp_path / "out.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert file.is_imagej
        metadata = file.imagej_metadata
        assert metadata is not None
        assert (metadata["channels"], metadata["slices"], metadata["frames"]) == (2, 3, 2)
        assert (metadata["unit"], metadata["spacing"], metadata["finterval"]) == ("um", 2.5, 0.5)


def test_tiff_beyond_four_gigabytes_becomes_bigtiff(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile.imwrite(tmp_path / "in.tif", values(2, 20, 30), imagej=True)
    source = read_image(tmp_path / "in.tif")
    monkeypatch.setattr(tiff_writer, "LARGEST_CLASSIC", 1000)
    write_image(tmp_path / "out.tif", source.array, source)
    again = read_image(tmp_path / "out.tif")
    assert again.metadata.big
    assert again.axes == source.axes
    np.testing.assert_array_equal(again.array, source.array)


OME = {
    "axes": "TCYX",
    "PhysicalSizeX": 0.25,
    "PhysicalSizeXUnit": "µm",
    "PhysicalSizeY": 0.5,
    "PhysicalSizeYUnit": "µm",
    "TimeIncrement": 0.1,
    "TimeIncrementUnit": "s",
    "Channel": {"Name": ["DAPI", "GFP"]},
    "Plane": {"PositionX": [1.5] * 6},
}


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_ome_tiff_keeps_sizes_units_channels_and_positions(tmp_path: Path, dtype: str) -> None:
    array = values(3, 2, 20, 30, dtype="uint16")
    tifffile.imwrite(tmp_path / "in.ome.tif", array, ome=True, metadata=OME)
    round_trip(tmp_path / "in.ome.tif", tmp_path / "out.ome.tif")
    source = read_image(tmp_path / "in.ome.tif")
    write_image(tmp_path / "other.tif", array.astype(dtype), source)
    with tifffile.TiffFile(tmp_path / "other.tif") as file:
        xml = file.ome_metadata or ""
        assert file.series[0].axes == "TCYX"
        assert file.series[0].dtype == dtype
        np.testing.assert_array_equal(file.asarray(), array)
    for kept in (
        'PhysicalSizeX="0.25"',
        'PhysicalSizeY="0.5"',
        'PhysicalSizeYUnit="µm"',
        'TimeIncrement="0.1"',
        'Name="DAPI"',
        'Name="GFP"',
        'PositionX="1.5"',
    ):
        assert kept in xml
    # The parts follow one another as OME's schema demands.
    assert xml.index("<Channel") < xml.index("<TiffData") < xml.index("<Plane")
    assert "UUID" not in xml


def test_ome_tiff_of_an_imagej_file_gets_its_pixel_sizes(tmp_path: Path) -> None:
    metadata = {"axes": "ZYX", "unit": "micron", "spacing": 2.0}
    tifffile.imwrite(
        tmp_path / "in.tif", values(3, 20, 30), imagej=True, resolution=(4, 5), metadata=metadata
    )
    source = read_image(tmp_path / "in.tif")
    write_image(tmp_path / "out.ome.tif", source.array, source)
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as file:
        xml = file.ome_metadata or ""
        assert file.series[0].axes == "ZYX"
    for size in ('PhysicalSizeX="0.25"', 'PhysicalSizeY="0.2"', 'PhysicalSizeZ="2.0"'):
        assert size in xml


def test_tags_with_values_of_no_standard_do_not_prevent_writing(tmp_path: Path) -> None:
    array = values(20, 30)
    tifffile.imwrite(
        tmp_path / "in.tif", array, resolution=(2, 3), extratags=[(274, 3, 1, 99, True)]
    )
    content = (tmp_path / "in.tif").read_bytes()
    unit = struct.pack("<HHII", 296, 3, 1, 2)
    assert unit in content
    (tmp_path / "in.tif").write_bytes(content.replace(unit, struct.pack("<HHII", 296, 3, 1, 77)))
    source = read_image(tmp_path / "in.tif")
    write_image(tmp_path / "out.tif", array, source)
    again = read_image(tmp_path / "out.tif")
    np.testing.assert_array_equal(again.array, array)
    assert again.metadata.resolution == ((2, 1), (3, 1))


def test_palette_becomes_rgb(tmp_path: Path) -> None:
    indices = values(20, 30)
    palette = values(3, 256, dtype="uint16")
    tifffile.imwrite(tmp_path / "in.tif", indices, photometric="palette", colormap=palette)
    image = read_image(tmp_path / "in.tif")
    np.testing.assert_array_equal(image.array, (palette.T >> 8)[indices])
    assert (image.axes, image.array.dtype, image.channel_axis) == ("YXS", np.uint8, 2)
    assert any("palette" in note for note in image.notes)
    write_image(tmp_path / "out.tif", image.array, image)
    np.testing.assert_array_equal(read_image(tmp_path / "out.tif").array, image.array)


def test_further_series_are_named_and_not_mixed_in(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "in.tif") as writer:
        writer.write(values(20, 30))
        writer.write(values(8, 9))
    image = read_image(tmp_path / "in.tif")
    assert image.array.shape == (20, 30)
    assert image.notes == ("only the first of 2 image series was read",)


def test_metadata_of_another_shape_are_not_written(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "in.tif", values(3, 20, 30), imagej=True, metadata={"unit": "um"})
    source = read_image(tmp_path / "in.tif")
    write_image(tmp_path / "out.tif", source.array[0], source)
    assert read_image(tmp_path / "out.tif").metadata.layout == "plain"


@pytest.mark.shared
def test_real_microscopy_files_come_back_the_same(shared: Path, tmp_path: Path) -> None:
    paths = sorted((shared / "microscopy").glob("*.tif"))
    assert paths
    for path in paths:
        round_trip(path, tmp_path / path.name)


@needs_codecs
@pytest.mark.parametrize("compression", ["lzw", "zstd", "packbits"])
def test_further_lossless_compressions_are_kept(tmp_path: Path, compression: str) -> None:
    tifffile.imwrite(tmp_path / "in.tif", values(40, 50), compression=compression)
    round_trip(tmp_path / "in.tif", tmp_path / "out.tif")


@without_codecs
def test_compression_that_needs_imagecodecs_says_so(tmp_path: Path) -> None:
    Image.fromarray(values(20, 30)).save(tmp_path / "in.tif", compression="tiff_lzw")
    with pytest.raises(FileError, match="pip install imagecodecs"):
        read_image(tmp_path / "in.tif")


# ---------------------------------------------------------------------------- PNG and JPEG


@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4])
def test_png_keeps_values_and_alpha(tmp_path: Path, channels: int | None) -> None:
    array = values(20, 30, *([channels] if channels else []))
    write_image(tmp_path / "a.png", array)
    again = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(again.array, array[..., 0] if channels == 1 else array)
    assert again.axes == ("YX" if channels in (None, 1) else "YXS")


def test_png_keeps_sixteen_bits(tmp_path: Path) -> None:
    array = values(20, 30, dtype="uint16")
    write_image(tmp_path / "a.png", array)
    again = read_image(tmp_path / "a.png").array
    assert again.dtype == np.uint16
    np.testing.assert_array_equal(again, array)


def png(width: int, height: int, depth: int, colour: int, data: bytes) -> bytes:
    """A PNG file by hand, independent of any library."""

    def chunk(name: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_deep_colour_png_is_exact_or_refused(tmp_path: Path, colour: int, channels: int) -> None:
    array = values(5, 7, channels, dtype="uint16")
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    (tmp_path / "a.png").write_bytes(png(7, 5, 16, colour, rows))
    if find_spec("imagecodecs") is None:
        with pytest.raises(FileError, match="imagecodecs"):
            read_image(tmp_path / "a.png")
        with pytest.raises(OutputError, match="imagecodecs"):
            write_image(tmp_path / "b.png", array)
        assert not (tmp_path / "b.png").exists()
        return
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").array, array)
    write_image(tmp_path / "b.png", array)
    np.testing.assert_array_equal(read_image(tmp_path / "b.png").array, array)


def test_pictures_keep_resolution_colour_profile_and_camera_data(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    picture = Image.fromarray(values(20, 30, 3))
    for suffix in ("png", "jpg"):
        path, out = tmp_path / f"in.{suffix}", tmp_path / f"out.{suffix}"
        picture.save(path, dpi=(300, 300), icc_profile=b"profile", exif=exif)
        source = read_image(path)
        write_image(out, source.array, source)
        with Image.open(out) as again:
            assert again.info["dpi"] == pytest.approx((300, 300), rel=1e-3)
            assert again.info["icc_profile"] == b"profile"
            assert again.getexif()[0x010F] == "a camera"
        write_image(tmp_path / "out.tif", source.array, source)
        with tifffile.TiffFile(tmp_path / "out.tif") as file:
            resolution = file.pages.first.get_resolution("inch")
            assert resolution == pytest.approx((300, 300), rel=1e-3)


def test_photograph_is_turned_upright_once(tmp_path: Path) -> None:
    array = np.zeros((16, 32), np.uint8)
    array[:, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    Image.fromarray(array).save(tmp_path / "in.jpg", exif=exif)
    source = read_image(tmp_path / "in.jpg")
    assert source.array.shape == (32, 16)
    assert source.array[:8].min() > 200 > 50 > source.array[-8:].max()
    write_image(tmp_path / "out.jpg", source.array, source)
    assert read_image(tmp_path / "out.jpg").array.shape == (32, 16)


def test_jpeg_is_close_and_keeps_colour_resolution(tmp_path: Path) -> None:
    array = np.zeros((64, 64, 3), np.uint8)
    array[:, ::2, 0] = 255  # stripes of one pixel: gone if colour is stored at half resolution
    write_image(tmp_path / "a.jpg", array)
    again = read_image(tmp_path / "a.jpg").array.astype(int)
    assert np.abs(again - array).mean() < 4


def test_palette_picture_becomes_colour_with_alpha(tmp_path: Path) -> None:
    picture = Image.fromarray(values(20, 30) % 4, mode=None).convert("P")
    picture.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 1, 2, 3])
    picture.save(tmp_path / "a.png", transparency=1)
    image = read_image(tmp_path / "a.png")
    assert image.array.shape == (20, 30, 4)
    assert set(np.unique(image.array[..., 3])) == {0, 255}


def test_jpeg_takes_opaque_alpha_and_refuses_transparency(tmp_path: Path) -> None:
    array = values(20, 30, 4)
    array[..., 3] = 255
    write_image(tmp_path / "a.jpg", array)
    assert read_image(tmp_path / "a.jpg").array.shape == (20, 30, 3)
    array[3, 4, 3] = 254
    with pytest.raises(OutputError, match="no transparency"):
        write_image(tmp_path / "b.jpg", array)
    assert not (tmp_path / "b.jpg").exists()


# ---------------------------------------------------------------------------- refusals


def test_content_and_not_the_name_decides_on_reading(tmp_path: Path) -> None:
    array = values(20, 30)
    write_image(tmp_path / "a.png", array)
    (tmp_path / "a.png").rename(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").array, array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no file"),
        (b"", "is empty"),
        (b"hello", "not a TIFF, PNG or JPEG"),
        (b"II*\0", "damaged"),
        (b"II*\0\x08\0\0\0", "damaged"),
        (b"\x89PNG\r\n\x1a\n", "damaged"),
        (b"\xff\xd8\xff", "damaged"),
    ],
)
def test_what_is_no_image_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(FileError, match=message):
        read_image(tmp_path / "a.tif")


def test_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="is a folder"):
        read_image(tmp_path)


SOURCES = {
    "plain.tif": {},
    "deflate.tif": {"compression": "zlib"},
    "tiles.tif": {"tile": (16, 16)},
    "imagej.tif": {"imagej": True},
    "pages.tif": {"metadata": None},
    "some.ome.tif": {"ome": True},
    "a.png": None,
    "a.jpg": None,
}


def source(folder: Path, name: str) -> bytes:
    path = folder / name
    options = SOURCES[name]
    if options is None:
        write_image(path, values(40, 50))
    else:
        tifffile.imwrite(path, values(5, 40, 50), photometric="minisblack", **options)
    return path.read_bytes()


@pytest.mark.parametrize("name", SOURCES)
def test_truncated_file_is_refused_wherever_it_was_cut(tmp_path: Path, name: str) -> None:
    content = source(tmp_path, name)
    for part in (0.02, 0.3, 0.6, 0.95):
        (tmp_path / name).write_bytes(content[: int(len(content) * part)])
        with pytest.raises(FileError):
            read_image(tmp_path / name)


@pytest.mark.parametrize("name", SOURCES)
def test_damaged_file_is_read_or_refused_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    content = source(folder, name)
    path = folder / name

    @settings(max_examples=25)
    @given(
        st.lists(
            st.tuples(st.integers(0, min(len(content), 3000) - 1), st.integers(0, 255)),
            min_size=1,
            max_size=6,
        )
    )
    def check(changes: list[tuple[int, int]]) -> None:
        damaged = bytearray(content)
        for position, value in changes:
            damaged[position] = value
        path.write_bytes(damaged)
        try:
            image = read_image(path, max_pixels=10**6)
        except FileError as error:
            message = str(error)
        else:
            message = ""
            assert image.array.ndim == len(image.axes)
        assert "\n" not in message

    check()


def test_decompression_bombs_are_refused_by_a_limit_that_can_be_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(tmp_path / "a.png", np.zeros((200, 300), np.uint8))
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((200, 300), np.uint8), compression="zlib")
    for name in ("a.png", "a.tif"):
        with pytest.raises(FileError, match="60000 pixels and at most 59999"):
            read_image(tmp_path / name, max_pixels=59999)
        monkeypatch.setenv("NAPARI_DEBLUR_MAX_PIXELS", "100")
        with pytest.raises(FileError, match="NAPARI_DEBLUR_MAX_PIXELS=60000"):
            read_image(tmp_path / name)
        monkeypatch.setenv("NAPARI_DEBLUR_MAX_PIXELS", "60000")
        assert read_image(tmp_path / name).array.shape == (200, 300)
        monkeypatch.delenv("NAPARI_DEBLUR_MAX_PIXELS")


def test_giant_that_a_header_promises_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(2**30, 2**30, 8, 6, b""))
    with pytest.raises(FileError, match="pixels"):
        read_image(tmp_path / "a.png")


def test_file_that_is_as_large_as_its_image_is_always_read(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", values(200, 300))
    assert read_image(tmp_path / "a.tif", max_pixels=1).array.shape == (200, 300)


@pytest.mark.parametrize("limit", ["0", "-3", "many", "1e9"])
def test_limit_that_is_no_number_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setenv("NAPARI_DEBLUR_MAX_PIXELS", limit)
    write_image(tmp_path / "a.png", values(4, 4))
    with pytest.raises(InputError, match="NAPARI_DEBLUR_MAX_PIXELS"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "message"),
    [
        ("a.bmp", (4, 4), "uint8", "use one of .tif"),
        ("a", (4, 4), "uint8", "use one of .tif"),
        ("a.png", (4, 4), "float32", "uint8 and uint16 and not float32; write a TIFF"),
        ("a.png", (4, 4), "int16", "write a TIFF"),
        ("a.png", (5, 4, 4, 3), "uint8", "write a TIFF"),
        ("a.png", (4, 4, 5), "uint8", "write a TIFF"),
        ("a.jpg", (4, 4), "uint16", "write a PNG or TIFF"),
        ("a.jpg", (4, 4), "float64", "write a TIFF"),
        ("a.jpg", (4, 4, 2), "uint8", "write a TIFF"),
        ("a.jpg", (4, 70000), "uint8", "write a PNG"),
        ("a.tif", (4, 4), "bool", "convert"),
        ("a.tif", (4, 4), "O", "convert"),
        ("a.tif", (4, 4), "U3", "convert"),
        ("a.tif", (0, 4), "uint8", "no image"),
        ("missing/a.tif", (4, 4), "uint8", "create it first"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_before_anything_is_written(
    tmp_path: Path, name: str, shape: tuple[int, ...], dtype: str, message: str
) -> None:
    with pytest.raises(OutputError, match=message):
        check_image_output(tmp_path / name, shape, dtype)
    with pytest.raises(OutputError, match=message):
        write_image(tmp_path / name, np.zeros(shape, dtype))
    assert list(tmp_path.iterdir()) == []


def test_axes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one letter per axis"):
        write_image(tmp_path / "a.tif", values(4, 4), axes="ZYX")


def test_read_only_and_strided_arrays_are_written(tmp_path: Path) -> None:
    array = values(40, 60, 3)[::-2, 10::3, ::-1]
    array.flags.writeable = False
    for name in ("a.png", "a.tif"):
        write_image(tmp_path / name, array)
        np.testing.assert_array_equal(read_image(tmp_path / name).array, array)
