"""``napari-deblur deblur``: image files in, sharp image files out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_deblur.cli.codes import FAILED
from napari_deblur.cli.messages import note, say
from napari_deblur.cli.options import (
    Device,
    KernelSize,
    Model,
    Overwrite,
    Refine,
    SaveKernel,
    Tile,
)
from napari_deblur.cli.outputs import (
    Job,
    check_format,
    check_new,
    kernel_path,
    make_folder,
    plan_jobs,
)
from napari_deblur.cli.progress import Report, progress_bar
from napari_deblur.defaults import DEFAULT_ROUNDS
from napari_deblur.errors import DeblurError, InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_deblur.cli.work import Settings

__all__ = ["deblur"]


def deblur(
    images: Annotated[
        list[Path], typer.Argument(metavar="IN...", help="Image files: TIFF, OME-TIFF, PNG, JPEG.")
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
        Path | None, typer.Option(help="Kernel that is known (TIFF, 2-D); estimated by default.")
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
    from napari_deblur.blur.kernel import check_kernel
    from napari_deblur.cli.work import Settings
    from napari_deblur.files.kernels import read_kernel

    settings = Settings(model, device, tile, kernel_size, refine)
    pair = settings.open()
    given = None
    if kernel is not None:
        given = check_kernel(read_kernel(kernel), largest=pair.largest_kernel)
    task = _Task(settings, given, save_kernel, one_kernel, overwrite)
    with progress_bar() as report:
        if len(jobs) == 1:
            task.run(jobs[0], report)
        else:
            _run_batch(task, jobs, report)


@dataclass(frozen=True)
class _Task:
    """What is done with every file."""

    settings: Settings
    kernel: NDArray[np.float32] | None
    save_kernel: bool
    one_kernel: bool
    overwrite: bool

    def run(self, job: Job, report: Report) -> None:
        """Deblur one file; nothing is written unless all of it went well."""
        from napari_deblur.cli.work import Stack, deblur_stack, estimate_pooled
        from napari_deblur.files.images import read_image, write_image

        image = read_image(job.source)
        check_format(job.target, image)
        stack = Stack.of(image)
        kernel = self.kernel
        if self.one_kernel and len(stack.slices) > 1:
            kernel = estimate_pooled(stack, self.settings, report, job.source.name)
        parts = [""] if kernel is not None else [each.label for each in stack.slices]
        files = [kernel_path(job.target, part) for part in parts if self.save_kernel]
        for path in files:
            check_new(path, [job.source], overwrite=self.overwrite)
        sharp, used = deblur_stack(stack, kernel, self.settings, report, job.source.name)
        make_folder(job.target)
        write_image(job.target, sharp, like=image)
        # With one kernel for all slices the first is that of the others, too.
        _write_kernels(files, used)
        say(f"{job.source} -> {job.target}")


def _write_kernels(files: list[Path], kernels: list[NDArray[np.float32]]) -> None:
    from napari_deblur.files.kernels import write_kernel

    for path, kernel in zip(files, kernels, strict=False):
        write_kernel(path, kernel)
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
