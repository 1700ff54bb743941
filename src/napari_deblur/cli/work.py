"""Estimating and deblurring all slices of a file, for the commands that do so."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_deblur.cli.messages import note
from napari_deblur.cli.progress import Report, follow
from napari_deblur.cli.stacks import Slice, find_slices
from napari_deblur.defaults import DEFAULT_ROUNDS
from napari_deblur.engine.layout import open_picture
from napari_deblur.engine.run import NothingToEstimateWarning, deblur_steps, kernel_steps

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_deblur.engine.pair import Pair
    from napari_deblur.files.images import ImageFile

__all__ = ["Settings", "Stack", "deblur_stack", "estimate_pooled"]


@dataclass(frozen=True)
class Settings:
    """What the engine is told by the options."""

    model: str
    device: str
    tile: int | None = None
    kernel_size: int | None = None
    refine: int = DEFAULT_ROUNDS

    def open(self) -> Pair:
        """Open the model on the device, so that wrong options are found before any file is.

        Raises
        ------
        InputError, ModelError, DeviceError, WeightsError
            If one cannot be used.
        """
        from napari_deblur.engine.devices import pick_device
        from napari_deblur.engine.pair import load_pair

        return load_pair(self.model, pick_device(self.device))


@dataclass(frozen=True)
class Stack:
    """The array of a file and the images in it."""

    array: NDArray[Any]
    axes: str | None
    slices: Sequence[Slice]

    @classmethod
    def of(cls, image: ImageFile) -> Stack:
        """Find the images of a file by its axes."""
        return cls(image.array, image.axes, find_slices(image.array.shape, image.axes))

    @property
    def channel_axis(self) -> int | None:
        """Axis of the samples (S) in each slice; None where they are last, as RGB(A) has them."""
        if self.axes is None:
            return None
        image_axes = "".join(axis for axis in self.axes if axis in "YXS")
        position = image_axes.find("S")
        return position if 0 <= position < 2 else None

    def value_range(self, of: Slice) -> tuple[float, float] | None:
        """Black and white for a slice: those of its channel in the whole stack.

        One scale for all slices keeps their relative brightness, which a time series is
        about; different channels have nothing to do with each other.
        """
        if self.axes is None or len(self.slices) == 1:
            return None
        channel = self.axes.find("C")
        index: list[Any] = [slice(None)] * self.array.ndim
        if channel >= 0:
            index[channel] = slice(of.index[channel], of.index[channel] + 1)  # type: ignore[operator]
        block = self.array[tuple(index)]
        samples = self.axes.find("S")
        # All images below each other are one tall image with the range of all.
        if samples >= 0:
            block = np.moveaxis(block, samples, -1)
            return _range(block.reshape(-1, *block.shape[-2:]))
        return _range(block.reshape(-1, block.shape[-1]))


def estimate_pooled(
    stack: Stack, settings: Settings, report: Report, label: str
) -> NDArray[np.float32]:
    """Estimate the one kernel that all slices share."""
    images = [stack.array[each.index] for each in stack.slices]
    steps = kernel_steps(
        *images,
        model=settings.model,
        device=settings.device,
        tile=settings.tile,
        kernel_size=settings.kernel_size,
        refine=settings.refine,
        channel_axis=stack.channel_axis,
    )
    with _quiet():
        result = follow(steps, report, label)
    _mention_if_blank(label, informative=result.informative)
    return result.kernel


def deblur_stack(
    stack: Stack,
    kernel: NDArray[np.float32] | None,
    settings: Settings,
    report: Report,
    label: str,
) -> tuple[NDArray[Any], list[NDArray[np.float32]]]:
    """Deblur every slice with `kernel`, or each with its own where that is None.

    Returns
    -------
    sharp : numpy.ndarray
        Shape and dtype of the stack.
    kernels : list of numpy.ndarray
        The kernel of every slice.
    """
    out = np.empty_like(stack.array)
    kernels = []
    for each in stack.slices:
        name = f"{label} {each.label}".rstrip()
        steps = deblur_steps(
            stack.array[each.index],
            kernel,
            model=settings.model,
            device=settings.device,
            tile=settings.tile,
            kernel_size=settings.kernel_size,
            refine=settings.refine,
            channel_axis=stack.channel_axis,
            value_range=stack.value_range(each),
        )
        with _quiet():
            result = follow(steps, report, name)
        _mention_if_blank(name, informative=result.informative)
        out[each.index] = result.image
        kernels.append(result.kernel)
    return out, kernels


def _range(array: NDArray[Any]) -> tuple[float, float]:
    layout = open_picture(array).layout
    return layout.low, layout.high


def _quiet() -> warnings.catch_warnings:
    return warnings.catch_warnings(action="ignore", category=NothingToEstimateWarning)


def _mention_if_blank(label: str, *, informative: bool) -> None:
    if not informative:
        note(f"{label} has no texture, so no blur can be seen in it; it is left as it is")
