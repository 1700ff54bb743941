"""Images of any size, and stacks of them, as dask arrays that are deblurred block by block.

Two stages.  What all blocks of an image must agree on is found first, when the array is asked for
(`napari_deblur.engine.lazy_shared`).  The array itself is then made of independent tasks, one for
each block, which reads the block with its halo (`napari_deblur.engine.lazy_blocks`).  So any
scheduler of dask can run it, and a task that is lost with its machine is simply run again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_deblur.blur.kernel import check_kernel
from napari_deblur.defaults import DEFAULT_ROUNDS
from napari_deblur.engine.arrays import as_source
from napari_deblur.engine.auto import choose
from napari_deblur.engine.estimation import Estimate
from napari_deblur.engine.layout import layout_within
from napari_deblur.engine.lazy_blocks import assemble, join
from napari_deblur.engine.lazy_shared import (
    Found,
    decide_saturation,
    estimate_kernels,
    find_layouts,
    measure,
)
from napari_deblur.engine.lazy_tasks import open_source
from napari_deblur.engine.options import Options
from napari_deblur.engine.pair import load_pair
from napari_deblur.engine.stacks import Stack, check_axes, find_slices
from napari_deblur.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    import dask.array as da
    from numpy.typing import ArrayLike, NDArray

    from napari_deblur.engine.arrays import ArraySource

__all__ = ["DEFAULT_BLOCK", "LazyResult", "deblur_lazy", "deblur_stack_lazy"]

DEFAULT_BLOCK = 2048
"""Side of a block in pixels."""

_SMALLEST_BLOCK = 64
_HERE = torch.device("cpu")  # of the networks that only their sizes are asked of


@dataclass(frozen=True)
class LazyResult:
    """Images that are deblurred where they are looked at.

    Attributes
    ----------
    image : dask.array.Array
        Of the input's shape and dtype.
    kernels : tuple of ndarray of shape (m, m), float32
        One for each slice.
    """

    image: da.Array
    kernels: tuple[NDArray[np.float32], ...]


def deblur_lazy(  # noqa: PLR0913  one parameter for each that a run has
    image: ArraySource | ArrayLike,
    kernel: ArrayLike | None = None,
    *,
    axes: str | None = None,
    one_kernel: bool = False,
    model: str | Path = "default",
    channel_axis: int | None = None,
    device: str = "auto",
    tile: int | None = None,
    region: tuple[slice, slice] | NDArray[np.bool_] | None = None,
    kernel_size: int | None = None,
    refine: int = DEFAULT_ROUNDS,
    gamma: float = 1.0,
    saturation: float | None = None,
    noise: float | None = None,
    value_range: tuple[float, float] | None = None,
    block: int = DEFAULT_BLOCK,
) -> da.Array:
    """Deblur an image, or a stack, of any size with dask.

    The kernel, the noise and the range of values are found at once, with the scheduler of dask
    that is in force; the image is deblurred when the result is computed or stored.

    Parameters
    ----------
    image : array
        See `napari_deblur.deblur`; with `axes`, of any number of axes.  dask and Zarr arrays and
        `napari_deblur.files.images.open_image(path).array` are read block by block, by the tasks
        themselves.
    kernel : array of shape (n, n), or one more axis for each that counts images, optional
        A known kernel, or one for each slice; estimated by default.
    axes : str, optional
        One letter for each axis of a stack: ``Y``, ``X``, ``S`` for RGB and RGBA samples; every
        other (``T``, ``Z``, ``C``) counts images, but that of `channel_axis`.  By default the
        array is one image.
    one_kernel : bool
        Estimate one kernel for all slices instead of one for each.
    model, channel_axis, device, tile, region, kernel_size, refine, gamma, saturation, noise, \
value_range
        See `napari_deblur.deblur`.  The device is that of each worker.  By default the slices of
        a stack share one range of values, apart for each of its channels.
    block : int
        Side in pixels, from 64 up, of the blocks that are computed at a time, and of the
        result's chunks.  Each reads a halo beyond it, of up to 768 pixels.

    Returns
    -------
    dask.array.Array
        Of the input's shape and dtype.

    Raises
    ------
    DeblurError
        See `napari_deblur.deblur`; also from the tasks when the result is computed.

    Warns
    -----
    NothingToEstimateWarning
        When a kernel is to be estimated and there is no texture to estimate it from.

    Examples
    --------
    >>> from skimage.data import clock
    >>> import napari_deblur
    >>> sharp = napari_deblur.deblur_lazy(clock()).compute()
    """
    if find_spec("dask") is None:
        raise InputError(
            "deblur_lazy needs dask, which is not installed: pip install 'napari-deblur[dask]', or "
            "use napari_deblur.deblur with out="
        )
    source = as_source(image)
    stack = _stack(source, axes, channel_axis)
    options = Options(
        model=model,
        channel_axis=stack.channel_axis,
        device=device,
        tile=tile,
        region=region,
        kernel_size=kernel_size,
        refine=refine,
        gamma=gamma,
        saturation=saturation,
        noise=noise,
        value_range=value_range,
    )
    known = None if kernel is None else _kernels(np.asarray(kernel), stack)
    return deblur_stack_lazy(stack, known, options, one_kernel=one_kernel, block=block).image


def deblur_stack_lazy(
    stack: Stack,
    kernels: Sequence[ArrayLike] | None,
    options: Options,
    *,
    one_kernel: bool = False,
    block: int = DEFAULT_BLOCK,
) -> LazyResult:
    """Deblur a stack with dask; see `deblur_lazy`.

    Parameters
    ----------
    stack : Stack
        The images.
    kernels : sequence of arrays, optional
        A kernel for each slice.
    options : Options
        What a run is told of each slice.
    one_kernel, block
        See `deblur_lazy`.
    """
    if block < _SMALLEST_BLOCK:
        raise InputError(f"block {block} is too small: give {_SMALLEST_BLOCK} pixels or more")
    if options.field != "uniform":
        raise InputError(
            f"field {options.field!r} does not go with dask, whose blocks have one kernel: take "
            "napari_deblur.deblur, or leave --scheduler out"
        )
    sources = [open_source(stack, each) for each in stack.slices]
    layouts = find_layouts(stack, sources, options)
    if kernels is None:
        found = estimate_kernels(sources, layouts, options, together=one_kernel)
    else:
        found = [_given(each, options) for each in kernels]
    known = measure(sources, layouts, found, options)
    if options.saturation is None:
        known = decide_saturation(sources, known)
    pieces = [
        assemble(stack, of, source, each, block)
        for of, source, each in zip(stack.slices, sources, known, strict=True)
    ]
    return LazyResult(join(stack, pieces), tuple(each.kernel for each in known))


def _given(kernel: ArrayLike, options: Options) -> Found:
    checked = check_kernel(kernel)
    model = choose(options, (), _HERE, checked).model
    check_kernel(checked, largest=load_pair(model, _HERE).largest_kernel)
    return Found(Estimate(checked, informative=True), model)


def _stack(source: ArraySource, axes: str | None, channel_axis: int | None) -> Stack:
    shape = tuple(int(side) for side in source.shape)
    if axes is None:
        layout = layout_within(source, (0.0, 1.0), channel_axis=channel_axis)
        axes = "YXS"[: len(shape)]
        if channel_axis is not None and layout.channel_axis is not None:
            channel_axis = layout.channel_axis
            axes = "YX"[:channel_axis] + "C" + "YX"[channel_axis:]
    axes = axes.upper()
    check_axes(axes, shape)
    if channel_axis is not None and not -len(axes) <= channel_axis < len(axes):
        raise InputError(f"channel_axis {channel_axis} is not an axis of {axes!r}")
    channels = None if channel_axis is None else axes[channel_axis]
    check_axes(axes, shape, channels)
    within = channels or "S"
    return Stack(source, axes, find_slices(shape, axes, within), within)


def _kernels(kernel: NDArray[Any], stack: Stack) -> list[NDArray[Any]]:
    if kernel.ndim == 2:
        return [kernel] * len(stack.slices)
    if kernel.shape[:-2] != stack.counted_shape:
        raise InputError(
            f"kernels of shape {kernel.shape} do not go with {stack.counted_shape} slices: give "
            "one kernel (n, n), or one for each slice"
        )
    return list(kernel.reshape(-1, *kernel.shape[-2:]))
