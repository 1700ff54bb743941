"""``napari-deblur shake``: simulate camera shake on a sharp image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_deblur.cli.messages import say
from napari_deblur.cli.options import (
    Axes,
    ChannelAxis,
    InputImage,
    Overwrite,
    SaveKernel,
    number,
    whole_number,
)
from napari_deblur.cli.outputs import check_format, folder_of, kernel_path, plan_jobs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["shake"]


def shake(
    image: InputImage,
    *,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="OUT", help="File or folder to write to.")
    ],
    size: Annotated[
        int,
        typer.Option(
            parser=whole_number, metavar="PIXELS", help="Extent of the shake in pixels, 1 to 171."
        ),
    ] = 31,
    seed: Annotated[
        int | None,
        typer.Option(
            parser=whole_number,
            metavar="N",
            help="Same seed, same kernel and noise; random by default.",
        ),
    ] = None,
    noise: Annotated[
        float,
        typer.Option(
            parser=number,
            metavar="SIGMA",
            help="Standard deviation of the noise; 0.01 is 1 % of the range.",
        ),
    ] = 0.01,
    gain: Annotated[
        float,
        typer.Option(
            parser=number,
            metavar="FACTOR",
            help="Brighten by this factor before clipping, so that bright parts saturate.",
        ),
    ] = 1.0,
    one_kernel: Annotated[
        bool,
        typer.Option(
            "--one-kernel",
            help="Shake all slices of a stack alike instead of each with a kernel of its own.",
        ),
    ] = False,
    save_kernel: SaveKernel = False,
    axes: Axes = None,
    channel_axis: ChannelAxis = None,
    overwrite: Overwrite = False,
) -> None:
    """Blur an image as a shaking camera would.

    Each slice of a stack gets a kernel and noise of its own.
    """
    job = plan_jobs([image], output, keep=[image], overwrite=overwrite, save_kernel=save_kernel)[0]
    from napari_deblur.cli.kernel_files import write_kernels
    from napari_deblur.cli.work import open_stack
    from napari_deblur.engine import simulate
    from napari_deblur.files.images import create_image

    source, stack = open_stack(image, axes, channel_axis)
    check_format(job.target, source)
    kernels: list[NDArray[np.float32]] = []
    with (
        folder_of(job.target),
        create_image(job.target, stack.array.shape, stack.array.dtype, like=source) as out,
    ):
        for position, each in enumerate(stack.slices):
            blurry, kernel = simulate.shake(
                stack.plane(each),
                size=size,
                seed=None if seed is None else seed + position,
                noise=noise,
                gain=gain,
                kernel=kernels[0] if one_kernel and kernels else None,
                channel_axis=stack.channel_axis,
            )
            stack.plane(each, out)[...] = blurry
            kernels.append(kernel)
    say(f"{image} -> {job.target}")
    if save_kernel:
        write_kernels(kernel_path(job.target), kernels[:1] if one_kernel else kernels, stack)
        say(f"kernel -> {kernel_path(job.target)}")
