"""Kernels come back as they were written; what is no kernel's picture is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_deblur.errors import FileError, KernelError, OutputError
from napari_deblur.files.images import write_image
from napari_deblur.files.kernels import read_kernel, write_kernel

KERNEL = np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32) / 16


def test_written_kernel_comes_back_exactly_as_float32_tiff(tmp_path: Path) -> None:
    write_kernel(tmp_path / "k.tif", KERNEL.astype(np.float64))
    np.testing.assert_array_equal(read_kernel(tmp_path / "k.tif"), KERNEL)
    assert tifffile.imread(tmp_path / "k.tif").dtype == np.float32


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_values_are_read_as_they_stand(tmp_path: Path, dtype: str) -> None:
    array = (KERNEL * 16).astype(dtype)
    np.save(tmp_path / "k.npy", array)
    tifffile.imwrite(tmp_path / "k.tif", array)
    names = ["k.npy", "k.tif"]
    if array.dtype.kind == "u":
        write_image(tmp_path / "k.png", array)
        names.append("k.png")
    for name in names:
        kernel = read_kernel(tmp_path / name)
        assert kernel.dtype == np.float32
        np.testing.assert_array_equal(kernel, KERNEL * 16)


def test_grey_saved_as_opaque_colour_is_grey(tmp_path: Path) -> None:
    grey = (KERNEL * 16).astype(np.uint8)
    array = np.stack([grey, grey, grey, np.full_like(grey, 255)], axis=-1)
    write_image(tmp_path / "k.png", array)
    np.testing.assert_array_equal(read_kernel(tmp_path / "k.png"), KERNEL * 16)
    array[0, 0, 0] = 9
    write_image(tmp_path / "k.png", array)
    with pytest.raises(FileError, match="colour"):
        read_kernel(tmp_path / "k.png")
    array[..., :3] = grey[..., None]
    array[1, 1, 3] = 0
    write_image(tmp_path / "k.png", array)
    with pytest.raises(FileError, match="transparent"):
        read_kernel(tmp_path / "k.png")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(5), "one grey picture"),
        (np.zeros((3, 5, 5)), "one grey picture"),
        (np.zeros((5, 5), bool), "bool"),
        (np.zeros((5, 5), complex), "complex"),
        (np.zeros((5, 5), "U2"), "U2"),
    ],
)
def test_array_that_is_no_kernel_is_refused(
    tmp_path: Path, array: np.ndarray, message: str
) -> None:
    np.save(tmp_path / "k.npy", array)
    with pytest.raises(FileError, match=message):
        read_kernel(tmp_path / "k.npy")


def test_pickled_objects_are_refused_and_not_loaded(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    np.save(tmp_path / "k.npy", np.array([[Trap()]], dtype=object), allow_pickle=True)
    with pytest.raises(FileError, match="array of numbers"):
        read_kernel(tmp_path / "k.npy")
    assert not (tmp_path / "sprung").exists()


def test_header_that_promises_more_than_there_is_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", KERNEL)
    content = (tmp_path / "k.npy").read_bytes()
    (tmp_path / "k.npy").write_bytes(content.replace(b"(3, 3)", b"(9**9)"))
    with pytest.raises(FileError, match="damaged"):
        read_kernel(tmp_path / "k.npy")
    (tmp_path / "k.npy").write_bytes(content.replace(b"(3, 3), }    ", b"(99999999,)}"))
    with pytest.raises(FileError):
        read_kernel(tmp_path / "k.npy")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no file"):
        read_kernel(tmp_path / "k.tif")


def test_kernel_is_written_as_tiff_and_2d_only(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"end the name with \.tif"):
        write_kernel(tmp_path / "k.png", KERNEL)
    with pytest.raises(KernelError, match="must be"):
        write_kernel(tmp_path / "k.tif", KERNEL[None])
    assert list(tmp_path.iterdir()) == []
