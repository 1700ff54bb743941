"""Images of any size, and stacks of them, as dask arrays that are deblurred block by block.

Two stages.  What all blocks of an image must agree on (its range of values, its noise, its kernel)
is found first, when the array is asked for: the range from every value, the rest from windows that
are spread over the image, for the kernel at most `_KERNEL_WINDOWS` of `_KERNEL_SIDE` pixels.  The
array itself is then made of independent tasks, one for each block, which reads the block with its
halo.  So any scheduler of dask can run it, and a task that is lost with its machine is simply run
again.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_deblur.blur.clipping import clipping_level
from napari_deblur.blur.kernel import check_kernel
from napari_deblur.defaults import DEFAULT_ROUNDS
from napari_deblur.engine.auto import choose
from napari_deblur.engine.devices import pick_device
from napari_deblur.engine.estimation import Estimate
from napari_deblur.engine.layout import (
    Layout,
    Picture,
    as_source,
    extremes,
    layout_within,
    working_range,
)
from napari_deblur.engine.options import Options
from napari_deblur.engine.pair import Pair, load_pair
from napari_deblur.engine.planes import Plane
from napari_deblur.engine.region import Region, find_region
from napari_deblur.engine.restoration import noise_levels, restore
from napari_deblur.engine.run import drain
from napari_deblur.engine.search import NothingToEstimateWarning, find_kernel
from napari_deblur.engine.stacks import Slice, Stack, check_axes, find_slices
from napari_deblur.engine.synthesis import block_halo, is_cut_off, noise_windows
from napari_deblur.engine.tiles import Tile, plan_grid
from napari_deblur.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    import dask.array as da
    from dask.delayed import Delayed
    from numpy.typing import ArrayLike, NDArray

    from napari_deblur.engine.layout import ArraySource, Window

__all__ = ["DEFAULT_BLOCK", "LazyResult", "deblur_lazy", "deblur_stack_lazy"]

DEFAULT_BLOCK = 2048
"""Side of a block in pixels."""

_KERNEL_SIDE = 2048  # pixels; of what a kernel is estimated from
_KERNEL_WINDOWS = 16
_BAND = 1 << 24  # values that one task surveys
_SMALLEST_BLOCK = 64
_LEAST_ROWS = 64  # in a band
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


@dataclass(frozen=True)
class _Found:
    """The kernel of a slice, and the model to deblur it with."""

    estimate: Estimate
    model: str | Path


@dataclass(frozen=True)
class _Known:
    """What all blocks of a slice are told; `options` name their model, and no region."""

    layout: Layout
    kernel: NDArray[np.float32]
    informative: bool
    noise: NDArray[np.float32]
    options: Options


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
        result's chunks.  Each reads a halo beyond it, of up to 512 pixels.

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
    sources = [_source(stack, each) for each in stack.slices]
    layouts = _layouts(stack, sources, options)
    if kernels is None:
        found = _estimate(sources, layouts, options, together=one_kernel)
    else:
        found = [_given(each, options) for each in kernels]
    known = _measure(sources, layouts, found, options)
    if options.saturation is None:
        known = _decide_saturation(sources, known)
    pieces = [
        _assemble(stack, of, source, each, block)
        for of, source, each in zip(stack.slices, sources, known, strict=True)
    ]
    return LazyResult(_join(stack, pieces), tuple(each.kernel for each in known))


def _given(kernel: ArrayLike, options: Options) -> _Found:
    checked = check_kernel(kernel)
    model = choose(options, (), _HERE, checked).model
    check_kernel(checked, largest=load_pair(model, _HERE).largest_kernel)
    return _Found(Estimate(checked, informative=True), model)


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


# ---------------------------------------------------------------------------- dask


def _node(value: object) -> Delayed:
    """A value that tasks share, once in the graph."""
    from dask.delayed import delayed

    node: Delayed = delayed(value, traverse=False, pure=False)
    return node


def _task(function: Callable[..., object], *arguments: object) -> Delayed:
    from dask.delayed import delayed

    task: Delayed = delayed(function)(*arguments)
    return task


def _compute(tasks: Sequence[object]) -> tuple[Any, ...]:
    from dask.base import compute

    found: tuple[Any, ...] = compute(*tasks)
    return found


# ---------------------------------------------------------------------------- reading


@dataclass(frozen=True, eq=False)
class _Source:
    """A slice, and how a task gets a window of it."""

    plane: Any
    sent: Delayed | None

    def cut(self, index: tuple[slice, ...]) -> Any:
        """Window of the slice, as an argument of a task that calls `_read` on it."""
        if self.sent is not None:
            return [self.sent, index]
        plane = self.plane
        return [plane.part(index) if isinstance(plane, Plane) else plane[index], None]


def _source(stack: Stack, of: Slice) -> _Source:
    import dask.array as da

    plane = stack.plane(of)
    if isinstance(stack.array, da.Array):
        return _Source(plane, None)
    # One node of the graph for all tasks; it holds the file's name, or the values themselves.
    return _Source(plane, _node(plane))


def _read(window: Sequence[Any]) -> NDArray[Any]:
    source, index = window
    return np.asarray(source if index is None else source[index])


# ---------------------------------------------------------------------------- what blocks share


def _layouts(stack: Stack, sources: Sequence[_Source], options: Options) -> list[Layout]:
    """Layout of every slice; each value is looked at, and slices of one kind share a range."""
    axis = options.channel_axis
    empty = layout_within(sources[0].plane, (0.0, 1.0), channel_axis=axis)
    height, width = empty.size
    rows = max(_LEAST_ROWS, _BAND // (width * max(1, empty.channels)))
    edges = np.linspace(0, height, max(1, height // rows) + 1).astype(int).tolist()
    bands = [(slice(*pair), slice(0, width)) for pair in pairwise(edges)]
    tasks = [
        [_task(_extremes, source.cut(empty.index(w)), axis, w[0].start) for w in bands]
        for source in sources
    ]
    bounds = [_span(each) for each in _compute(tasks)]
    ranges: dict[int, tuple[float, float]] = {}
    kinds = [stack.kind(each) for each in stack.slices]
    for kind in dict.fromkeys(kinds):
        least, most = _span(b for b, of in zip(bounds, kinds, strict=True) if of == kind)
        ranges[kind] = working_range(empty.dtype, least, most)
    return [
        layout_within(
            source.plane,
            each,
            channel_axis=axis,
            value_range=options.value_range or (ranges[kind] if len(sources) > 1 else None),
            gamma=options.gamma,
            saturation=level,
        )
        for source, each, kind, level in zip(
            sources, bounds, kinds, _saturation(sources, empty, options), strict=True
        )
    ]


def _saturation(sources: Sequence[_Source], layout: Layout, options: Options) -> list[float]:
    """The value from which each slice is clipped, by the values of some windows."""
    if options.saturation is not None:
        return [options.saturation] * len(sources)
    windows = noise_windows(layout.size)
    tasks = [
        _task(_clipping, [source.cut(layout.index(each)) for each in windows], layout)
        for source in sources
    ]
    return list(_compute(tasks))


def _clipping(windows: Sequence[Any], layout: Layout) -> float:
    blocks = [np.moveaxis(_read(each), layout.channel_axis or 0, 0) for each in windows]
    if layout.channel_axis is not None:
        blocks = [each[: layout.channels] for each in blocks]
    return clipping_level(np.concatenate([each.ravel() for each in blocks]))


def _decide_saturation(sources: Sequence[_Source], known: Sequence[_Known]) -> list[_Known]:
    """Decide for every slice as a whole whether its clipped pixels are treated."""
    tasks = [
        [
            _task(_cut_off, source.cut(each.layout.index(window)), each)
            for window in noise_windows(each.layout.size)
            if each.informative and math.isfinite(each.layout.saturation)
        ]
        for source, each in zip(sources, known, strict=True)
    ]
    return [
        replace(each, options=replace(each.options, saturation=each.layout.saturation))
        if any(found)
        else replace(each, layout=replace(each.layout, saturation=math.inf))
        for each, found in zip(known, _compute(tasks), strict=True)
    ]


def _cut_off(window: Sequence[Any], known: _Known) -> bool:
    picture = _picture(_read(window), known.layout)
    return is_cut_off(_pair(known.options), picture, known.kernel)


def _extremes(window: Sequence[Any], axis: int | None, first_row: int) -> tuple[float, float]:
    return extremes(_read(window), channel_axis=axis, first_row=first_row)


def _span(bounds: Any) -> tuple[float, float]:
    least, most = zip(*bounds, strict=True)
    return min(least), max(most)


def _estimate(
    sources: Sequence[_Source], layouts: Sequence[Layout], options: Options, *, together: bool
) -> list[_Found]:
    """The kernel of every slice, or the one that all share."""
    frames = []
    for source, layout in zip(sources, layouts, strict=True):
        region = find_region(options.region, layout.size)
        windows = _spread(list(region.windows(_KERNEL_SIDE)))
        frames.append([(source.cut(layout.index(w)), layout, _within(region, w)) for w in windows])
    groups = [_spread([each for frame in frames for each in frame])] if together else frames
    bare = replace(options, region=None)
    found = _compute([_task(_find, each, bare) for each in groups])
    if not all(each.estimate.informative for each in found):
        warnings.warn(
            "there is no texture, so the blur cannot be estimated: the image is left as it is",
            NothingToEstimateWarning,
            stacklevel=4,
        )
    return list(found) * len(sources) if together else list(found)


def _spread(items: list[Any]) -> list[Any]:
    if len(items) <= _KERNEL_WINDOWS:
        return items
    chosen = np.linspace(0, len(items) - 1, _KERNEL_WINDOWS).round().astype(int)
    return [items[index] for index in chosen]


def _within(region: Region, window: Window) -> Region:
    """The part of a region that lies in a window, as a region of that window alone."""
    rows, columns = (slice(0, part.stop - part.start) for part in window)
    return Region(rows, columns, None if region.mask is None else region.mask[window])


def _find(frames: Sequence[tuple[Any, Layout, Region]], options: Options) -> _Found:
    pictures = [(_picture(_read(window), layout), region) for window, layout, region in frames]
    device = pick_device(options.device)
    choice = choose(options, pictures, device)
    pair = load_pair(choice.model, device)
    with warnings.catch_warnings(action="ignore", category=NothingToEstimateWarning):
        found = drain(find_kernel(pair, pictures, options, choice.kernel_sizes))
    return _Found(found, choice.model)


def _measure(
    sources: Sequence[_Source],
    layouts: Sequence[Layout],
    found: Sequence[_Found],
    options: Options,
) -> list[_Known]:
    """Add the noise of every channel of every slice: the median over windows."""
    told = [replace(options, region=None, model=each.model) for each in found]
    tasks = [
        [
            _task(_noise_in, source.cut(layout.index(each)), layout, own)
            for each in noise_windows(layout.size)
        ]
        for source, layout, own in zip(sources, layouts, told, strict=True)
    ]
    levels = [np.median(each, axis=0).astype(np.float32) for each in _compute(tasks)]
    return [
        _Known(layout, each.estimate.kernel, each.estimate.informative, noise, own)
        for layout, each, noise, own in zip(layouts, found, levels, told, strict=True)
    ]


def _noise_in(window: Sequence[Any], layout: Layout, options: Options) -> NDArray[np.float32]:
    return noise_levels(_pair(options), _picture(_read(window), layout), options.noise)


# ---------------------------------------------------------------------------- blocks


def _assemble(stack: Stack, of: Slice, source: _Source, known: _Known, block: int) -> NDArray[Any]:
    """Blocks of a slice as dask arrays with the stack's axes, in an array (rows, columns)."""
    import dask.array as da

    layout, pair = known.layout, load_pair(known.options.model, _HERE)
    halo = block_halo(pair, known.kernel) if known.informative else 0
    tiles = plan_grid(layout.size, block, halo, align=pair.synthesis.unet.stride)
    told = _node(known)
    counted = tuple(np.newaxis if isinstance(part, int) else slice(None) for part in of.index)
    turned = source.plane.turned if isinstance(source.plane, Plane) else stack.turned
    grid = np.empty((len(tiles), len(tiles[0])), dtype=object)
    for position in np.ndindex(grid.shape):
        tile = tiles[position[0]][position[1]]
        window = source.cut(layout.index(tile.source))
        task = _task(_deblur, window, told, tile)
        shape = [part.stop - part.start for part in tile.owned]
        if layout.channel_axis is not None:
            shape.insert(layout.channel_axis, layout.shape[layout.channel_axis])
        piece = da.from_delayed(task, tuple(shape), layout.dtype)
        grid[position] = (piece if turned is None else da.swapaxes(piece, *turned))[counted]
    return grid


def _deblur(window: Sequence[Any], known: _Known, tile: Tile) -> NDArray[Any]:
    piece = _read(window)
    inner = known.layout.index(tile.inner)
    if not known.informative:
        return piece[inner]
    picture, options = _picture(piece, known.layout), known.options
    steps = restore(_pair(options), picture, known.kernel, known.noise, options)
    image: NDArray[Any] = drain(steps).image[inner]
    return image


def _join(stack: Stack, grids: Sequence[NDArray[Any]]) -> da.Array:
    """The whole stack of the blocks of its slices."""
    import dask.array as da

    axes = stack.axes or "YXS"[: len(stack.array.shape)]
    rows, columns = stack.rows_and_columns
    counts = [1] * len(axes)
    for number, part in enumerate(stack.slices[0].index):
        if isinstance(part, int):
            counts[number] = int(stack.array.shape[number])
    counts[rows], counts[columns] = grids[0].shape
    nested = np.empty(counts, dtype=object)
    for of, grid in zip(stack.slices, grids, strict=True):
        for row, column in np.ndindex(grid.shape):
            place = [part if isinstance(part, int) else 0 for part in of.index]
            place[rows], place[columns] = row, column
            nested[tuple(place)] = grid[row, column]
    image: da.Array = da.block(nested.tolist())
    return image


def _picture(piece: NDArray[Any], layout: Layout) -> Picture:
    """A window of an image as an image of its own, on the scale of the whole."""
    return Picture(piece, replace(layout, shape=piece.shape))


def _pair(options: Options) -> Pair:
    return load_pair(options.model, pick_device(options.device))
