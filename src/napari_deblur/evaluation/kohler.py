"""The benchmark of Köhler et al. (ECCV 2012), scored as its authors score it.

R. Köhler, M. Hirsch, B. Mohler, B. Schölkopf, S. Harmeling, "Recording and playback of
camera shake: benchmarking blind deconvolution with a real-world database".

Every blurry image has about 200 true frames, photographed along the camera's
trajectory.  The estimate, rounded to 8 bits, is compared with each: scaled in intensity
by least squares, moved by the whole pixels at which the two correlate best, both zeroed
where the moved estimate does not reach, compared in Rec. 601 luma.  The best frame
counts.  This follows the authors' ``eval_image.m``; the multi-scale SSIM is that of the
MeTriX MuX package which they use.

Expected files: ``Blurry{image}_{trajectory}.png`` and either
``GroundTruth{image}_{trajectory}.mat`` as distributed or a folder of that name with one
image file per frame.  The data are not redistributed with this package.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.io
import scipy.ndimage
import scipy.signal
from skimage.registration import phase_cross_correlation

from napari_deblur.errors import FileError, InputError
from napari_deblur.evaluation import metrics
from napari_deblur.evaluation.benchmark import Row
from napari_deblur.evaluation.listing import blurry_files
from napari_deblur.evaluation.pictures import read_picture

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_deblur.evaluation.methods import Method

__all__ = ["KohlerCase", "evaluate", "find_cases", "multiscale_ssim", "score_frames"]

_NAME = re.compile(r"Blurry(?P<image>\d+)_(?P<trajectory>\d+)", re.IGNORECASE)
_LUMA = (0.299, 0.587, 0.114)

# "For whatever reason ground truth image of (1,3) is missing": the authors leave out frame
# 30 of that case and stop at 198.
_FRAMES_OF_1_3 = (*range(29), *range(30, 198))

# Low-pass filter of the biorthogonal 9/7 wavelet and exponents of the five scales (Wang,
# Simoncelli, Bovik, "Multi-scale structural similarity for image quality assessment", 2003).
_LOW_PASS = np.array(
    [
        0.037828455507260,
        -0.023849465019560,
        -0.110624404418440,
        0.377402855612830,
        0.852698679008890,
        0.377402855612830,
        -0.110624404418440,
        -0.023849465019560,
        0.037828455507260,
    ]
)
_EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


@dataclass(frozen=True)
class KohlerCase:
    """One blurry image and where its true frames are (a .mat file or a folder)."""

    image: int
    trajectory: int
    blurry: Path
    frames: Path

    @property
    def name(self) -> str:
        """Name as in the benchmark, for instance ``2_6``."""
        return f"{self.image}_{self.trajectory}"


def find_cases(folder: Path) -> list[KohlerCase]:
    """List the blurry images of a folder with their true frames.

    Raises
    ------
    FileError
        If there is none, or the true frames of one are missing.
    """
    return [
        KohlerCase(
            int(match["image"]),
            int(match["trajectory"]),
            path,
            _find_frames(folder, f"GroundTruth{match['image']}_{match['trajectory']}"),
        )
        for path, match in blurry_files(folder, _NAME, "Blurry1_1.png")
    ]


def evaluate(
    cases: Sequence[KohlerCase], method: Method, *, known_kernel: bool = False
) -> Iterator[Row]:
    """Restore and score one case after the other.

    Parameters
    ----------
    cases
        What to restore.
    method
        How to restore it.
    known_kernel
        Not possible here: the blur varies over the image and has no single kernel.

    Yields
    ------
    Row
        With the scores ``psnr`` (dB) and ``mssim``; grouped by trajectory.

    Raises
    ------
    InputError
        If `known_kernel` is set.
    FileError
        If a file cannot be read.
    """
    if known_kernel and method.needs_kernel:
        raise InputError(
            "The images of Köhler et al. have no single true kernel; leave out --known-kernel"
        )
    for case in cases:
        blurry = read_picture(case.blurry)
        start = time.perf_counter()
        kernel = method.estimate(blurry, None) if method.needs_kernel else None
        restored = method.deconvolve(blurry, kernel)
        seconds = time.perf_counter() - start
        scores, shift = score_frames(restored, _read_frames(case))
        yield Row(case.name, f"trajectory {case.trajectory}", scores, seconds, shift)


def score_frames(
    estimate: NDArray[np.floating], frames: Iterable[NDArray[np.floating]]
) -> tuple[dict[str, float], tuple[float, float]]:
    """Compare an estimate with every true frame and keep the best value of each measure.

    Parameters
    ----------
    estimate
        ``(3, H, W)``, values in [0, 1]; rounded to 8 bits here, as the authors require.
    frames
        Arrays of the same shape on the scale 0-255.

    Returns
    -------
    scores : dict
        ``psnr`` in dB and ``mssim``, each the largest over all frames.
    shift : tuple of float
        ``(dy, dx)`` by which the estimate was moved for the best PSNR.
    """
    image = np.rint(np.clip(np.asarray(estimate, dtype=np.float64), 0, 1) * metrics.PEAK)
    if not image.any():
        raise InputError("The estimate is black everywhere; nothing can be compared with it")
    spectrum = np.fft.fft2(image.mean(axis=0))
    results = []
    for frame in frames:
        if frame.shape != image.shape:
            raise FileError(
                f"A true frame has shape {frame.shape} and the estimate {image.shape}; "
                "both must be RGB images of one size"
            )
        results.append(_score_frame(image, spectrum, np.asarray(frame, dtype=np.float64)))
    if not results:
        raise FileError("There are no true frames to compare with; check the GroundTruth files")
    best = max(results, key=lambda result: result[0])
    scores = {"psnr": best[0], "mssim": max(result[1] for result in results)}
    return scores, best[2]


def multiscale_ssim(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Multi-scale SSIM as in MeTriX MuX, on the scale 0-255.

    Means of luminance (coarsest scale), contrast and structure (five scales) are multiplied
    with the exponents of Wang, Simoncelli and Bovik (2003).

    Parameters
    ----------
    first, second
        ``(H, W)``, at least 176 pixels a side, so that the window fits the fifth scale.
    """
    if first.shape != second.shape or min(first.shape) < 11 * 2**4:
        raise InputError(
            f"Images of {first.shape} and {second.shape} px have no multi-scale SSIM; "
            "give two of one size and at least 176 px a side"
        )
    value = 1.0
    luminance = 1.0
    for scale, exponent in enumerate(_EXPONENTS):
        if scale:
            first, second = _halve(first), _halve(second)
        luminance, contrast, structure = _similarities(first, second)
        value *= contrast**exponent * structure**exponent
    return float(value * luminance ** _EXPONENTS[-1])


def _score_frame(
    image: NDArray[np.float64], spectrum: NDArray[np.complex128], frame: NDArray[np.float64]
) -> tuple[float, float, tuple[float, float]]:
    scale = float(np.sum(frame * image) / np.sum(image * image))
    found, _, _ = phase_cross_correlation(  # type: ignore[no-untyped-call]
        np.fft.fft2(frame.mean(axis=0)),
        spectrum * scale,
        space="fourier",
        normalization=None,
    )
    rows, columns = (int(value) for value in found)
    moved = np.zeros_like(image)
    covered = np.zeros_like(frame)
    target, source = _overlap(image.shape[-2:], rows, columns)
    moved[target] = scale * image[source]
    covered[target] = frame[target]
    first, second = _luma(moved), _luma(covered)
    return metrics.psnr(first, second), multiscale_ssim(first, second), (rows, columns)


def _overlap(
    shape: tuple[int, ...], rows: int, columns: int
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where a shifted image lands, and which part of it does."""
    target, source = [slice(None)], [slice(None)]
    for side, shift in zip(shape, (rows, columns), strict=True):
        target.append(slice(max(0, shift), side + min(0, shift)))
        source.append(slice(max(0, -shift), side - max(0, shift)))
    return tuple(target), tuple(source)


def _luma(image: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.tensordot(_LUMA, image, axes=1))


def _halve(image: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = _LOW_PASS / _LOW_PASS.sum()
    smooth = scipy.ndimage.correlate1d(image, weights, axis=0, mode="reflect")
    smooth = scipy.ndimage.correlate1d(smooth, weights, axis=1, mode="reflect")
    return np.asarray(smooth[::2, ::2])


def _similarities(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Mean luminance, contrast and structure terms of SSIM over the 'valid' positions."""
    c1, c2 = (0.01 * metrics.PEAK) ** 2, (0.03 * metrics.PEAK) ** 2
    mean1, mean2 = _window_mean(first), _window_mean(second)
    variance1 = _window_mean(first**2) - mean1**2
    variance2 = _window_mean(second**2) - mean2**2
    covariance = _window_mean(first * second) - mean1 * mean2
    deviations = np.sqrt(np.maximum(variance1, 0)) * np.sqrt(np.maximum(variance2, 0))
    luminance = (2 * mean1 * mean2 + c1) / (mean1**2 + mean2**2 + c1)
    contrast = (2 * deviations + c2) / (variance1 + variance2 + c2)
    structure = (covariance + c2 / 2) / (deviations + c2 / 2)
    # A negative mean has no real power; it cannot become a good score either.
    return float(luminance.mean()), float(contrast.mean()), max(0.0, float(structure.mean()))


def _window_mean(image: NDArray[np.float64]) -> NDArray[np.float64]:
    window = scipy.signal.windows.gaussian(11, 1.5)
    window /= window.sum()
    mean = scipy.ndimage.correlate1d(image, window, axis=0)
    return np.asarray(scipy.ndimage.correlate1d(mean, window, axis=1)[5:-5, 5:-5])


def _find_frames(folder: Path, stem: str) -> Path:
    for path in (folder / f"{stem}.mat", folder / stem):
        if path.exists():
            return path
    raise FileError(
        f"'{folder / stem}.mat' is not there; put the authors' ground truth (or a folder {stem} "
        "with one image per frame) beside the blurry images"
    )


def _read_frames(case: KohlerCase) -> Iterator[NDArray[np.float64]]:
    if case.frames.is_dir():
        for path, _ in blurry_files(case.frames, re.compile(".+"), "1.png"):
            yield read_picture(path).astype(np.float64) * metrics.PEAK
        return
    try:
        stack = scipy.io.loadmat(case.frames, variable_names=["GroundTruth"])["GroundTruth"]
    except (OSError, ValueError, NotImplementedError, KeyError) as error:
        raise FileError(
            f"'{case.frames}' holds no readable array GroundTruth (MATLAB 5 to 7.2); "
            "download it again, or give a folder with one image per frame"
        ) from error
    chosen = _FRAMES_OF_1_3 if (case.image, case.trajectory) == (1, 3) else range(stack.shape[3])
    for number in chosen:
        if number < stack.shape[3]:
            yield np.moveaxis(stack[..., number], -1, 0).astype(np.float64)
