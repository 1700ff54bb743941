"""Every command once from end to end.

Some start the program as a user does; the others run its commands in this process, for to import
PyTorch anew takes longer than what they ask for.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skimage.io
import tifffile
from numpy.typing import NDArray

import napari_deblur

Outcome = tuple[int, str, str]
Program = Callable[..., Outcome]


def succeed(outcome: Outcome) -> str:
    code, out, err = outcome
    assert code == 0, err
    assert err == ""
    return out


def test_deblur_keeps_shape_type_and_saves_the_kernel(
    tmp_path: Path, picture: NDArray[np.uint8], program: Program, model: str
) -> None:
    skimage.io.imsave(tmp_path / "in.png", picture)
    out = succeed(
        program(
            "deblur",
            tmp_path / "in.png",
            "-o",
            tmp_path / "sharp" / "in.png",
            "--save-kernel",
            "--model",
            model,
            "--device",
            "cpu",
        )
    )
    sharp = skimage.io.imread(tmp_path / "sharp" / "in.png")
    assert (sharp.shape, sharp.dtype) == (picture.shape, picture.dtype)
    kernel = tifffile.imread(tmp_path / "sharp" / "in_kernel.tif")
    assert kernel.dtype == np.float32
    assert kernel.sum() == pytest.approx(1, abs=1e-4)
    assert "sharp" in out


def test_a_batch_skips_what_it_cannot_read_and_says_so(
    tmp_path: Path, picture: NDArray[np.uint8], command: Program, model: str
) -> None:
    skimage.io.imsave(tmp_path / "a.png", picture)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and nothing else")
    skimage.io.imsave(tmp_path / "z.png", picture[..., 0])
    inputs = [tmp_path / name for name in ("a.png", "broken.png", "z.png")]
    code, out, err = command(
        "deblur", *inputs, "-o", tmp_path / "out", "--model", model, "--device", "cpu"
    )
    assert code == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "z.png"]
    assert "2 of 3" in out
    assert "broken.png" in err.splitlines()[-1]
    assert "Traceback" not in err


def test_kernel_and_then_deblur_with_it(
    tmp_path: Path,
    picture: NDArray[np.uint8],
    command: Program,
    model: str,
) -> None:
    skimage.io.imsave(tmp_path / "in.png", picture)
    options = ["--model", model, "--device", "cpu"]
    succeed(command("kernel", tmp_path / "in.png", "-o", tmp_path / "k.tif", *options))
    blind, known = tmp_path / "blind.png", tmp_path / "known.png"
    succeed(command("deblur", tmp_path / "in.png", "-o", blind, *options))
    args = ["deblur", tmp_path / "in.png", "-o", known, "--kernel", tmp_path / "k.tif"]
    succeed(command(*args, *options))
    difference = skimage.io.imread(blind).astype(int) - skimage.io.imread(known)
    assert np.abs(difference).max() <= 1


def test_kernels_are_corrected_as_the_function_does_and_bad_ones_change_nothing(
    tmp_path: Path, picture: NDArray[np.uint8], command: Program
) -> None:
    skimage.io.imsave(tmp_path / "in.png", picture)
    known = np.ones((5, 5), np.float32) / 25
    tifffile.imwrite(tmp_path / "known.tif", known)
    target = tmp_path / "better.tif"
    arguments = ("kernel", tmp_path / "in.png", "-o", target, "--device", "cpu", "--correct")
    succeed(command(*arguments, tmp_path / "known.tif"))
    expected = napari_deblur.correct_kernel(picture, known, device="cpu")
    np.testing.assert_allclose(tifffile.imread(target), expected, atol=1e-6)
    target.unlink()
    tifffile.imwrite(tmp_path / "even.tif", np.ones((4, 4), np.float32))
    code, _, err = command(*arguments, tmp_path / "even.tif")
    assert code != 0
    assert "odd" in err
    code, _, err = command(*arguments, tmp_path / "known.tif", "--each")
    assert code != 0
    assert "--each" in err
    assert not target.exists()


@pytest.mark.parametrize("pooled", [False, True])
def test_stacks_are_deblurred_slice_by_slice_and_keep_their_metadata(
    tmp_path: Path, picture: NDArray[np.uint8], command: Program, model: str, pooled: bool
) -> None:
    stack = np.stack([picture[..., channel] for channel in (0, 1)]).astype(np.uint16) * 16
    source, target = tmp_path / "in.tif", tmp_path / "out.tif"
    tifffile.imwrite(
        source, stack, imagej=True, resolution=(5.0, 5.0),
        metadata={"axes": "ZYX", "unit": "um", "spacing": 0.3},
    )  # fmt: skip
    options = ["--one-kernel"] if pooled else []
    succeed(
        command(
            "deblur",
            source,
            "-o",
            target,
            "--save-kernel",
            "--model",
            model,
            "--device",
            "cpu",
            *options,
        )
    )
    with tifffile.TiffFile(target) as written:
        assert written.series[0].axes == "ZYX"
        assert written.series[0].shape == stack.shape
        assert written.imagej_metadata["unit"] == "um"
        assert written.pages[0].tags["XResolution"].value == (5, 1)
    kernels = tifffile.imread(tmp_path / "out_kernel.tif")
    assert kernels.shape[:-2] == (() if pooled else (2,))
    assert kernels.shape[-2] == kernels.shape[-1] >= 15
    again = tmp_path / "again.tif"
    known = ["--kernel", tmp_path / "out_kernel.tif", "--model", model, "--device", "cpu"]
    succeed(command("deblur", source, "-o", again, *known))
    difference = tifffile.imread(again).astype(int) - tifffile.imread(target)
    assert np.abs(difference).max() <= 1


def test_kernels_of_fields_are_no_more_overwritten_than_other_files(
    tmp_path: Path, picture: NDArray[np.uint8], command: Program, model: str
) -> None:
    """Each slice has a file of its own, whose name is known only when the stack is."""
    tifffile.imwrite(tmp_path / "in.tif", picture[..., :2].transpose(2, 0, 1), imagej=True)
    mine = tmp_path / "out_kernel_Z1.tif"
    mine.write_bytes(b"mine")
    files = [tmp_path / "in.tif", "-o", tmp_path / "out.tif", "--axes", "ZYX"]
    options = ["--field", "grid", "--save-kernel", "--model", model, "--device", "cpu"]
    code, _, err = command("deblur", *files, *options)
    assert code == 2
    assert "out_kernel_Z1.tif" in err
    assert "--overwrite" in err
    assert mine.read_bytes() == b"mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.tif", mine.name]


def test_shake_is_repeatable_and_blurs(
    tmp_path: Path, picture: NDArray[np.uint8], command: Program
) -> None:
    skimage.io.imsave(tmp_path / "in.png", picture)
    args = ["shake", tmp_path / "in.png", "--size", 9, "--seed", 3, "--noise", 0]
    succeed(command(*args, "-o", tmp_path / "a.png", "--save-kernel"))
    succeed(command(*args, "-o", tmp_path / "b.png"))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    kernel = tifffile.imread(tmp_path / "a_kernel.tif")
    assert kernel.shape == (9, 9)
    blurred = skimage.io.imread(tmp_path / "a.png")
    assert np.abs(np.diff(blurred.astype(int), axis=1)).max() < 170


def test_evaluate_prints_a_table_and_writes_every_row(
    tmp_path: Path, picture: NDArray[np.uint8], command: Program, model: str
) -> None:
    skimage.io.imsave(tmp_path / "one_sharp.png", picture)
    skimage.io.imsave(tmp_path / "one_blurry.png", np.roll(picture, 1, axis=0))
    out = succeed(
        command(
            "evaluate",
            "folder",
            tmp_path,
            "--model",
            model,
            "--device",
            "cpu",
            "--gamma",
            2.2,
            "--saturation",
            "inf",
            "--json",
            tmp_path / "figures" / "rows.json",
        )
    )
    assert "PSNR dB" in out
    report = json.loads((tmp_path / "figures" / "rows.json").read_text())
    assert [row["name"] for row in report["rows"]] == ["one"]
    assert report["mean"]["psnr"] == report["rows"][0]["psnr"]
    assert report["settings"]["model"] == model
    assert report["settings"]["gamma"] == 2.2
    assert report["settings"]["saturation"] == "off"


def test_demo_works_offline_and_names_its_pictures(
    tmp_path: Path, command: Program, model: str
) -> None:
    out = succeed(command("demo", "--out", tmp_path / "d", "--model", model, "--device", "cpu"))
    assert "PSNR before" in out
    for path in (tmp_path / "d").iterdir():
        assert str(path) in out
        height, width = skimage.io.imread(path).shape[:2]
        assert width > 2 * height
    assert len(list((tmp_path / "d").iterdir())) == 2


def test_info_names_versions_device_and_cache(program: Program) -> None:
    out = succeed(program("info"))
    for word in ("napari-deblur", "torch", "device", "threads", os.environ["NAPARI_DEBLUR_CACHE"]):
        assert word in out


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_ends_cleanly_and_leaves_nothing(tmp_path: Path, model: str) -> None:
    squares = np.random.default_rng(0).integers(0, 255, (500, 500), dtype=np.uint8)
    image = squares.repeat(4, axis=0).repeat(4, axis=1)
    tifffile.imwrite(tmp_path / "large.tif", image)
    target = tmp_path / "out" / "large.tif"
    args = ["deblur", tmp_path / "large.tif", "-o", target, "--model", model, "--device", "cpu"]
    # The interruption comes when the imports are done and the work has begun, on any machine.
    code = (
        "import signal, sys\n"
        "from napari_deblur.cli.running import run\n"
        "import napari_deblur.cli.work\n"
        "signal.signal(signal.SIGALRM, signal.default_int_handler)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.5)\n"
        f"sys.exit(run({[*map(str, args), '--tile', '64']!r}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 130
    assert done.stderr == "Interrupted; nothing is left half written\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["large.tif"]


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_command_that_is_told_to_stop_leaves_nothing(
    name: str, tmp_path: Path, model: str
) -> None:
    squares = np.random.default_rng(0).integers(0, 255, (250, 250), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "large.tif", squares.repeat(4, axis=0).repeat(4, axis=1))
    target = tmp_path / "out" / "large.tif"
    args = ["deblur", tmp_path / "large.tif", "-o", target, "--tile", 64]
    args += ["--model", model, "--device", "cpu"]
    code = (
        "import os, signal, sys, threading, time\n"
        "from napari_deblur.cli import main\n"
        "def stop():\n"
        f"    while not os.path.exists({str(target.parent)!r}):\n"  # made when the work begins
        "        time.sleep(0.01)\n"
        f"    os.kill(os.getpid(), signal.{name})\n"
        "threading.Thread(target=stop).start()\n"
        f"sys.argv = ['napari-deblur', *{[*map(str, args)]!r}]\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 128 + getattr(signal, name)
    assert done.stderr == "Interrupted; nothing is left half written\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["large.tif"]


def test_a_batch_goes_on_when_nobody_listens(tmp_path: Path, picture, model: str) -> None:
    for name in ("a.png", "b.png"):
        skimage.io.imsave(tmp_path / name, picture)
    args = [tmp_path / "a.png", tmp_path / "b.png", "-o", tmp_path / "out", "--model", model]
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "napari_deblur.cli", "deblur", *map(str, args), "--refine=0"],
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            timeout=600,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.png"]


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
def test_a_name_that_cannot_be_printed_and_no_stderr_are_no_obstacles(
    tmp_path: Path, picture, model: str
) -> None:
    source = tmp_path / os.fsdecode(b"caf\xe9.png")
    skimage.io.imsave(tmp_path / "plain.png", picture)
    (tmp_path / "plain.png").rename(source)
    args = ["deblur", source, "-o", tmp_path / "out.png", "--model", model, "--refine=0"]
    code = (
        "import sys\n"
        "from napari_deblur.cli import main\n"
        "sys.stderr = None\n"  # as after 2>&-, or under pythonw
        f"sys.argv = ['napari-deblur', *{[*map(str, args)]!r}]\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, timeout=600, check=False
    )
    assert done.returncode == 0
    assert rb"caf\udce9.png -> " in done.stdout
    assert (tmp_path / "out.png").exists()


def test_what_a_file_holds_besides_its_first_image_is_mentioned(
    tmp_path: Path, picture, command: Program, model: str
) -> None:
    with tifffile.TiffWriter(tmp_path / "two.tif") as writer:
        writer.write(picture)
        writer.write(picture[..., 0])
    args = ["-o", tmp_path / "out.tif", "--model", model, "--device=cpu", "--refine=0"]
    code, _, err = command("deblur", tmp_path / "two.tif", *args)
    assert code == 0
    assert err == "Note: two.tif: only the first of 2 image series was read\n"


def test_models_are_listed_and_ones_own_files_verified(command: Program, model: str) -> None:
    code, out, err = command("models", "list")
    assert code == 0
    assert "kernels up to" in out or "no model" in err
    out = succeed(command("models", "verify", model))
    assert out.count("good: ") == 2
    assert succeed(command("models", "path", model)).splitlines() == [
        str(Path(model) / "analysis.safetensors"),
        str(Path(model) / "synthesis.safetensors"),
    ]


def test_a_damaged_file_is_named_and_not_good(tmp_path: Path, command: Program, model: str) -> None:
    data = bytearray((Path(model) / "analysis.safetensors").read_bytes())
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(data[:-9])
    code, out, err = command("models", "verify", damaged)
    assert code in (1, 2)
    assert "damaged.safetensors" in err
    assert "good" not in out


def test_training_is_at_hand(command: Program) -> None:
    assert "--recipe" in succeed(command("train", "--help"))
    code, _, err = command("train", "analysis", "--recipe", "no-such-recipe")
    assert code == 2
    assert "no-such-recipe" in err
