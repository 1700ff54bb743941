"""Blocks of a dask array join to the image that is deblurred as a whole."""

from __future__ import annotations

import re

import dask
import dask.array as da
import numpy as np
import pytest
import torch
from scipy import ndimage

import napari_deblur
from napari_deblur.engine import lazy, lazy_shared, plans, restoration
from napari_deblur.engine.lazy import deblur_lazy
from napari_deblur.engine.options import Options
from napari_deblur.engine.pair import load_pair
from napari_deblur.engine.plans import block_halo, cut_blocks
from napari_deblur.engine.run import NothingToEstimateWarning
from napari_deblur.engine.simulate import shake
from napari_deblur.engine.stacks import Stack, find_slices
from napari_deblur.errors import InputError
from napari_deblur.files.arrays import RawArray


@pytest.fixture(autouse=True)
def _in_turn():
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture(autouse=True)
def _narrow_halos(monkeypatch):
    """So that pictures as small as these are cut at all."""
    monkeypatch.setattr(plans, "_KERNELS_REACHED", 6)


@pytest.fixture(scope="module")
def picture(blurry):
    """(160, 176) uint8, shaken by the kernel of `blurry`: some blocks of 64 pixels each way."""
    scene = np.kron(np.random.default_rng(5).random((20, 22)), np.ones((8, 8)))
    sharp = np.round((0.1 + 0.8 * scene) * 255).astype(np.uint8)
    return shake(sharp, kernel=blurry[1], seed=1, noise=0.005, size=9)[0]


def options(model, **more):
    return {"model": model, "device": "cpu", "refine": 0, **more}


@pytest.mark.parametrize("kind", ["array", "dask", "file"])
def test_blocks_join_without_seams(model, picture, blurry, tmp_path, kind):
    kernel = blurry[1]
    source = {
        "array": picture,
        "dask": da.from_array(picture, chunks=(50, 70)),
        "file": RawArray(tmp_path / "values", picture.dtype, picture.shape),
    }[kind]
    (tmp_path / "values").write_bytes(picture.tobytes())
    made = deblur_lazy(source, kernel, block=64, **options(model))
    assert made.chunks == ((64, 64, 32), (64, 64, 48))
    assert made.dtype == picture.dtype
    assert np.abs(made.compute().astype(int) - in_memory(picture, kernel, model)).max() <= 1


def in_memory(picture, kernel, model, **more):
    """What blocks of 64 pixels give without dask."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plans, "_LARGEST_BLOCK", 64)
        return napari_deblur.deblur(picture, kernel, **options(model), **more)


@pytest.mark.parametrize("block", [64, 100])
def test_blocks_fade_into_each_other_as_they_do_without_dask(model, blurry, block, monkeypatch):
    monkeypatch.setattr("napari_deblur.engine.pair.convolution_dtype", lambda _: torch.float32)
    monkeypatch.setattr(plans, "_LARGEST_BLOCK", block)
    scene = np.kron(np.random.default_rng(5).random((50, 40)), np.ones((8, 8)))
    image = shake(scene.astype(np.float32), kernel=blurry[1], seed=1, noise=0.005)[0]
    more = options(model, noise=0.005, saturation=np.inf)
    made = deblur_lazy(image, blurry[1], block=block, **more).compute()
    whole = napari_deblur.deblur(image, blurry[1], **more)
    np.testing.assert_allclose(made, whole, rtol=0, atol=1e-5)
    assert np.abs(made - image).max() > 0.1


def test_a_worker_with_little_memory_cuts_its_block_further(model, picture, blurry, monkeypatch):
    more = options(model, noise=1)
    pair = load_pair(str(model), torch.device("cpu"))
    halo = block_halo(pair, blurry[1])
    made = deblur_lazy(picture, blurry[1], block=128, **more)
    at_once = made.compute()
    sizes = []
    start = restoration.start_block

    def watched(pair, image, *rest, **more):
        sizes.append(image.shape)
        return start(pair, image, *rest, **more)

    monkeypatch.setattr(plans, "free_memory", lambda _: 2 * 128 * (64 + 2 * halo) ** 2)
    monkeypatch.setattr(restoration, "start_block", watched)
    in_parts = made.compute()
    assert max(max(size) for size in sizes) <= 64 + 2 * halo + 16
    difference = np.abs(at_once.astype(int) - in_parts)
    assert difference.mean() < 0.15  # of 255, most of it at the image's borders
    assert difference[32:-32, 32:-32].max() <= 1


def test_nothing_is_read_but_what_a_chunk_needs(model, picture, blurry):
    read = []

    class Spy:
        shape, dtype, ndim = picture.shape, picture.dtype, 2

        def __getitem__(self, key):
            read.append(key)
            return picture[key]

    made = deblur_lazy(Spy(), blurry[1], block=64, **options(model, noise=1))
    read.clear()
    made[:10, :10].compute()
    pair = load_pair(str(model), torch.device("cpu"))
    blocks = cut_blocks(pair, picture.shape, blurry[1], 64)
    needed = [b.source for b in blocks if b.counts[0].start < 64 and b.counts[1].start < 64]
    assert len(needed) < len(blocks)
    assert sorted(read, key=str) == sorted(needed, key=str)


def test_a_stack_has_a_kernel_for_each_slice_or_one(model, picture, blurry):
    stack = np.stack([picture, picture[::-1]], axis=1)  # (Y, Z, X)
    each = deblur_lazy(stack, axes="YZX", block=256, **options(model)).compute()
    assert each.shape == stack.shape
    alone = [napari_deblur.deblur(stack[:, z], **options(model)) for z in (0, 1)]
    for z in (0, 1):
        assert np.abs(each[:, z].astype(int) - alone[z]).max() <= 1
    one = deblur_lazy(stack, axes="YZX", one_kernel=True, block=256, **options(model)).compute()
    assert (one != each).any()
    given = np.stack([blurry[1], np.eye(1, 81, 40).reshape(9, 9)])
    two = deblur_lazy(stack, given, axes="yzx", block=128, **options(model)).compute()
    known = napari_deblur.deblur(stack[:, 0], given[0], **options(model))
    assert np.abs(two[:, 0].astype(int) - known).mean() < 0.1


@pytest.mark.parametrize(
    ("shape", "axes", "channel_axis"),
    [((70, 80, 3), None, None), ((70, 80, 4), None, None), ((2, 70, 80), None, 0),
     ((3, 70, 80), "CYX", 0), ((80, 70), "XY", None), ((2, 80, 3, 70), "TXCY", 2)],
)  # fmt: skip
def test_layouts_come_back_as_they_went_in(model, shape, axes, channel_axis):
    array = np.random.default_rng(0).random(shape, np.float32) * 50
    array = ndimage.gaussian_filter(array, 2)
    kernel = np.full((3, 3), 1 / 9)
    more = options(model, channel_axis=channel_axis)
    made = deblur_lazy(array, kernel, axes=axes, block=64, **more)
    assert (made.shape, made.dtype) == (array.shape, array.dtype)
    if axes is None:
        whole = napari_deblur.deblur(array, kernel, **more)
        assert np.abs(made.compute() - whole).mean() < 0.05
    elif axes == "XY":
        whole = napari_deblur.deblur(array.T, kernel, **options(model)).T
        assert np.abs(made.compute() - whole).mean() < 0.05
    else:
        assert np.isfinite(made.compute()).all()


def test_slices_share_one_range(model):
    dim = np.random.default_rng(0).random((64, 64), np.float32)
    stack = np.stack([dim, 40 * dim])
    made = deblur_lazy(stack, np.full((3, 3), 1 / 9), axes="TYX", **options(model, noise=0.01))
    alone = napari_deblur.deblur(
        dim, np.full((3, 3), 1 / 9), value_range=(stack.min(), stack.max()),
        **options(model, noise=0.01),
    )  # fmt: skip
    np.testing.assert_allclose(made[0].compute(), alone, atol=1e-3)


def test_without_texture_the_image_is_left_as_it_is(model):
    flat = np.full((70, 80), 7, np.uint16)
    with pytest.warns(NothingToEstimateWarning):
        made = deblur_lazy(flat, block=64, **options(model))
    np.testing.assert_array_equal(made.compute(), flat)


def test_what_cannot_be_is_refused(model, picture):
    broken = picture.astype(float)
    broken[130, 7] = np.nan
    with pytest.raises(InputError, match="nan at row 130, column 7"):
        deblur_lazy(broken, **options(model))
    with pytest.raises(InputError, match="block 5"):
        deblur_lazy(picture, block=5, **options(model))
    with pytest.raises(InputError, match="kernels of shape"):
        deblur_lazy(np.stack([picture] * 2), np.ones((3, 3, 3)), axes="ZYX", **options(model))
    told = Options(field="grid", **options(model))
    with pytest.raises(InputError, match="field 'grid'"):
        lazy.deblur_stack_lazy(Stack(picture, "YX", find_slices(picture.shape, "YX")), None, told)
    with pytest.raises(InputError, match="Axes"):
        deblur_lazy(picture, axes="ZYX", **options(model))


def test_a_kernel_is_estimated_from_windows_that_are_few(model, picture, monkeypatch):
    seen = []
    find = lazy_shared._find
    monkeypatch.setattr(lazy_shared, "_KERNEL_SIDE", 40)
    monkeypatch.setattr(lazy_shared, "_KERNEL_WINDOWS", 3)
    monkeypatch.setattr(
        lazy_shared, "_find", lambda frames, told: seen.append(frames) or find(frames, told)
    )
    deblur_lazy(picture, **options(model))
    assert len(seen[0]) == 3


def test_the_model_is_chosen_for_each_image_as_without_dask(picture):
    more = {"model": "auto", "device": "cpu", "refine": 0}
    made = deblur_lazy(picture, block=256, **more).compute()
    np.testing.assert_array_equal(made, napari_deblur.deblur(picture, **more))


def test_the_example_of_the_documentation_runs(root, capsys):
    text = (root / "docs" / "large-images.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(compile(code, "large-images.md", "exec"), {})
    assert "(2, 128, 128)" in capsys.readouterr().out
