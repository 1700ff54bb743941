"""``napari-deblur demo``: one real and one simulated example, without any download."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_deblur.cli.messages import say
from napari_deblur.cli.options import Device, Model
from napari_deblur.cli.outputs import check_new, make_folder
from napari_deblur.cli.progress import Report, progress_bar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_deblur.cli.work import Settings

__all__ = ["demo"]

_REAL = "clock-real-shake.png"
_SIMULATED = "astronaut-simulated-shake.png"

# The clock moved by some 35 px.  It has so few edges that what is found hangs on where is looked:
# untold, or at 45 px, the kernel may come out doubled.
_REAL_SIZE = 51
# A shake that the smallest size class covers, and the noise of a good camera.
_SIZE, _SEED, _NOISE = 21, 7, 0.005


def demo(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for the pictures.")
    ] = Path("demo-output"),
    model: Model = "default",
    device: Device = "auto",
) -> None:
    """Deblur a photograph with real camera shake and one with simulated shake.

    Both come with scikit-image.  Each becomes one picture, blurry, kernel and deblurred side by
    side; pictures of an earlier demonstration are replaced.
    """
    for name in (_REAL, _SIMULATED):
        check_new(out / name, [], overwrite=True)
    import skimage.data

    from napari_deblur.cli.work import Settings

    settings = Settings(model, device)
    settings.open()
    clock = skimage.data.clock()  # type: ignore[no-untyped-call]
    astronaut = skimage.data.astronaut()  # type: ignore[no-untyped-call]
    with progress_bar() as report:
        _show_real(clock, out / _REAL, replace(settings, kernel_size=_REAL_SIZE), report)
        _show_simulated(astronaut, out / _SIMULATED, settings, report)


def _show_real(blurry: NDArray[np.uint8], path: Path, settings: Settings, report: Report) -> None:
    sharp, kernel = _deblur(blurry, settings, report, "clock")
    _write(path, _side_by_side(blurry, kernel, sharp))
    say(
        "A clock, photographed with a moving camera (scikit-image's clock_motion; nobody knows how "
        f"it would look sharp); told to look for kernels of {_REAL_SIZE} px:\n  {path}"
    )


def _show_simulated(
    truth: NDArray[np.uint8], path: Path, settings: Settings, report: Report
) -> None:
    from napari_deblur.engine.simulate import shake
    from napari_deblur.evaluation.metrics import kernel_similarity

    blurry, true_kernel = shake(truth, size=_SIZE, seed=_SEED, noise=_NOISE)
    sharp, kernel = _deblur(blurry, settings, report, "astronaut")
    _write(path, _side_by_side(blurry, kernel, sharp))
    say(
        f"An astronaut (scikit-image), shaken over {_SIZE} px with known truth:\n"
        f"  PSNR before {_psnr(blurry, truth):.2f} dB, after {_psnr(sharp, truth):.2f} dB\n"
        f"  kernel found: correlation {kernel_similarity(kernel, true_kernel):.2f} with the "
        f"true one\n  {path}"
    )


def _deblur(
    blurry: NDArray[np.uint8], settings: Settings, report: Report, label: str
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    import numpy as np

    from napari_deblur.cli.work import deblur_stack
    from napari_deblur.engine.stacks import Stack, find_slices

    stack = Stack(blurry, None, find_slices(blurry.shape, None))
    sharp = np.empty_like(blurry)
    kernels = deblur_stack(stack, None, settings, report, label, sharp)
    return sharp, kernels[0]


def _psnr(estimate: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """PSNR in dB after alignment, for a kernel and its image are known only up to a shift."""
    from napari_deblur.evaluation.benchmark import score
    from napari_deblur.evaluation.folder import PROTOCOL
    from napari_deblur.evaluation.pictures import channels_first

    scores, _, _ = score(channels_first(estimate / 255), channels_first(truth / 255), PROTOCOL)
    return scores["psnr"]


def _write(path: Path, picture: NDArray[np.uint8]) -> None:
    from napari_deblur.files.images import write_image

    make_folder(path)
    write_image(path, picture)


def _side_by_side(
    blurry: NDArray[np.uint8], kernel: NDArray[np.float32], sharp: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Join blurry image, enlarged kernel and sharp image; (H, W') or (H, W', 3)."""
    import numpy as np

    height = blurry.shape[0]
    # Whole factors keep the kernel's pixels square and crisp.
    factor = max(1, height // kernel.shape[0])
    scaled = np.rint(255 * kernel / kernel.max()).astype(np.uint8)
    large = np.kron(scaled, np.ones((factor, factor), np.uint8))[:height, :height]
    spare = height - large.shape[0]
    panel = np.pad(large, ((spare // 2, spare - spare // 2), (0, 0)))
    if blurry.ndim == 3:
        panel = np.repeat(panel[..., None], blurry.shape[2], axis=2)
    return np.concatenate([blurry, panel, sharp], axis=1)
