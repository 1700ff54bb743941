"""The generator: progress per tile, cancellation, memory, tiles without seams, bad input."""

from __future__ import annotations

import dataclasses
import gc
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import napari_deblur
from napari_deblur.blur.kernel import delta_kernel, kernel_support, resize_kernel_support
from napari_deblur.engine import plans
from napari_deblur.engine.pair import load_pair
from napari_deblur.engine.plans import receptive_radius
from napari_deblur.engine.run import (
    NothingToEstimateWarning,
    deblur_steps,
    drain,
    kernel_steps,
)
from napari_deblur.engine.simulate import shake
from napari_deblur.errors import (
    DeviceError,
    InputError,
    KernelError,
    ModelError,
    OutOfMemoryError,
    OutputError,
    WeightsError,
)
from napari_deblur.networks.config import SynthesisConfig
from napari_deblur.networks.fold import FoldedUNet
from napari_deblur.networks.presets import PRESETS
from napari_deblur.networks.synthesis import SynthesisNetwork
from napari_deblur.weights.files import open_network, save_weights

from .conftest import save_pair

CPU = torch.device("cpu")


def psnr(image, truth):
    return 10 * np.log10(1 / np.mean((np.float64(image) / 255 - truth) ** 2))


# ------------------------------------------------------------------ results


def test_a_known_kernel_sharpens_and_the_input_stays_as_it_is(model, blurry, photograph):
    image, kernel = blurry
    before = image.copy()
    sharp = napari_deblur.deblur(image, kernel, model=model, device="cpu")
    np.testing.assert_array_equal(image, before)
    assert sharp.shape == image.shape
    assert sharp.dtype == image.dtype
    assert psnr(sharp, photograph) > psnr(image, photograph) + 2


def test_an_estimated_kernel_is_one_and_is_what_deblur_uses(model, blurry):
    image, _ = blurry
    kernel = napari_deblur.estimate_kernel(image, model=model, device="cpu")
    assert kernel.shape == (15, 15)
    assert kernel.dtype == np.float32
    assert kernel.min() >= 0
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    result = drain(deblur_steps(image, model=model, device="cpu"))
    np.testing.assert_array_equal(result.kernel, kernel)
    again = napari_deblur.deblur(image, result.kernel, model=model, device="cpu")
    np.testing.assert_array_equal(result.image, again)


def test_repeated_runs_agree_bit_by_bit(model, blurry):
    runs = [drain(deblur_steps(blurry[0], model=model, device="cpu")) for _ in range(2)]
    np.testing.assert_array_equal(runs[0].kernel, runs[1].kernel)
    np.testing.assert_array_equal(runs[0].image, runs[1].image)


@settings(deadline=None, max_examples=20)
@given(
    form=st.sampled_from([((18, 33), None), ((17, 20, 3), None), ((16, 21, 4), None),
                          ((2, 16, 19), 0), ((20, 6, 16), 1)]),
    dtype=st.sampled_from([np.uint8, np.uint16, np.int16, np.float16, np.float32, np.float64]),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_any_layout_and_dtype_comes_back_as_it_went_in_and_finite(model, form, dtype, seed):
    shape, axis = form
    values = np.random.default_rng(seed).random(shape) * (4000 if dtype != np.uint8 else 255)
    image = values.astype(dtype)
    sharp = napari_deblur.deblur(
        image, delta_kernel(5), model=model, channel_axis=axis, device="cpu"
    )
    assert sharp.shape == image.shape
    assert sharp.dtype == image.dtype
    assert np.isfinite(sharp.astype(float)).all()
    assert sharp.min() >= 0
    if shape[-1] == 4:
        np.testing.assert_array_equal(sharp[..., 3], image[..., 3])


def test_the_scale_of_the_values_does_not_matter(model, blurry):
    image, kernel = blurry
    counts = image.astype(np.uint16) * 3 + 100
    sharp = napari_deblur.deblur(image.astype(np.float32) - 7, kernel, model=model, device="cpu")
    scaled = napari_deblur.deblur(counts.astype(np.int32), kernel, model=model, device="cpu")
    # Rounding to whole counts, and the clipping of undershoot at zero, are all that differs.
    assert np.abs(np.clip((scaled - 100) / 3 - 7, 0, None) - np.clip(sharp, 0, None)).max() < 0.5


def test_channels_that_are_named_equal_each_deblurred_alone(model, blurry):
    image, kernel = blurry
    options = {"model": model, "device": "cpu", "noise": 1.0}
    other = np.ascontiguousarray(image[::-1])
    channels = np.stack([image, other, image], axis=-1)
    together = napari_deblur.deblur(channels, kernel, channel_axis=-1, **options)
    alone = napari_deblur.deblur(other, kernel, **options)
    np.testing.assert_array_equal(together[..., 1], alone)
    rgb = napari_deblur.deblur(channels, kernel, **options)
    assert (rgb != together).any()


def test_of_rgb_the_network_corrects_the_luma(monkeypatch, model, blurry):
    monkeypatch.setattr("napari_deblur.engine.pair.convolution_dtype", lambda _: torch.float32)
    image, kernel = blurry
    colour = np.stack([image, image[::-1], image[:, ::-1]], axis=-1).astype(np.float32) / 255
    deblurred = napari_deblur.deblur(
        colour, kernel, model=model, device="cpu", noise=0.01, value_range=(0, 1), tile=64
    )
    network = load_pair(model, torch.device("cpu")).synthesis
    bare = resize_kernel_support(kernel, kernel_support(kernel, fraction=0))
    guide = resize_kernel_support(kernel, network.config.kernel_size)
    blurry_channels = torch.from_numpy(colour).permute(2, 0, 1)[:, None]
    noise, weights = torch.full((3,), 0.01), torch.tensor([0.299, 0.587, 0.114])
    with torch.inference_mode():
        found = network.deconvolve(blurry_channels, torch.from_numpy(bare).expand(3, -1, -1), noise)
        lumas = [
            (each * weights.view(3, 1, 1, 1)).sum(0, keepdim=True)
            for each in (blurry_channels, *found)
        ]
        change = network.improve(lumas, torch.from_numpy(guide)[None], noise[:1])
    assert float(change.abs().max()) > 1e-3
    expected = (found[0] + change)[:, 0].permute(1, 2, 0).clamp(0, 1).numpy()
    np.testing.assert_allclose(deblurred, expected, rtol=0, atol=1e-5)


def test_a_network_for_rgb_takes_grey_images_too(tmp_path, blurry):
    preset = PRESETS["tiny"]
    config = dataclasses.replace(preset.synthesis, image_channels=3)
    folder = save_pair(tmp_path / "rgb", preset.analysis, config)
    image, kernel = blurry
    assert napari_deblur.deblur(image, kernel, model=folder, device="cpu").shape == image.shape
    colour = np.stack([image] * 3, axis=-1)
    assert napari_deblur.deblur(colour, kernel, model=folder, device="cpu").shape == colour.shape


def test_lazy_input_and_output_are_used_piece_by_piece(model, blurry, tmp_path):
    image, kernel = blurry
    np.save(tmp_path / "in.npy", image)
    source = np.load(tmp_path / "in.npy", mmap_mode="r")
    out = np.lib.format.open_memmap(
        tmp_path / "out.npy", mode="w+", dtype=image.dtype, shape=image.shape
    )
    result = napari_deblur.deblur(source, kernel, model=model, device="cpu", out=out)
    assert result is out
    np.testing.assert_array_equal(
        out, napari_deblur.deblur(image, kernel, model=model, device="cpu")
    )


# ------------------------------------------------------------------ tiles


@pytest.mark.parametrize("kind", ["none", "wiener", "hyper-laplacian"])
def test_tiles_give_what_the_whole_image_gives(tmp_path, kind, monkeypatch):
    preset = PRESETS["tiny"]
    config = dataclasses.replace(
        preset.synthesis, front_end=kind, iterations=1 if kind == "none" else 2
    )
    folder = save_pair(tmp_path / kind, preset.analysis, config)
    # In float32: bfloat16's own rounding is larger than what is looked for.
    monkeypatch.setattr("napari_deblur.engine.pair.convolution_dtype", lambda _: torch.float32)
    image = np.random.default_rng(0).random((150, 170), np.float32)
    image, kernel = shake(image, size=9, seed=1, noise=0.005)
    options = {"model": folder, "device": "cpu", "noise": 0.005}
    whole = drain(deblur_steps(image, kernel, tile=512, **options)).image
    tiled = drain(deblur_steps(image, kernel, tile=64, **options)).image
    np.testing.assert_allclose(tiled, whole, atol=1e-4)
    direct = SynthesisNetwork(config).eval()
    direct.load_state_dict(load_pair(folder, CPU).synthesis.state_dict())
    with torch.inference_mode():
        guide = torch.from_numpy(resize_kernel_support(kernel, 9))[None]
        expected = direct(torch.from_numpy(image)[None, None], guide, torch.tensor([0.005]))
    np.testing.assert_allclose(whole, expected[0, 0].clamp(0, 1), atol=1e-4)


def test_blocks_of_a_large_image_join_without_seams(model, monkeypatch):
    monkeypatch.setattr("napari_deblur.engine.pair.convolution_dtype", lambda _: torch.float32)
    image = np.kron(np.random.default_rng(0).random((40, 48), np.float32), np.ones((8, 8), "f4"))
    image, kernel = shake(image, size=9, seed=1, noise=0.003)
    options = {"model": model, "device": "cpu", "noise": 0.01}
    whole = drain(deblur_steps(image, kernel, **options)).image
    monkeypatch.setattr(plans, "_LARGEST_BLOCK", 128)
    blocks = drain(deblur_steps(image, kernel, **options)).image
    # A deconvolution takes its image for a torus, so the picture's own borders know each other.
    inner = (slice(32, -32), slice(32, -32))
    difference = np.abs(whole - blocks)[inner]
    assert 0 < difference.max() < 1e-3


@pytest.mark.parametrize("name", ["tiny", "compact"])
def test_the_receptive_radius_is_an_upper_bound_and_tight(name):
    small = dataclasses.replace(PRESETS[name].synthesis, front_end="none", noise_input=False)
    small = dataclasses.replace(small, channels=(2,) * len(small.channels), guidance="none")
    network = SynthesisNetwork(small).eval().double()
    for parameter in network.parameters():  # positive weights: no path cancels or is cut off
        torch.nn.init.constant_(parameter, 0.1)
    radius = receptive_radius(small)
    stride = network.unet.stride
    middle = (2 * radius // stride) * stride
    image = torch.zeros(1, 1, 2 * middle, 2 * middle, dtype=torch.float64)
    seen = 0
    for offset in range(stride):
        probe = image.clone().requires_grad_()
        result = network(probe, torch.ones(1, 15, 15, dtype=torch.float64) / 225)
        result[0, 0, middle + offset, middle].backward()
        rows = torch.nonzero(probe.grad[0, 0].abs().sum(dim=1))[:, 0]
        seen = max(seen, middle + offset - int(rows[0]), int(rows[-1]) - middle - offset)
    assert seen <= radius
    assert seen > 0.6 * radius


# ------------------------------------------------------------------ progress, cancel, memory


def test_progress_counts_every_stage_up_to_its_end(model, blurry):
    stages = {}
    for step in deblur_steps(blurry[0], model=model, device="cpu", tile=64):
        assert step.done >= stages.get(step.stage, [step])[-1].done
        stages.setdefault(step.stage, []).append(step)
    assert list(stages) == ["load", "kernel", "refine", "deblur"]
    for steps in stages.values():
        assert steps[0].done == 0
        assert steps[-1].done == steps[-1].total
    # One step for the deconvolution, and two tiles (of 64 and their halo) across.
    assert [step.done for step in stages["deblur"]] == [0, 1, 2, 3]


def watch_unet(monkeypatch, hook):
    """Call `hook` with each input of the U-Net, before it computes."""
    plain = FoldedUNet.__call__

    def watched(unet, stack):
        hook(stack)
        return plain(unet, stack)

    monkeypatch.setattr(FoldedUNet, "__call__", watched)


def test_closing_stops_at_the_tile_and_leaves_nothing(model, blurry, monkeypatch):
    image, kernel = blurry
    calls = []
    watch_unet(monkeypatch, calls.append)
    steps = deblur_steps(image, kernel, model=model, device="cpu", tile=64)
    while not calls:
        next(steps)
    running = steps
    while "target" not in running.gi_frame.f_locals:
        running = running.gi_yieldfrom
    target = weakref.ref(running.gi_frame.f_locals["target"])
    steps.close()
    gc.collect()
    assert len(calls) == 1
    assert target() is None


class _ShortOfMemory:
    """A hook of the U-Net that has no memory for inputs wider than `side`."""

    def __init__(self, side, error):
        self.side, self.error, self.seen = side, error, []

    def __call__(self, stack):
        self.seen.append(max(stack.shape[-2:]))
        if self.seen[-1] > self.side:
            raise self.error


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
)
def test_too_little_memory_halves_the_tile_and_gives_the_same_image(
    model, blurry, error, monkeypatch
):
    image, kernel = blurry
    image = np.tile(image, (2, 2))
    expected = drain(deblur_steps(image, kernel, model=model, device="cpu", tile=64))
    hook = _ShortOfMemory(64 + 2 * 20 + 8, error)
    watch_unet(monkeypatch, hook)
    result = drain(deblur_steps(image, kernel, model=model, device="cpu", tile=256))
    assert result.settings["tile"] == 64
    assert hook.seen[:2] == [224, 132]  # whole, then in two
    np.testing.assert_array_equal(result.image, expected.image)


def test_far_too_little_memory_is_an_error_with_advice(model, blurry, monkeypatch):
    watch_unet(monkeypatch, _ShortOfMemory(0, torch.OutOfMemoryError("CUDA out of memory")))
    with pytest.raises(OutOfMemoryError, match="cpu has too little memory even for tiles of 64"):
        drain(deblur_steps(*blurry, model=model, device="cpu"))


def test_other_errors_of_a_network_are_not_taken_for_lack_of_memory(model, blurry, monkeypatch):
    hook = _ShortOfMemory(0, RuntimeError("shapes do not match"))
    watch_unet(monkeypatch, hook)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        drain(deblur_steps(*blurry, model=model, device="cpu"))
    assert len(hook.seen) == 1


# ------------------------------------------------------------------ estimation


def kernel_of(*images, **options):
    return drain(kernel_steps(*images, device="cpu", refine=0, **options)).kernel


def test_a_region_is_what_the_part_alone_gives(model, blurry):
    image, _ = blurry
    part = (slice(8, 80), slice(16, 100))
    expected = kernel_of(np.ascontiguousarray(image[part]), model=model)
    found = kernel_of(image, model=model, region=part)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    mask = np.zeros(image.shape, bool)
    mask[part] = True
    whole = kernel_of(image, model=model)
    assert not np.allclose(whole, found, atol=1e-6)


def test_what_lies_outside_a_mask_does_not_matter(model, blurry):
    image = blurry[0].copy()
    rows, columns = np.ogrid[:96, :112]
    mask = (rows - 48) ** 2 + (columns - 56) ** 2 < 40**2
    found = kernel_of(image, model=model, region=mask)
    image[~mask] = np.random.default_rng(0).integers(10, 240, (~mask).sum())
    np.testing.assert_allclose(kernel_of(image, model=model, region=mask), found, atol=1e-6)


def test_pooled_frames_lie_between_their_kernels_and_weigh_texture(model, blurry):
    first, _ = blurry
    second = np.ascontiguousarray(first.T[:96, :96])
    flat = np.full(first.shape, 90, np.uint8)
    flat[0, 0] = 91
    one, two = kernel_of(first, model=model), kernel_of(second, model=model)
    both = kernel_of(first, second, model=model)
    assert not np.allclose(both, one, atol=1e-7)
    assert not np.allclose(both, two, atol=1e-7)
    np.testing.assert_array_equal(kernel_of(first, first, model=model), one)
    constant = np.full(first.shape, 90, np.uint8)
    np.testing.assert_array_equal(kernel_of(first, constant, model=model), one)


def test_windows_pool_to_nearly_the_whole_images_kernel(model, blurry):
    image = np.tile(blurry[0], (3, 3))
    whole, parts = kernel_of(image, model=model), kernel_of(image, model=model, tile=96)
    assert 0 < np.abs(whole - parts).sum() < 0.05


def test_nothing_to_see_gives_the_kernel_that_changes_nothing_and_says_so(model):
    image = np.full((40, 50, 3), 77, np.uint8)
    with pytest.warns(NothingToEstimateWarning, match="no texture"):
        result = drain(deblur_steps(image, model=model, device="cpu"))
    assert not result.informative
    np.testing.assert_array_equal(result.kernel, delta_kernel(15))
    np.testing.assert_array_equal(result.image, image)


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"kernel": np.ones((173, 173))}, KernelError, "at most 171x171"),
        ({"kernel_size": 30}, KernelError, "kernel_size is 30"),
        ({"kernel_size": 173}, InputError, "from 3 to 171"),
        ({"refine": -1}, InputError, "refine -1"),
        ({"refine": 2.5}, InputError, "refine 2.5"),
        ({"kernel": np.ones((4, 4))}, KernelError, "4x4"),
        ({"kernel": np.ones(5)}, KernelError, "2-D"),
        ({"kernel": -np.ones((5, 5))}, KernelError, "negative"),
        ({"kernel": np.zeros((5, 5))}, KernelError, "zero"),
        ({"device": "tpu"}, DeviceError, "no device 'tpu'"),
        ({"model": "no-such-model"}, ModelError, "no-such-model"),
        ({"tile": 63}, InputError, "tile 63"),
        ({"tile": 100.0}, InputError, "tile 100.0"),
        ({"noise": -1}, InputError, "noise -1"),
        ({"noise": np.nan}, InputError, "noise nan"),
        ({"noise": "low"}, InputError, "noise 'low'"),
        ({"gamma": 0}, InputError, "gamma 0"),
        ({"gamma": np.nan}, InputError, "gamma nan"),
        ({"gamma": "sRGB"}, InputError, "gamma 'sRGB'"),
        ({"saturation": np.nan}, InputError, "saturation nan"),
        ({"saturation": "white"}, InputError, "saturation 'white'"),
        ({"saturation": -1}, InputError, "saturation -1"),
        ({"region": (slice(0, 10), slice(None))}, InputError, "10 x 112 pixels"),
        ({"region": (slice(0, 40, 2), slice(None))}, InputError, "steps"),
        ({"region": np.zeros((96, 112), bool)}, InputError, "0 x 0 pixels"),
        ({"region": np.ones((9, 9), bool)}, InputError, "mask of shape"),
        ({"out": np.zeros((3, 3))}, OutputError, "out has shape"),
        ({"out": "sharp.tif"}, OutputError, "out is no array"),
        ({"out": np.broadcast_to(np.uint8(0), (96, 112))}, OutputError, "out is read-only"),
    ],
)
def test_bad_parameters_are_named_on_one_line(model, blurry, options, error, message):
    with pytest.raises(error, match=message) as caught:
        napari_deblur.deblur(blurry[0], **{"model": model, "device": "cpu", **options})
    assert "\n" not in str(caught.value)


def test_the_input_is_no_place_for_the_output(model, blurry):
    with pytest.raises(OutputError, match="shares memory"):
        napari_deblur.deblur(*blurry, model=model, device="cpu", out=blurry[0])


def test_a_folder_without_the_two_files_is_no_model(tmp_path, blurry):
    with pytest.raises(ModelError, match=r"analysis\.safetensors"):
        napari_deblur.deblur(blurry[0], model=tmp_path, device="cpu")


def _pair_with_kernels_of(size, folder):
    config = SynthesisConfig(kernel_size=size, image_channels=1, channels=(8, 8), guide_channels=8)
    return save_pair(folder, PRESETS["tiny"].analysis, config)


def test_a_synthesis_network_for_smaller_kernels_than_the_analysis_finds_makes_no_pair(
    tmp_path, blurry
):
    folder = _pair_with_kernels_of(13, tmp_path / "odd")
    with pytest.raises(WeightsError, match="kernels as large"):
        napari_deblur.deblur(blurry[0], model=folder, device="cpu")


def test_a_synthesis_network_for_larger_kernels_sees_them_at_their_own_size(tmp_path, blurry):
    folder = _pair_with_kernels_of(21, tmp_path / "wide")
    path = folder / "synthesis.safetensors"
    network = open_network(path)
    with torch.no_grad():
        network.unet.last.bias.fill_(0.5)  # above the clipping at zero
        for name, parameter in network.named_parameters():
            if "guide.layers" in name:
                parameter.normal_(std=0.3)
    save_weights(path, network, "synthesis", network.config, {})
    network = open_network(path)
    assert napari_deblur.estimate_kernel(blurry[0], model=folder, device="cpu").shape == (15, 15)
    kernel = np.zeros((19, 19), np.float32)
    kernel[9, :] = kernel[:9, 3] = 1 / 28
    image = np.float32(blurry[0]) / 255
    result = napari_deblur.deblur(image, kernel, model=folder, device="cpu", saturation=np.inf)
    with torch.no_grad():
        batch = torch.from_numpy(image)[None, None]
        expected = network(batch, torch.from_numpy(kernel)[None])[0, 0].numpy()
        shrunk = network(batch, torch.from_numpy(kernel[2:-2, 2:-2] * 28 / 21)[None])[0, 0].numpy()
    error = np.std(result - expected)
    assert error < 0.1 * np.std(expected)  # bfloat16
    assert error < 0.2 * np.std(result - shrunk)
