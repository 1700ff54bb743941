"""``napari-deblur shake``: simulate camera shake on a sharp image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_deblur.cli.messages import say
from napari_deblur.cli.options import InputImage, Overwrite, SaveKernel, number, whole_number
from napari_deblur.cli.outputs import check_format, kernel_path, make_folder, plan_jobs

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
    save_kernel: SaveKernel = False,
    overwrite: Overwrite = False,
) -> None:
    """Blur an image as a shaking camera would.

    The slices of a stack get one kernel and noise of their own.
    """
    job = plan_jobs([image], output, keep=[image], overwrite=overwrite, save_kernel=save_kernel)[0]
    import numpy as np

    from napari_deblur.cli.work import Stack
    from napari_deblur.engine import simulate
    from napari_deblur.files.images import read_image, write_image
    from napari_deblur.files.kernels import write_kernel

    source = read_image(image)
    check_format(job.target, source)
    stack = Stack.of(source)
    out = np.empty_like(stack.array)
    kernel = None
    for position, each in enumerate(stack.slices):
        out[each.index], kernel = simulate.shake(
            stack.array[each.index],
            size=size,
            seed=None if seed is None else seed + position,
            noise=noise,
            kernel=kernel,
            channel_axis=stack.channel_axis,
        )
    make_folder(job.target)
    write_image(job.target, out, like=source)
    say(f"{image} -> {job.target}")
    if save_kernel and kernel is not None:
        write_kernel(kernel_path(job.target), kernel)
        say(f"kernel -> {kernel_path(job.target)}")
