"""``napari-deblur evaluate``: published benchmarks, scored by their own protocol."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_deblur.cli.messages import say
from napari_deblur.cli.options import (
    Device,
    Gamma,
    KernelSize,
    Model,
    Overwrite,
    Refine,
    Tile,
    number,
)
from napari_deblur.cli.outputs import check_new, make_folder
from napari_deblur.cli.progress import progress_bar
from napari_deblur.defaults import DEFAULT_ROUNDS
from napari_deblur.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_deblur.evaluation.benchmark import Row
    from napari_deblur.evaluation.methods import Method

__all__ = ["evaluate"]


class _Benchmark(StrEnum):
    LEVIN = "levin"
    LAI = "lai"
    KOHLER = "kohler"
    FOLDER = "folder"
    SIMULATE = "simulate"


class _Method(StrEnum):
    NETWORK = "network"
    CORRECTED = "corrected"
    FRONT_END = "front-end"
    HYPER_LAPLACIAN = "hyper-laplacian"
    WIENER = "wiener"
    BLURRY = "blurry"


def evaluate(  # noqa: PLR0913  one parameter for each option
    benchmark: Annotated[_Benchmark, typer.Argument(help="Which benchmark.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that holds its images.")],
    *,
    known_kernel: Annotated[
        bool, typer.Option("--known-kernel", help="Give the true kernels to the method.")
    ] = False,
    method: Annotated[
        _Method,
        typer.Option(
            help="What restores the images.  All but 'blurry', the input itself, take the kernel "
            "that the model estimates, or the true one.  'front-end' is the deconvolution that the "
            "model's network stands on."
        ),
    ] = _Method.NETWORK,
    weight: Annotated[
        float | None,
        typer.Option(
            parser=number,
            metavar="W",
            help="Weight of the data for hyper-laplacian and wiener; larger is sharper.",
        ),
    ] = None,
    error_ratio: Annotated[
        bool,
        typer.Option(
            help="In a blind run, restore with the true kernels, too, for the error ratio."
        ),
    ] = True,
    json: Annotated[
        Path | None, typer.Option(metavar="F", help="Also write every image's figures as JSON.")
    ] = None,
    keep_kernels: Annotated[
        Path | None,
        typer.Option(
            metavar="F.npz",
            help="In a blind run, also write the true kernels and those found, for the training "
            "of a synthesis network (stage.synthesis.pairs).",
        ),
    ] = None,
    model: Model = "default",
    device: Device = "auto",
    tile: Tile = None,
    kernel_size: KernelSize = None,
    refine: Refine = DEFAULT_ROUNDS,
    gamma: Gamma = 1.0,
    saturation: Annotated[
        float | None,
        typer.Option(
            parser=number,
            metavar="LEVEL",
            help="Value from which pixels count as clipped, white being 1; inf if none is.  Found "
            "by default.",
        ),
    ] = None,
    kernels: Annotated[
        tuple[int, int],
        typer.Option(metavar="SMALLEST LARGEST", help="simulate: sides of the kernels in pixels."),
    ] = (9, 31),
    noise: Annotated[
        float,
        typer.Option(
            parser=number, metavar="SIGMA", help="simulate: noise added; images have 0 to 1."
        ),
    ] = 0.005,
    seed: Annotated[int, typer.Option(help="simulate: of kernels and noise.")] = 11,
    overwrite: Overwrite = False,
) -> None:
    """Restore the images of a benchmark and print their figures beside the published ones.

    levin, lai: crop of 15 px, best shift in quarter pixels, PSNR, SSIM with and without
    Wang's downsampling; lai on luma.  kohler: the authors' protocol, if you have their
    ground truth.  folder: your own pairs, in folders 'blurry' and 'sharp' (and 'kernel') with
    equal names, or NAME_blurry and NAME_sharp side by side.  simulate: sharp images of your
    own, each blurred with a random kernel; the same seed gives the same blur.
    """
    if json is not None:
        check_new(json, [], overwrite=overwrite)
    if keep_kernels is not None:
        _check_pairs(keep_kernels, known_kernel=known_kernel, overwrite=overwrite)
    from napari_deblur.evaluation.methods import find_method
    from napari_deblur.evaluation.report import format_report, to_json

    chosen = find_method(
        method.value,
        model=model,
        device=device,
        tile=tile,
        kernel_size=kernel_size,
        refine=refine,
        weight=weight,
        more={"gamma": gamma, "saturation": saturation},
    )
    settings = {
        "known_kernel": known_kernel,
        "model": model,
        "device": device,
        "tile": tile,
        "kernel_size": kernel_size,
        "refine": refine,
        "weight": weight,
        "gamma": gamma,
        # JSON knows no infinity.
        "saturation": "off" if saturation == math.inf else saturation,
    }
    simulation: dict[str, Any] = {}
    if benchmark is _Benchmark.SIMULATE:
        simulation = {"sizes": kernels, "noise": noise, "seed": seed}
    total, results = _start(
        benchmark,
        folder,
        chosen,
        known_kernel=known_kernel,
        error_ratio=error_ratio,
        simulation=simulation,
    )
    rows = []
    with progress_bar() as report:
        report(f"{benchmark.value}: {method.value}", 0, total)
        for row in results:
            rows.append(row)
            report(f"{benchmark.value}: {method.value}", len(rows), total)
    label = f"{method.value}{', known kernel' if known_kernel else ''}"
    if json is not None:
        _write(json, to_json(benchmark.value, label, rows, {**settings, **simulation}))
    say(format_report(benchmark.value, label, rows))
    if keep_kernels is not None:
        _write_pairs(keep_kernels, rows)


def _start(
    benchmark: _Benchmark,
    folder: Path,
    method: Method,
    *,
    known_kernel: bool,
    error_ratio: bool,
    simulation: dict[str, Any],
) -> tuple[int, Iterator[Row]]:
    """Count the cases and begin with the first."""
    from napari_deblur.evaluation import folder as own
    from napari_deblur.evaluation import kohler, lai, levin, simulated
    from napari_deblur.evaluation.benchmark import evaluate as run

    if benchmark is _Benchmark.KOHLER:
        cases = kohler.find_cases(folder)
        return len(cases), kohler.evaluate(cases, method, known_kernel=known_kernel)
    module: Any = {
        _Benchmark.LEVIN: levin,
        _Benchmark.LAI: lai,
        _Benchmark.FOLDER: own,
        _Benchmark.SIMULATE: simulated,
    }[benchmark]
    pairs = module.find_cases(folder, **simulation)
    rows = run(pairs, method, module.PROTOCOL, known_kernel=known_kernel, error_ratio=error_ratio)
    return len(pairs), rows


def _check_pairs(path: Path, *, known_kernel: bool, overwrite: bool) -> None:
    if known_kernel:
        raise InputError("With --known-kernel no kernels are found; leave out --keep-kernels")
    if path.suffix != ".npz":
        raise InputError(f"Kernels are kept in an .npz file, not in '{path}'; name it F.npz")
    check_new(path, [], overwrite=overwrite)


def _write_pairs(path: Path, rows: list[Row]) -> None:
    from napari_deblur.evaluation.kernel_pairs import write_pairs

    make_folder(path)
    kept, count = write_pairs(path, (row.kernels for row in rows))
    say(f"kept {kept} of {count} kernels in '{path}'")


def _write(path: Path, text: str) -> None:
    from napari_deblur.files.atomic import atomic_path

    make_folder(path)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
