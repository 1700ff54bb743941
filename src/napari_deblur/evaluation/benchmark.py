"""What a benchmark is: its cases, its protocol, and one scored row per case."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Protocol as Structure

import numpy as np

from napari_deblur.blur.kernel import check_kernel
from napari_deblur.errors import InputError
from napari_deblur.evaluation import metrics
from napari_deblur.evaluation.alignment import align
from napari_deblur.evaluation.pictures import read_picture
from napari_deblur.files.kernels import read_kernel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_deblur.evaluation.methods import Method

__all__ = ["Case", "Protocol", "Row", "Sample", "Source", "evaluate", "score"]


# Pixels by which the support of the benchmarks' kernels may grow when they are centred.
_ROOM = 4


@dataclass(frozen=True)
class Sample:
    """A blurry image and what is known of it.

    Attributes
    ----------
    blurry, sharp
        ``(C, H, W)`` float32 of one shape, nominal range [0, 1].
    kernel
        ``(m, m)`` float32, sum 1; None where it is not known.
    """

    blurry: NDArray[np.float32]
    sharp: NDArray[np.float32]
    kernel: NDArray[np.float32] | None


class Source(Structure):
    """One case of a benchmark: its name, its group, and its images once they are needed."""

    @property
    def name(self) -> str:
        """What the case is called."""
        ...

    @property
    def group(self) -> str:
        """Line of the table that it belongs to."""
        ...

    @property
    def has_kernel(self) -> bool:
        """Whether the true kernel is known."""
        ...

    def load(self) -> Sample:
        """Read or make the images."""
        ...


@dataclass(frozen=True)
class Case:
    """One blurry image, its truth, and its kernel where that is known, in files."""

    name: str
    group: str
    blurry: Path
    sharp: Path
    kernel: Path | None = None

    @property
    def has_kernel(self) -> bool:
        """Whether there is a file of the true kernel."""
        return self.kernel is not None

    def load(self) -> Sample:
        """Read the files."""
        kernel = None if self.kernel is None else check_kernel(read_kernel(self.kernel))
        return Sample(read_picture(self.blurry), read_picture(self.sharp), kernel)


@dataclass(frozen=True)
class Protocol:
    """How an estimate is compared with the truth.

    Attributes
    ----------
    crop
        Pixels dropped on each side of the truth.
    largest_shift
        Shifts are tried up to this many pixels, in steps of a quarter.
    luma
        Compare MATLAB's ``rgb2ycbcr`` luma instead of all channels.
    tells_size
        A blind method is told how large the kernel is: the side of its file, and some pixels more
        because kernels in files are not centred.
    """

    crop: int
    largest_shift: int
    luma: bool
    tells_size: bool = False


@dataclass(frozen=True)
class KernelPair:
    """A kernel and what was found in its place, (m, m) float32 each, sum 1, maybe of two sizes."""

    true: NDArray[np.float32]
    found: NDArray[np.float32]


@dataclass(frozen=True)
class Row:
    """The figures of one case.

    Attributes
    ----------
    name, group
        Those of the case.
    scores
        Name of a measure to its value: ``psnr`` in dB; ``ssim`` with and ``ssim_full``
        without Wang's downsampling; ``error_ratio`` and ``kernel_similarity`` where a
        kernel was estimated and the true one is known; ``mssim`` for Köhler.
    seconds
        Wall-clock time of the restoration.
    shift
        ``(dy, dx)`` in pixels at which the estimate fits best.
    kernels
        In a blind run, where the true kernel is known.
    """

    name: str
    group: str
    scores: Mapping[str, float]
    seconds: float
    shift: tuple[float, float]
    kernels: KernelPair | None = None


def score(
    estimate: NDArray[np.floating], sharp: NDArray[np.floating], protocol: Protocol
) -> tuple[dict[str, float], float, tuple[float, float]]:
    """Compare an estimate with the truth.

    Parameters
    ----------
    estimate, sharp
        ``(C, H, W)`` or ``(H, W)`` of one shape, values in [0, 1]; the estimate is clipped
        to that range first, as writing an image file would.
    protocol
        How to compare.

    Returns
    -------
    scores : dict
        ``psnr``, ``ssim`` and ``ssim_full`` as in `Row`.
    squared_error : float
        Sum of squared differences on the scale 0-255 over the compared area.
    shift : tuple of float
        ``(dy, dx)`` in pixels.
    """
    first = np.clip(np.asarray(estimate, dtype=np.float64), 0, 1) * metrics.PEAK
    second = np.asarray(sharp, dtype=np.float64) * metrics.PEAK
    if protocol.luma:
        first, second = metrics.luma_ycbcr(first), metrics.luma_ycbcr(second)
    best = align(first, second, crop=protocol.crop, largest=protocol.largest_shift)
    scores = {
        "psnr": metrics.psnr(best.estimate, best.sharp),
        "ssim": metrics.ssim(best.estimate, best.sharp, downsample=True),
        "ssim_full": metrics.ssim(best.estimate, best.sharp, downsample=False),
    }
    return scores, best.squared_error, best.shift


def evaluate(
    cases: Sequence[Source],
    method: Method,
    protocol: Protocol,
    *,
    known_kernel: bool = False,
    error_ratio: bool = True,
) -> Iterator[Row]:
    """Restore and score one case after the other.

    Parameters
    ----------
    cases
        What to restore.
    method
        How to restore it.
    protocol
        How to compare it with the truth.
    known_kernel
        Give the true kernel to the method instead of estimating it.
    error_ratio
        In a blind run, also restore with the true kernel, for the error ratio.

    Yields
    ------
    Row
        In the order of `cases`.

    Raises
    ------
    InputError
        If `known_kernel` is set and a case has no kernel.
    FileError
        If a file cannot be read.
    """
    missing = [case.name for case in cases if not case.has_kernel]
    if known_kernel and method.needs_kernel and missing:
        raise InputError(
            f"The true kernel of {missing[0]} (and {len(missing) - 1} more) is not there; "
            "leave out --known-kernel or add the kernel files"
        )
    for case in cases:
        yield _evaluate_case(
            case, method, protocol, known_kernel=known_kernel, error_ratio=error_ratio
        )


def _told(truth: NDArray[np.float32] | None, protocol: Protocol) -> int | None:
    """Side of the kernel that a blind method is told to look for."""
    return truth.shape[0] + _ROOM if protocol.tells_size and truth is not None else None


def _evaluate_case(
    case: Source, method: Method, protocol: Protocol, *, known_kernel: bool, error_ratio: bool
) -> Row:
    sample = case.load()
    blurry, sharp, truth = sample.blurry, sample.sharp, sample.kernel
    start = time.perf_counter()
    kernel = None
    if method.needs_kernel:
        kernel = truth if known_kernel else method.estimate(blurry, _told(truth, protocol))
    restored = method.deconvolve(blurry, kernel)
    seconds = time.perf_counter() - start
    scores, error, shift = score(restored, sharp, protocol)
    pair = None
    if method.needs_kernel and not known_kernel and kernel is not None and truth is not None:
        pair = KernelPair(truth, kernel)
        scores["kernel_similarity"] = metrics.kernel_similarity(kernel, truth)
        if error_ratio:
            _, ideal, _ = score(method.deconvolve(blurry, truth), sharp, protocol)
            scores["error_ratio"] = metrics.error_ratio(error, ideal)
    return Row(case.name, case.group, scores, seconds, shift, pair)
