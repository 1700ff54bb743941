"""``napari-deblur deblur``: image files in, sharp image files out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_deblur.cli.codes import FAILED
from napari_deblur.cli.imports import quick_imports
from napari_deblur.cli.messages import note, repeat, say
from napari_deblur.cli.options import (
    Axes,
    ChannelAxis,
    Device,
    Field,
    FieldGrid,
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
    Scheduler,
    Tile,
)
from napari_deblur.cli.outputs import (
    Job,
    check_format,
    check_new,
    folder_of,
    kernel_path,
    plan_jobs,
)
from napari_deblur.cli.progress import Report, progress_bar
from napari_deblur.defaults import DEFAULT_ROUNDS
from napari_deblur.errors import DeblurError, InputError

if TYPE_CHECKING:
    import numpy as np
    from distributed import Client
    from numpy.typing import NDArray

    from napari_deblur.cli.kernel_files import KernelFile
    from napari_deblur.cli.work import Settings
    from napari_deblur.engine.stacks import Stack

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
    field: Field = "uniform",
    grid: FieldGrid = None,
    axes: Axes = None,
    channel_axis: ChannelAxis = None,
    scheduler: Scheduler = None,
    overwrite: Overwrite = False,
) -> None:
    """Deblur images.

    Results have the shape and type of their inputs, and TIFF files keep resolution, units
    and axes.  The slices of a stack (T, Z, C) are deblurred one by one.  Files of a batch that
    cannot be deblurred are skipped and named at the end, and the exit code is then 1.
    """
    _check_field(field, grid, kernel=kernel, one_kernel=one_kernel)
    if kernel is not None and one_kernel:
        raise InputError(
            f"--kernel '{kernel}' and --one-kernel exclude each other; give one of them"
        )
    keep = images if kernel is None else [*images, kernel]
    jobs = plan_jobs(images, output, keep=keep, overwrite=overwrite, save_kernel=save_kernel)
    with quick_imports():
        from napari_deblur.cli.kernel_files import KernelFile
        from napari_deblur.cli.work import Settings, read_region

    part = read_region(region, mask)
    settings = Settings(
        model,
        device,
        tile,
        kernel_size,
        refine,
        noise,
        part,
        gamma=gamma,
        saturation=saturation,
        field=field,
        grid=grid,
    )
    # On a cluster the workers have the device, and perhaps this machine has not.
    pair = (settings if scheduler is None else replace(settings, device="cpu")).open()
    given = None if kernel is None else KernelFile.read(kernel, largest=pair.largest_kernel)
    task = _Task(settings, axes, channel_axis, given, save_kernel, one_kernel, overwrite)
    with progress_bar() as report:
        if scheduler is not None:
            _run_on_cluster(scheduler, task, jobs, report)
        elif len(jobs) == 1:
            task.run(jobs[0], report)
        else:
            _run_batch(task, jobs, report)


def _check_field(
    field: str, grid: tuple[int, int] | None, *, kernel: Path | None, one_kernel: bool
) -> None:
    """Check before any file is looked at what goes with kernels that vary over the image."""
    if field not in ("uniform", "grid"):
        raise InputError(f"--field {field!r} is unknown; give uniform or grid")
    if field == "uniform":
        if grid is not None:
            raise InputError("--grid goes with '--field grid' only; give that too")
        return
    if kernel is not None:
        raise InputError(f"--field grid and --kernel '{kernel}' exclude each other; give one")
    if one_kernel:
        raise InputError("--field grid and --one-kernel exclude each other; give one of them")


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
        from napari_deblur.cli.work import deblur_stack, estimate_pooled

        with self._opened(job) as (stack, given, out):
            known = given
            if given is None and self.one_kernel and len(stack.slices) > 1:
                shared = estimate_pooled(stack, self.settings, report, job.source.name)
                known = [shared] * len(stack.slices)
            used = deblur_stack(stack, known, self.settings, report, job.source.name, out)
        self._finish(job, stack, used)

    def run_blocks(self, client: Client, job: Job, report: Report) -> None:
        """Deblur one file on a cluster; nothing is written unless all of it went well."""
        from napari_deblur.cli.cluster import deblur_blocks

        if self.settings.field != "uniform":
            raise InputError(
                "--field grid and --scheduler exclude each other for a single image, which a "
                "cluster cuts into blocks with one kernel; leave one of them out"
            )
        with self._opened(job) as (stack, known, out):
            used = deblur_blocks(
                client,
                stack,
                known,
                self.settings,
                out,
                report=report,
                label=job.source.name,
                one_kernel=self.one_kernel,
            )
        self._finish(job, stack, used)

    @contextmanager
    def _opened(self, job: Job) -> Iterator[tuple[Stack, list[NDArray[Any]] | None, Any]]:
        """The images of a file, their kernels if they are known, and what takes the results."""
        from napari_deblur.cli.kernel_files import paths_of_fields
        from napari_deblur.cli.work import open_stack
        from napari_deblur.files.images import create_image

        image, stack = open_stack(job.source, self.axes, self.channels)
        check_format(job.target, image)
        if self.save_kernel and self.settings.field != "uniform":
            # How many there will be is known only now.
            for path in paths_of_fields(kernel_path(job.target), stack):
                check_new(path, [job.source], overwrite=self.overwrite)
        known = None if self.kernel is None else self.kernel.for_slices(stack)
        with (
            folder_of(job.target),
            create_image(job.target, image.array.shape, image.array.dtype, like=image) as out,
        ):
            yield stack, known, out

    def _finish(self, job: Job, stack: Stack, used: Sequence[NDArray[np.float32]]) -> None:
        from napari_deblur.cli.kernel_files import write_kernels

        say(f"{job.source} -> {job.target}")
        if self.save_kernel:
            kernels = used[:1] if self.one_kernel else used
            for path in write_kernels(kernel_path(job.target), kernels, stack):
                say(f"kernel -> {path}")


def _run_on_cluster(address: str, task: _Task, jobs: list[Job], report: Report) -> None:
    from napari_deblur.cli.cluster import connect, run_jobs

    # The workers have working folders of their own.
    jobs = [Job(each.source.absolute(), each.target.absolute()) for each in jobs]
    with connect(address) as client:
        if len(jobs) == 1:
            task.run_blocks(client, jobs[0], report)
            return
        failed = []
        run = partial(task.run, report=_report_nothing)
        for job, messages, error in run_jobs(client, run, jobs, report):
            for message in messages:
                repeat(message)
            if error is not None and not isinstance(error, DeblurError):
                raise error
            if error is not None:
                note(f"skipped '{job.source}': {error}")
                failed.append(str(job.source))
    _sum_up(failed, len(jobs))


def _report_nothing(_description: str, _done: int, _total: int) -> None:
    pass


def _run_batch(task: _Task, jobs: list[Job], report: Report) -> None:
    failed = []
    for job in jobs:
        try:
            task.run(job, report)
        except DeblurError as error:
            note(f"skipped '{job.source}': {error}")
            failed.append(str(job.source))
    _sum_up(failed, len(jobs))


def _sum_up(failed: list[str], count: int) -> None:
    say(f"{count - len(failed)} of {count} images deblurred")
    if failed:
        note(f"{len(failed)} skipped: {', '.join(failed)}")
        raise typer.Exit(FAILED)
