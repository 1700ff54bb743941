"""Estimating and deblurring all slices of a file, for the commands that do so."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_deblur.cli.kernel_files import KernelFile
from napari_deblur.cli.messages import note
from napari_deblur.cli.progress import Report, follow
from napari_deblur.defaults import DEFAULT_ROUNDS, LARGEST_KERNEL
from napari_deblur.engine.api import correct_kernel
from napari_deblur.engine.arrays import check_dtype
from napari_deblur.engine.run import (
    NothingToEstimateWarning,
    deblur_steps,
    kernel_grid_steps,
    kernel_steps,
)
from napari_deblur.engine.stacks import Slice, Stack, check_axes
from napari_deblur.errors import InputError
from napari_deblur.files.images import open_image, read_image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_deblur.engine.pair import Pair
    from napari_deblur.files.images import ImageFile

__all__ = [
    "Settings",
    "correct_each",
    "deblur_stack",
    "estimate_each",
    "estimate_grid",
    "estimate_pooled",
    "open_stack",
]


@dataclass(frozen=True)
class Settings:
    """What the engine is told by the options."""

    model: str
    device: str
    tile: int | None = None
    kernel_size: int | None = None
    refine: int = DEFAULT_ROUNDS
    noise: float | None = None
    region: tuple[slice, slice] | NDArray[np.bool_] | None = None
    gamma: float = 1.0
    saturation: float | None = None
    field: str = "uniform"
    grid: tuple[int, int] | None = None

    def for_kernels(self) -> dict[str, Any]:
        """Arguments for estimating kernels."""
        return {
            "model": self.model,
            "device": self.device,
            "tile": self.tile,
            "kernel_size": self.kernel_size,
            "refine": self.refine,
            "region": self.region,
            "gamma": self.gamma,
            "saturation": self.saturation,
        }

    def for_images(self) -> dict[str, Any]:
        """Arguments for deblurring."""
        return self.for_kernels() | {
            "noise": self.noise,
            "field": self.field,
            "grid": self.grid,
        }

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


def open_stack(
    path: Path, axes: str | None, channels: str | None, only: str | None = None
) -> tuple[ImageFile, Stack]:
    """Open a file, and find its images by the axes that it names or the user does.

    Raises
    ------
    FileError
        If it cannot be read.
    InputError
        If the axes do not fit, or no image can have such values.
    """
    image = open_image(path)
    check_dtype(image.array)
    for each in image.notes:
        note(f"{path.name}: {each}")
    if axes is not None:
        check_axes(axes.upper(), image.array.shape)
        image = replace(image, axes=axes.upper())
    return image, Stack.of(image, None if channels is None else channels.upper(), only)


def read_region(
    window: tuple[slice, slice] | None, mask: Path | None
) -> tuple[slice, slice] | NDArray[np.bool_] | None:
    """Return the part of the image that counts: a window, or what a mask's file marks.

    Raises
    ------
    FileError
        If the mask cannot be read.
    InputError
        If both are given, or the mask is no grey picture.
    """
    if mask is None:
        return window
    if window is not None:
        raise InputError(f"--region and --mask '{mask}' exclude each other; give one of them")
    array = read_image(mask).array.squeeze()
    if array.ndim != 2:
        raise InputError(
            f"'{mask}' holds an array of shape {array.shape}; a mask is one grey picture"
        )
    return np.asarray(array != 0)


def estimate_pooled(
    stack: Stack, settings: Settings, report: Report, label: str
) -> NDArray[np.float32]:
    """Estimate the one kernel that all slices share."""
    return _estimate(stack, stack.slices, settings, report, label)


def estimate_each(
    stack: Stack, settings: Settings, report: Report, label: str
) -> list[NDArray[np.float32]]:
    """Estimate a kernel for each slice."""
    return [
        _estimate(stack, [each], settings, report, f"{label} {each.label}".rstrip())
        for each in stack.slices
    ]


def correct_each(stack: Stack, known: Path, settings: Settings) -> list[NDArray[np.float32]]:
    """Correct the kernel of every slice, from a file that holds one for all or one for each.

    Raises
    ------
    FileError, KernelError, InputError
        If the file cannot be read, or does not hold such kernels.
    """
    kernels = KernelFile.read(known, largest=LARGEST_KERNEL).for_slices(stack)
    if any(each.ndim != 2 for each in kernels):
        raise InputError(f"'{known}' holds a field of kernels; give a file with one for each slice")
    keys = ("device", "region", "gamma", "saturation")
    told = {key: value for key, value in settings.for_kernels().items() if key in keys}
    return [
        correct_kernel(stack.plane(each), kernel, channel_axis=stack.channel_axis, **told)
        for each, kernel in zip(stack.slices, kernels, strict=True)
    ]


def estimate_grid(
    stack: Stack, grid: tuple[int, int], settings: Settings, report: Report, label: str
) -> NDArray[np.float32]:
    """Estimate the kernels of a field that all slices share, (cells, m, m), row by row."""
    images = [stack.plane(each) for each in stack.slices]
    options = settings.for_kernels() | {"channel_axis": stack.channel_axis, "grid": grid}
    with _quiet():
        result = follow(kernel_grid_steps(*images, **options), report, label)
    _mention_if_blank(label, informative=result.informative)
    kernels = result.field.kernels
    return kernels.reshape(-1, *kernels.shape[-2:])


def _estimate(
    stack: Stack, slices: Sequence[Slice], settings: Settings, report: Report, label: str
) -> NDArray[np.float32]:
    images = [stack.plane(each) for each in slices]
    steps = kernel_steps(*images, channel_axis=stack.channel_axis, **settings.for_kernels())
    with _quiet():
        result = follow(steps, report, label)
    _mention_if_blank(label, informative=result.informative)
    return result.kernel


def deblur_stack(
    stack: Stack,
    known: Sequence[NDArray[Any]] | None,
    settings: Settings,
    report: Report,
    label: str,
    out: Any,
) -> list[NDArray[np.float32]]:
    """Deblur every slice with its known kernel, or with one that is estimated from it.

    Parameters
    ----------
    stack
        The images.
    known
        A kernel for every slice; estimated where that is None.
    settings, report, label
        What the engine is told, whom to tell of its progress, and the stack's name for that.
    out
        Array of the stack's shape and dtype, which takes the results window by window.

    Returns
    -------
    list of numpy.ndarray
        The kernel of every slice, or where its blur varies the kernels (rows, columns, m, m).
    """
    kernels = []
    ranges = stack.value_ranges()
    for number, each in enumerate(stack.slices):
        name = f"{label} {each.label}".rstrip()
        steps = deblur_steps(
            stack.plane(each),
            None if known is None else known[number],
            channel_axis=stack.channel_axis,
            value_range=ranges[number],
            out=stack.plane(each, out),
            **settings.for_images(),
        )
        with _quiet():
            result = follow(steps, report, name)
        _mention_if_blank(name, informative=result.informative)
        kernels.append(result.kernel if result.field is None else result.field.kernels)
    return kernels


def _quiet() -> warnings.catch_warnings:
    return warnings.catch_warnings(action="ignore", category=NothingToEstimateWarning)


def _mention_if_blank(label: str, *, informative: bool) -> None:
    if not informative:
        note(
            f"{label} has no texture, or noise alone, so no blur can be seen in it; it is left as "
            "it is"
        )
