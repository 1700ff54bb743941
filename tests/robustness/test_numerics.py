"""The same input gives the same result: again, in another process, whatever lies beside it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import napari_deblur
from napari_deblur.engine.run import drain, kernel_steps
from napari_deblur.engine.simulate import shake
from napari_deblur.weights.files import open_network

AGREEMENT = 0.005
"""How far CPU and GPU may differ in a restored image, of values in [0, 1] (root mean square)."""

PROGRAM = """
import hashlib, sys
import numpy as np, torch
import napari_deblur
torch.set_num_threads(int(sys.argv[3]))
image = np.load(sys.argv[1], allow_pickle=False)
kernel = napari_deblur.estimate_kernel(image, model=sys.argv[2], device="cpu", refine=1)
sharp = napari_deblur.deblur(image, kernel, model=sys.argv[2], device="cpu")
print(hashlib.sha256(kernel.tobytes() + sharp.tobytes()).hexdigest())
"""


@pytest.fixture(scope="module")
def blurry() -> np.ndarray:
    """A grey picture (64, 80), uint8, shaken by 9 pixels."""
    scene = np.kron(np.random.default_rng(5).integers(20, 230, (8, 10)), np.ones((8, 8)))
    return shake(scene.astype(np.uint8), size=9, seed=1, noise=0.005)[0]


def in_a_process(image: Path, model: str, threads: int) -> str:
    env = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    words = [sys.executable, "-c", PROGRAM, str(image), model, str(threads)]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_another_process_finds_the_same_bits(
    model: str, blurry: np.ndarray, tmp_path: Path
) -> None:
    np.save(tmp_path / "image.npy", blurry)
    kernel = napari_deblur.estimate_kernel(blurry, model=model, device="cpu", refine=1)
    sharp = napari_deblur.deblur(blurry, kernel, model=model, device="cpu")
    here = hashlib.sha256(kernel.tobytes() + sharp.tobytes()).hexdigest()
    assert in_a_process(tmp_path / "image.npy", model, torch.get_num_threads()) == here


def test_the_past_of_a_process_does_not_matter(model: str, blurry: np.ndarray) -> None:
    """Neither other pictures before, nor the state of random generators."""
    expected = napari_deblur.deblur(blurry, model=model, device="cpu", refine=0)
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002 - the one that somebody else may use
    squares = np.random.default_rng(1).integers(0, 65536, (10, 14, 3), np.uint16)
    other = squares.repeat(5, axis=0).repeat(5, axis=1)
    napari_deblur.deblur(other, model=model, device="cpu", refine=0)
    np.testing.assert_array_equal(
        napari_deblur.deblur(blurry, model=model, device="cpu", refine=0), expected
    )


def test_runs_leave_the_random_generators_and_the_number_of_threads_alone(
    model: str, blurry: np.ndarray
) -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    napari_deblur.deblur(blurry, model=model, device="cpu", refine=0)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_neighbours_in_a_batch_do_not_matter(model: str) -> None:
    """Of both networks, in float32."""
    rng = torch.Generator().manual_seed(0)
    images = torch.rand(4, 1, 64, 64, generator=rng)
    kernels = torch.rand(4, 15, 15, generator=rng)
    kernels /= kernels.sum(dim=(1, 2), keepdim=True)
    analysis = open_network(Path(model) / "analysis.safetensors")
    synthesis = open_network(Path(model) / "synthesis.safetensors")
    noise = torch.full((4,), 0.01)
    with torch.inference_mode():
        found, restored = analysis(images), synthesis(images, kernels, noise)
        for index in range(4):
            part = slice(index, index + 1)
            torch.testing.assert_close(analysis(images[part]), found[part], rtol=0, atol=2e-6)
            alone = synthesis(images[part], kernels[part], noise[part])
            torch.testing.assert_close(alone, restored[part], rtol=0, atol=2e-5)
        images[1:] = 1e3
        torch.testing.assert_close(analysis(images)[0], found[0], rtol=0, atol=2e-6)


def test_planes_of_a_stack_do_not_know_each_other(model: str, blurry: np.ndarray, tmp_path) -> None:
    """The command line deblurs each as if it were alone, given one kernel and one scale."""
    import tifffile

    from napari_deblur.cli.running import run

    kernel = np.eye(5, dtype=np.float32) / 5
    tifffile.imwrite(tmp_path / "kernel.tif", kernel)
    stacks = {"one": [blurry, blurry[::-1]], "other": [blurry, 255 - blurry]}
    for name, planes in stacks.items():
        stack = np.stack(planes)
        stack[:, 0, :2] = 0, 255  # the same scale for both
        tifffile.imwrite(tmp_path / f"{name}.tif", stack, metadata={"axes": "TYX"})
    for name in stacks:
        files = [tmp_path / f"{name}.tif", "-o", tmp_path / f"{name}-sharp.tif"]
        options = ["--kernel", tmp_path / "kernel.tif", "--model", model, "--device", "cpu"]
        words = ["deblur", *files, *options]
        assert run([str(word) for word in words]) == 0
    first, other = (tifffile.imread(tmp_path / f"{name}-sharp.tif") for name in stacks)
    np.testing.assert_array_equal(first[0], other[0])
    assert not np.array_equal(first[1], other[1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cpu_and_gpu_agree(model: str, blurry: np.ndarray) -> None:
    image = blurry / np.float32(255)
    kernels, sharp = [], []
    for device in ("cpu", "cuda"):
        kernels.append(drain(kernel_steps(image, model=model, device=device, refine=0)).kernel)
        sharp.append(napari_deblur.deblur(image, kernels[0], model=model, device=device))
    assert np.abs(kernels[0] - kernels[1]).sum() < 0.02
    assert np.sqrt(np.mean((sharp[0] - sharp[1]) ** 2)) < AGREEMENT
