"""The tutorial works as it stands on its page: every block, from top to bottom."""

from __future__ import annotations

import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from skimage.io import imread

from napari_deblur.blur.kernel import kernel_support
from napari_deblur.cli.running import run
from napari_deblur.evaluation.benchmark import score
from napari_deblur.evaluation.folder import PROTOCOL
from napari_deblur.evaluation.pictures import channels_first
from napari_deblur.files.kernels import read_kernel

# One test runs the whole page first.
pytestmark = pytest.mark.timeout(1200)

_BLOCK = re.compile(r'^```(python|sh)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)

# A first look at training takes a minute; for the test its steps are few.
_SHORT = [
    f"--set=stage.{stage}.{setting}"
    for stage in ("decoder", "analysis", "synthesis", "joint", "classifier")
    for setting in ("steps=2", "validation_images=2")
] + ["--set=kernels.count=24"]


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs" / "tutorial.md").read_text("utf-8")


@pytest.fixture(scope="module")
def folder(page: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A newcomer's folder after the last line of the page."""
    home = tmp_path_factory.mktemp("newcomer")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("NAPARI_DEBLUR_CACHE", str(home / "cache"))
        for language, title, block in _BLOCK.findall(page):
            if language == "python":
                Path(title).write_text(block, "utf-8")
                runpy.run_path(title, run_name="__main__")
            else:
                for line in block.splitlines():
                    in_shell(line)
        yield home


def in_shell(line: str) -> None:
    """Run a command as a shell would; `pip` and its like are another test's."""
    words = shlex.split(line)
    if words[0] != "napari-deblur":
        assert words[:2] == ["pip", "install"]
        return
    words = expanded(words[1:])
    if words[0] == "train":
        words += _SHORT
    assert run(words) == 0, line


def expanded(words: list[str]) -> list[str]:
    """Patterns replaced by the files that they match."""
    result: list[str] = []
    for word in words:
        result += sorted(map(str, Path().glob(word))) if "*" in word else [word]
    return result


@pytest.mark.slow
def test_every_block_runs_and_leaves_what_the_page_says(folder: Path) -> None:
    assert imread(folder / "sharp.png").shape == imread(folder / "photo.jpg").shape
    assert read_kernel(folder / "sharp_kernel.tif").sum() == pytest.approx(1, abs=1e-4)
    for name in ("series-sharp.tif", "series-same.tif"):
        with tifffile.TiffFile(folder / name) as file:
            assert file.series[0].axes == "TYX"
            assert file.series[0].shape == (3, 160, 160)
            assert file.imagej_metadata["fps"] == 2
    for name in ("cat", "coffee"):
        assert (folder / "deblurred" / f"{name}.png").exists()
    assert (folder / "cat-deblurred.png").exists()
    assert (folder / "sharp-mine.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cat", "coffee"])
def test_the_newcomers_images_become_clearly_better(folder: Path, name: str) -> None:
    truth = channels_first(imread(folder / "sharp" / f"{name}.png") / 255)
    psnr = []
    for kind in ("blurry", "deblurred"):
        image = channels_first(imread(folder / kind / f"{name}.png") / 255)
        psnr.append(score(image, truth, PROTOCOL)[0]["psnr"])
    assert psnr[1] > psnr[0] + 2


@pytest.mark.slow
def test_the_newcomers_kernel_looks_like_a_path(folder: Path) -> None:
    """As the page describes one: neither a dot nor a blob, and not cut off."""
    kernel = read_kernel(folder / "sharp_kernel.tif")
    assert kernel.max() < 0.5
    assert 9 <= kernel_support(kernel) < len(kernel)
    assert (kernel > 0.02 * kernel.max()).mean() < 0.4


def test_what_is_installed_exists(page: str, root: Path) -> None:
    extras = re.findall(r'pip install "\.\[([\w,]+)\]"', page)
    assert extras
    text = (root / "pyproject.toml").read_text("utf-8")
    for extra in {name for group in extras for name in group.split(",")}:
        assert re.search(rf"^{extra} = \[", text, re.MULTILINE), extra


def test_every_picture_is_there_and_made_by_the_script(page: str, root: Path) -> None:
    names = re.findall(r"!\[[^\]]+\]\(images/([\w-]+)\.png\)", page)
    made = runpy.run_path(str(root / "docs" / "tutorial_pictures.py"))["PICTURES"]
    assert {f"tutorial-{name}" for name in made} == set(names)
    for name in names:
        picture = imread(root / "docs" / "images" / f"{name}.png")
        assert np.ptp(picture) == 255
        assert min(picture.shape[:2]) > 250


def test_options_that_the_page_names_exist(page: str) -> None:
    import typer

    from napari_deblur.cli.app import build_app

    known = {
        option
        for command in typer.main.get_command(build_app()).commands.values()
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    named = set(re.findall(r"(?<![\w-])(--[a-z][\w-]+)", page))
    assert named
    assert named <= known
