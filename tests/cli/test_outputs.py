"""Results go where they should, and never over an input."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_deblur.cli.outputs import check_new, kernel_path, plan_jobs
from napari_deblur.errors import InputError, OutputError


def targets(sources: list[Path], out: Path, *, overwrite: bool = False) -> list[Path]:
    return [job.target for job in plan_jobs(sources, out, keep=sources, overwrite=overwrite)]


def test_one_input_gives_the_named_file_or_its_own_name_in_a_folder(tmp_path: Path) -> None:
    source = tmp_path / "in" / "a.png"
    assert targets([source], tmp_path / "b.tif") == [tmp_path / "b.tif"]
    assert targets([source], tmp_path) == [tmp_path / "a.png"]
    assert targets([source], tmp_path / "new") == [tmp_path / "new" / "a.png"]
    assert not (tmp_path / "new").exists()


def test_several_inputs_need_a_folder_and_different_names(tmp_path: Path) -> None:
    first, second = tmp_path / "x" / "a.png", tmp_path / "y" / "a.png"
    with pytest.raises(OutputError, match="folder"):
        targets([first, second], tmp_path / "out.png")
    with pytest.raises(InputError, match="both become"):
        targets([first, second], tmp_path / "out")


def test_kernels_are_no_more_written_to_one_name_than_images(tmp_path: Path) -> None:
    for names in (("a.png", "a.tif"), ("a.png", "a_kernel.tif")):
        sources = [tmp_path / name for name in names]
        assert len(targets(sources, tmp_path / "out")) == 2
        with pytest.raises(InputError, match=r"both become .*a_kernel\.tif"):
            plan_jobs(sources, tmp_path / "out", keep=sources, overwrite=True, save_kernel=True)


def test_an_input_is_never_replaced_even_through_a_link_or_with_overwrite(tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    source.touch()
    (tmp_path / "link.png").symlink_to(source)
    for target in (source, tmp_path / "link.png", tmp_path):
        with pytest.raises(OutputError, match="overwrite its input"):
            targets([source], target, overwrite=True)


def test_existing_files_are_replaced_only_when_asked(tmp_path: Path) -> None:
    source, target = tmp_path / "a.png", tmp_path / "b.png"
    target.touch()
    with pytest.raises(OutputError, match="--overwrite"):
        targets([source], target)
    assert targets([source], target, overwrite=True) == [target]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="folder"):
        check_new(tmp_path / "file" / "out.png", [], overwrite=True)


def test_names_of_kernels() -> None:
    assert kernel_path(Path("d/a.ome.tif")) == Path("d/a_kernel.tif")
    assert kernel_path(Path("d/a.b.png")) == Path("d/a.b_kernel.tif")
