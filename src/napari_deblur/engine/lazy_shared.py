"""What all blocks of an image must agree on: range of values, kernel, noise, clipping.

Found before the first block, by tasks of dask: the range from every value, the rest from windows
that are spread over the image, for the kernel at most `_KERNEL_WINDOWS` of `_KERNEL_SIDE` pixels.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_deblur.blur.clipping import clipping_level
from napari_deblur.engine.auto import choose, model_for
from napari_deblur.engine.clipped import is_cut_off
from napari_deblur.engine.devices import pick_device
from napari_deblur.engine.estimation import Estimate
from napari_deblur.engine.layout import Layout, layout_within
from napari_deblur.engine.lazy_tasks import Source, compute, pair_of, picture_of, read, task
from napari_deblur.engine.noise import noise_levels, noise_windows
from napari_deblur.engine.pair import load_pair
from napari_deblur.engine.region import Region, find_region
from napari_deblur.engine.run import drain
from napari_deblur.engine.search import NothingToEstimateWarning, find_kernel
from napari_deblur.engine.survey import extremes, working_range
from napari_deblur.engine.tiles import spread

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_deblur.engine.options import Options
    from napari_deblur.engine.stacks import Stack
    from napari_deblur.engine.tiles import Window

__all__ = ["Found", "Known", "decide_saturation", "estimate_kernels", "find_layouts", "measure"]

_KERNEL_SIDE = 2048  # pixels; of what a kernel is estimated from
_KERNEL_WINDOWS = 16
_BAND = 1 << 24  # values that one task surveys
_LEAST_ROWS = 64  # in a band


@dataclass(frozen=True)
class Found:
    """The kernel of a slice, and the model to deblur it with."""

    estimate: Estimate
    model: str | Path


@dataclass(frozen=True)
class Known:
    """What all blocks of a slice are told; `options` name their model, and no region."""

    layout: Layout
    kernel: NDArray[np.float32]
    informative: bool
    noise: NDArray[np.float32]
    options: Options


def find_layouts(stack: Stack, sources: Sequence[Source], options: Options) -> list[Layout]:
    """Layout of every slice; each value is looked at, and slices of one kind share a range."""
    axis = options.channel_axis
    empty = layout_within(sources[0].plane, (0.0, 1.0), channel_axis=axis)
    height, width = empty.size
    rows = max(_LEAST_ROWS, _BAND // (width * max(1, empty.channels)))
    edges = np.linspace(0, height, max(1, height // rows) + 1).astype(int).tolist()
    bands = [(slice(*pair), slice(0, width)) for pair in pairwise(edges)]
    tasks = [
        [task(_extremes, source.cut(empty.index(w)), axis, w[0].start) for w in bands]
        for source in sources
    ]
    bounds = [_span(each) for each in compute(tasks)]
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


def _saturation(sources: Sequence[Source], layout: Layout, options: Options) -> list[float]:
    """The value from which each slice is clipped, by the values of some windows."""
    if options.saturation is not None:
        return [options.saturation] * len(sources)
    windows = noise_windows(layout.size)
    tasks = [
        task(_clipping, [source.cut(layout.index(each)) for each in windows], layout)
        for source in sources
    ]
    return list(compute(tasks))


def _clipping(windows: Sequence[Any], layout: Layout) -> float:
    blocks = [np.moveaxis(read(each), layout.channel_axis or 0, 0) for each in windows]
    if layout.channel_axis is not None:
        blocks = [each[: layout.channels] for each in blocks]
    return clipping_level(np.concatenate([each.ravel() for each in blocks]))


def _extremes(window: Sequence[Any], axis: int | None, first_row: int) -> tuple[float, float]:
    return extremes(read(window), channel_axis=axis, first_row=first_row)


def _span(bounds: Any) -> tuple[float, float]:
    least, most = zip(*bounds, strict=True)
    return min(least), max(most)


def estimate_kernels(
    sources: Sequence[Source], layouts: Sequence[Layout], options: Options, *, together: bool
) -> list[Found]:
    """The kernel of every slice, or the one that all share."""
    frames = []
    for source, layout in zip(sources, layouts, strict=True):
        region = find_region(options.region, layout.size)
        windows = spread(list(region.windows(_KERNEL_SIDE)), _KERNEL_WINDOWS)
        frames.append([(source.cut(layout.index(w)), layout, _within(region, w)) for w in windows])
    pooled = [each for frame in frames for each in frame]
    groups = [spread(pooled, _KERNEL_WINDOWS)] if together else frames
    bare = replace(options, region=None)
    found = compute([task(_find, each, bare) for each in groups])
    if not all(each.estimate.informative for each in found):
        warnings.warn(
            "there is no texture, or noise alone, so the blur cannot be estimated: the image is "
            "left as it is",
            NothingToEstimateWarning,
            stacklevel=4,
        )
    return list(found) * len(sources) if together else list(found)


def _within(region: Region, window: Window) -> Region:
    """The part of a region that lies in a window, as a region of that window alone."""
    rows, columns = (slice(0, part.stop - part.start) for part in window)
    return Region(rows, columns, None if region.mask is None else region.mask[window])


def _find(frames: Sequence[tuple[Any, Layout, Region]], options: Options) -> Found:
    pictures = [(picture_of(read(window), layout), region) for window, layout, region in frames]
    device = pick_device(options.device)
    choice = choose(options, pictures, device)
    pair = load_pair(choice.model, device)
    with warnings.catch_warnings(action="ignore", category=NothingToEstimateWarning):
        found = drain(find_kernel(pair, pictures, options, choice.plan))
    return Found(found, model_for(options.model, found.kernel))


def measure(
    sources: Sequence[Source],
    layouts: Sequence[Layout],
    found: Sequence[Found],
    options: Options,
) -> list[Known]:
    """Add the noise of every channel of every slice: the median over windows."""
    told = [replace(options, region=None, model=each.model) for each in found]
    tasks = [
        [
            task(_noise_in, source.cut(layout.index(window)), layout, each.estimate.kernel, own)
            for window in noise_windows(layout.size)
        ]
        for source, layout, each, own in zip(sources, layouts, found, told, strict=True)
    ]
    levels = [np.median(each, axis=0).astype(np.float32) for each in compute(tasks)]
    return [
        Known(layout, each.estimate.kernel, each.estimate.informative, noise, own)
        for layout, each, noise, own in zip(layouts, found, levels, told, strict=True)
    ]


def _noise_in(
    window: Sequence[Any], layout: Layout, kernel: NDArray[np.float32], options: Options
) -> NDArray[np.float32]:
    picture = picture_of(read(window), layout)
    return noise_levels(pair_of(options), picture, kernel, options.noise)


def decide_saturation(sources: Sequence[Source], known: Sequence[Known]) -> list[Known]:
    """Decide for every slice as a whole whether its clipped pixels are treated."""
    tasks = [
        [
            task(_cut_off, source.cut(each.layout.index(window)), each)
            for window in noise_windows(each.layout.size)
            if each.informative and math.isfinite(each.layout.saturation)
        ]
        for source, each in zip(sources, known, strict=True)
    ]
    return [
        replace(each, options=replace(each.options, saturation=each.layout.saturation))
        if any(found)
        else replace(each, layout=replace(each.layout, saturation=math.inf))
        for each, found in zip(known, compute(tasks), strict=True)
    ]


def _cut_off(window: Sequence[Any], known: Known) -> bool:
    picture = picture_of(read(window), known.layout)
    return is_cut_off(pair_of(known.options), picture, known.kernel)
