"""Any array and any kernel: a correct result, or one line that says what is wrong."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path

import dask.array
import numpy as np
import pytest
import xarray
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import napari_deblur
from napari_deblur.blur.kernel import delta_kernel
from napari_deblur.engine.run import NothingToEstimateWarning
from napari_deblur.errors import DeblurError, InputError, KernelError

from .conftest import SOAK_SHARE

NUMBERS = [f"{order}{code}" for order in "<>" for code in
           ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8")]  # fmt: skip
OTHERS = ["?", "c8", "c16", "g", "O", "S3", "U3", "M8[s]", "m8[s]", "i4,f4"]
CASES = 60  # of `make test`; `make soak` runs twenty times as many
MANY = max(1, round(20 * CASES * SOAK_SHARE))
MOST = 25_000  # values of an image that is computed: a test of shapes, not of patience

PARAMETERS = sorted(set(inspect.signature(napari_deblur.deblur).parameters) - {"image"})

Sides = tuple[int, ...]


def shapes() -> st.SearchStrategy[Sides]:
    """One to six axes of 1 to 300, no more than `MOST` values; half of them could be images."""
    side, small = st.integers(1, 300), st.sampled_from([1, 2, 3, 4, 5])
    picture = st.tuples(st.integers(16, 300), st.integers(16, 300))
    colour = st.tuples(st.integers(16, 120), st.integers(16, 120), st.sampled_from([1, 3, 4]))
    anything = st.lists(st.one_of(side, small), min_size=1, max_size=6).map(tuple)
    fits = anything.filter(lambda shape: np.prod(shape, dtype=float) <= MOST)
    return st.one_of(picture, colour, fits).filter(lambda shape: np.prod(shape) <= MOST)


def values(kind: str, shape: Sides, dtype: np.dtype, seed: int) -> np.ndarray:
    """An array of numbers of one of the kinds that break programs."""
    rng = np.random.default_rng(seed)
    real = dtype.kind == "f"
    low, high = (-1e3, 1e3) if real else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if kind == "full scale":
        info = np.finfo(dtype) if real else np.iinfo(dtype)
        # The difference of the extremes of float64 is no float64: half of them is.
        ends = (info.min / 2, info.max / 2) if real else (info.min, info.max)
        return rng.choice(np.array(ends, dtype), shape)
    if kind == "tiny":
        return (rng.random(shape) * float(np.finfo(dtype).tiny if real else 3)).astype(dtype)
    if kind in ("nan", "inf", "hot pixel"):
        array = (rng.random(shape) * 100).astype(dtype)
        spoilt = {"nan": np.nan, "inf": -np.inf}.get(kind) if real else None
        largest = np.finfo(dtype).max / 2 if real else np.iinfo(dtype).max
        array.flat[rng.integers(array.size)] = largest if spoilt is None else spoilt
        return array
    if kind in ("zero", "constant"):
        return np.full(shape, 0 if kind == "zero" else 77, dtype)
    lowest = low if kind == "negative" else 0
    return (lowest + rng.random(shape) * (float(high) / 2 - lowest) * 0.99).astype(dtype)


KINDS = ["noise", "negative", "zero", "constant", "nan", "inf", "hot pixel", "full scale", "tiny"]
FORMS = ["plain", "fortran", "backwards", "every other", "read-only", "memory map", "dask", "zarr",
         "xarray"]  # fmt: skip


def in_form(array: np.ndarray, form: str, folder: Path) -> object:
    """The same values, held in another way."""
    if form == "fortran":
        return np.asfortranarray(array)
    if form == "backwards":
        return np.ascontiguousarray(array[::-1])[::-1]
    if form == "every other":
        wide = np.repeat(array, 2, axis=-1)
        return wide[..., ::2]
    if form == "read-only":
        array.flags.writeable = False
    if form == "memory map":
        np.save(folder / "array.npy", array)
        return np.load(folder / "array.npy", mmap_mode="r")
    if form == "dask":
        return dask.array.from_array(array, chunks=37)
    if form == "zarr":
        return zarr.array(array, chunks=tuple(min(side, 50) for side in array.shape))
    if form == "xarray":
        return xarray.DataArray(array)
    return array


def is_image(shape: Sides) -> bool:
    """What the documentation allows, without `channel_axis`."""
    fits = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))
    return fits and min(shape[:2]) >= 16


def assert_one_line(error: BaseException) -> None:
    assert str(error)
    assert "\n" not in str(error)


def attempt(documented: type[DeblurError], *args: object, **options: object) -> tuple:
    """Why the arguments are refused, or None, and the result."""
    try:
        return None, napari_deblur.deblur(*args, **options)
    except documented as error:
        assert_one_line(error)
        return error, None


def check_array(shape: Sides, dtype: str, kind: str, form: str, seed: int, **run: object) -> None:
    """Deblur an array; it is as documented, or refused."""
    array = values(kind, shape, np.dtype(dtype), seed)
    before = array.copy()
    image = in_form(array, form, run.pop("folder"))
    good = is_image(shape) and np.isfinite(array.astype(float)).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NothingToEstimateWarning)
        refusal, sharp = attempt(InputError, image, device="cpu", **run)
    assert good == (refusal is None), refusal
    if good:
        assert isinstance(sharp, np.ndarray)
        assert sharp.shape == shape
        assert sharp.dtype == array.dtype
        assert np.isfinite(sharp.astype(float)).all()
        if before.min() >= 0:
            assert sharp.min() >= 0
        if len(shape) == 3 and shape[2] == 4:
            np.testing.assert_array_equal(sharp[..., 3], before[..., 3])
        if (before == before.flat[0]).all():
            np.testing.assert_array_equal(sharp, before)
    np.testing.assert_array_equal(np.asarray(image), before)


arrays = {
    "shape": shapes(),
    "dtype": st.sampled_from(NUMBERS),
    "kind": st.sampled_from(KINDS),
    "form": st.sampled_from(FORMS),
    "seed": st.integers(0, 999),
}


@settings(max_examples=CASES)
@given(**arrays)
def test_any_array_is_deblurred_or_refused(model, tmp_path_factory, **case):
    """With the network's kernel as it is, which is quick."""
    folder = tmp_path_factory.mktemp("array")
    check_array(**case, folder=folder, model=model, refine=0)


@pytest.mark.soak
def test_many_arrays_are_deblurred_or_refused(model, tmp_path, record_property):
    """With refinement and without."""

    @settings(max_examples=MANY)
    @given(refine=st.integers(0, 1), **arrays)
    def run(**case):
        check_array(**case, folder=tmp_path, model=model)

    run()
    record_property("arrays tried", MANY)


@pytest.mark.parametrize(
    ("shape", "dtype", "kind", "form"),
    [
        ((32, 32), "<f8", "full scale", "backwards"),
        ((16, 300), ">u2", "noise", "dask"),
        ((40, 16, 3), "<u1", "hot pixel", "read-only"),
        ((30, 30), "<f4", "negative", "zarr"),
        ((18, 18, 4), "<f2", "tiny", "memory map"),
    ],
)
def test_arrays_are_deblurred_with_refinement(model, tmp_path, shape, dtype, kind, form):
    check_array(shape, dtype, kind, form, 0, folder=tmp_path, model=model, refine=1)


@pytest.mark.parametrize("shape", [(1, 20_000), (20_000, 1), (1, 1), (15, 300), (16, 15, 3)])
def test_images_thinner_than_sixteen_pixels_are_refused_with_their_size(model, shape):
    with pytest.raises(InputError, match=f"{shape[0]} x {shape[1]} pixels") as caught:
        napari_deblur.deblur(np.ones(shape, np.uint8), model=model, device="cpu")
    assert_one_line(caught.value)


def test_a_strip_of_16_by_20000_pixels_is_deblurred(model):
    squares = np.random.default_rng(0).integers(0, 256, (4, 5_000), np.uint8)
    strip = squares.repeat(4, axis=0).repeat(4, axis=1)
    sharp = napari_deblur.deblur(strip, delta_kernel(3), model=model, device="cpu", tile=512)
    assert sharp.shape == strip.shape
    kernel = napari_deblur.estimate_kernel(strip, model=model, device="cpu", refine=0)
    assert kernel.sum() == pytest.approx(1, abs=1e-5)


def test_an_image_far_smaller_than_the_kernel_that_is_looked_for_is_deblurred(model):
    """At the coarsest scale its short side would be less than a pixel."""
    squares = np.random.default_rng(20).integers(0, 256, (4, 10), np.uint8)
    strip = squares.repeat(4, axis=0).repeat(4, axis=1)
    sharp = napari_deblur.deblur(strip, model=model, device="cpu", kernel_size=171, refine=1)
    assert sharp.shape == strip.shape


@pytest.mark.parametrize("dtype", OTHERS)
@pytest.mark.parametrize("call", [napari_deblur.deblur, napari_deblur.estimate_kernel])
def test_what_holds_no_real_numbers_is_refused_with_its_type(model, dtype, call):
    with pytest.raises(InputError, match="dtype|not an image") as caught:
        call(np.zeros((20, 20), dtype), model=model, device="cpu")
    assert_one_line(caught.value)


@pytest.mark.parametrize("value", [0, 1, 255])
@pytest.mark.parametrize("shape", [(40, 50), (40, 50, 3), (16, 16, 4)])
def test_a_constant_image_has_no_blur_to_see_and_comes_back_with_a_warning(model, value, shape):
    image = np.full(shape, value, np.uint8)
    with pytest.warns(NothingToEstimateWarning, match="no texture"):
        kernel = napari_deblur.estimate_kernel(image, model=model, device="cpu")
    np.testing.assert_array_equal(kernel, delta_kernel(len(kernel)))
    with pytest.warns(NothingToEstimateWarning):
        sharp = napari_deblur.deblur(image, model=model, device="cpu")
    np.testing.assert_array_equal(sharp, image)


@settings(max_examples=CASES)
@given(
    kernel=hnp.arrays(
        st.sampled_from(["u1", "i2", "f2", "f4", ">f4", "f8", "?", "c8", "O"]),
        st.one_of(
            st.sampled_from([(1, 1), (3, 3), (5, 5), (17, 17), (171, 171), (173, 173)]),
            hnp.array_shapes(min_dims=1, max_dims=3, max_side=9),
        ),
        fill=st.just(1),
        elements={"allow_nan": True, "allow_infinity": True},
    )
)
def test_any_kernel_is_used_or_refused(model, kernel):
    image = np.random.default_rng(0).integers(0, 256, (24, 28), np.uint8)
    before = kernel.copy()
    fits = kernel.ndim == 2 and kernel.shape[0] == kernel.shape[1] and kernel.shape[0] % 2
    good = bool(fits) and len(kernel) <= 171 and kernel.dtype.kind in "uif"
    if good:
        numbers = kernel.astype(float)
        good = bool(np.isfinite(numbers).all() and numbers.min() >= 0 and numbers.max() > 0)
    refusal, sharp = attempt(KernelError, image, kernel, model=model, device="cpu")
    assert good == (refusal is None), refusal
    if good:
        assert sharp.shape == image.shape
        assert sharp.dtype == image.dtype
    np.testing.assert_array_equal(kernel, before)


@settings(max_examples=CASES)
@given(
    name=st.sampled_from(PARAMETERS),
    value=st.one_of(
        st.text(max_size=4),
        st.floats(),
        st.integers(-(2**70), 2**70),
        st.booleans(),
        st.tuples(st.floats(), st.floats()),
        st.lists(st.integers(), max_size=3),
        st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
        st.binary(max_size=4),
        st.tuples(st.slices(30), st.slices(30)),
    ),
)
def test_any_value_of_any_parameter_is_used_or_refused(model, name, value):
    image = np.random.default_rng(0).integers(0, 256, (24, 28), np.uint8)
    options = {"kernel": delta_kernel(3), "model": model, "device": "cpu", name: value}
    refusal, sharp = attempt(DeblurError, image, **options)
    if refusal is None:
        assert sharp.shape == image.shape
