"""``napari-deblur deblur``: image files in, sharp image files out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_deblur.cli.codes import FAILED
from napari_deblur.cli.messages import note, say
from napari_deblur.cli.options import (
    Axes,
    ChannelAxis,
    Device,
    Gamma,
    KernelSize,
    Mask,
    Model,
    Noise,
    Overwrite,
    Refine,
    Region,
    Saturation,
    SaveKernel,
    Tile,
)
from napari_deblur.cli.outputs import (
    Job,
    check_format,
    folder_of,
    kernel_path,
    plan_jobs,
)
from napari_deblur.cli.progress import Report, progress_bar
from napari_deblur.defaults import DEFAULT_ROUNDS
from napari_deblur.errors import DeblurError, InputError

if TYPE_CHECKING:
    from napari_deblur.cli.kernel_files import KernelFile
    from napari_deblur.cli.work import Settings

__all__ = ["deblur"]


def deblur(  # noqa: PLR0913  one parameter for each option
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IN...", help="Image files: TIFF, OME-TIFF, PNG, JPEG, Zarr."),
    ],
    *,
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="OUT",
            help="File to write, or a folder, where results keep the names of their inputs; "
            "several inputs need a folder.  A name without suffix is a folder.",
        ),
    ],
    kernel: Annotated[
        Path | None,
        typer.Option(
            help="Kernel that is known (TIFF): one for all slices of a stack, or one for each.  "
            "Estimated by default."
        ),
    ] = None,
    save_kernel: SaveKernel = False,
    one_kernel: Annotated[
        bool,
        typer.Option(
            "--one-kernel",
            help="Estimate one kernel for all slices of a stack instead of one for each.",
        ),
    ] = False,
    model: Model = "default",
    device: Device = "auto",
    tile: Tile = None,
    kernel_size: KernelSize = None,
    refine: Refine = DEFAULT_ROUNDS,
    gamma: Gamma = 1.0,
    saturation: Saturation = None,
    region: Region = None,
    mask: Mask = None,
    noise: Noise = None,
    axes: Axes = None,
    channel_axis: ChannelAxis = None,
    overwrite: Overwrite = False,
) -> None:
    """Deblur images.

    Results have the shape and type of their inputs, and TIFF files keep resolution, units
    and axes.  The slices of a stack (T, Z, C) are deblurred one by one.  Files of a batch that
    cannot be deblurred are skipped and named at the end, and the exit code is then 1.
    """
    if kernel is not None and one_kernel:
        raise InputError(
            f"--kernel '{kernel}' and --one-kernel exclude each other; give one of them"
        )
    keep = images if kernel is None else [*images, kernel]
    jobs = plan_jobs(images, output, keep=keep, overwrite=overwrite, save_kernel=save_kernel)
    from napari_deblur.cli.kernel_files import KernelFile
    from napari_deblur.cli.work import Settings, read_region

    part = read_region(region, mask)
    settings = Settings(
        model, device, tile, kernel_size, refine, noise, part, gamma=gamma, saturation=saturation
    )
    pair = settings.open()
    given = None if kernel is None else KernelFile.read(kernel, largest=pair.largest_kernel)
    task = _Task(settings, axes, channel_axis, given, save_kernel, one_kernel, overwrite)
    with progress_bar() as report:
        if len(jobs) == 1:
            task.run(jobs[0], report)
        else:
            _run_batch(task, jobs, report)


@dataclass(frozen=True)
class _Task:
    """What is done with every file."""

    settings: Settings
    axes: str | None
    channels: str | None
    kernel: KernelFile | None
    save_kernel: bool
    one_kernel: bool
    overwrite: bool

    def run(self, job: Job, report: Report) -> None:
        """Deblur one file; nothing is written unless all of it went well."""
        from napari_deblur.cli.kernel_files import write_kernels
        from napari_deblur.cli.work import deblur_stack, estimate_pooled, open_stack
        from napari_deblur.files.images import create_image

        image, stack = open_stack(job.source, self.axes, self.channels)
        check_format(job.target, image)
        known = None if self.kernel is None else self.kernel.for_slices(stack)
        if self.one_kernel and len(stack.slices) > 1:
            shared = estimate_pooled(stack, self.settings, report, job.source.name)
            known = [shared] * len(stack.slices)
        with (
            folder_of(job.target),
            create_image(job.target, image.array.shape, image.array.dtype, like=image) as out,
        ):
            used = deblur_stack(stack, known, self.settings, report, job.source.name, out)
        say(f"{job.source} -> {job.target}")
        if self.save_kernel:
            path = kernel_path(job.target)
            write_kernels(path, used[:1] if self.one_kernel else used, stack)
            say(f"kernel -> {path}")


def _run_batch(task: _Task, jobs: list[Job], report: Report) -> None:
    failed = []
    for job in jobs:
        try:
            task.run(job, report)
        except DeblurError as error:
            note(f"skipped '{job.source}': {error}")
            failed.append(str(job.source))
    say(f"{len(jobs) - len(failed)} of {len(jobs)} images deblurred")
    if failed:
        note(f"{len(failed)} skipped: {', '.join(failed)}")
        raise typer.Exit(FAILED)
