"""Real photographs, whose sharp image nobody knows, beside what the paper's authors published.

For looking at: neither the photographs nor the authors' pictures may be passed on, so everything
but the kernels stays in the working folder.  Two figures of their luma go with them:

- *normalised sparsity*, the sum of the gradients' absolute values over their norm, relative to the
  blurry image's (D. Krishnan, T. Tay and R. Fergus, "Blind deconvolution using a normalized
  sparsity measure", CVPR 2011).  Blur raises it, and so do noise and rings: the lower, the better.
- *residual*, the root mean square in grey levels of 255 of what remains of the blurry image when
  the result is blurred again with the kernel that suits it best.  Invented detail raises it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from _accuracy_pictures import kernel_montage
from _accuracy_store import Bench
from numpy.typing import NDArray

from napari_deblur.blur.edges import differences
from napari_deblur.blur.forward import convolve
from napari_deblur.blur.kernel_step import normal_equations, solve_kernel
from napari_deblur.engine.region import luma
from napari_deblur.engine.run import deblur_steps, drain
from napari_deblur.files.images import read_image, write_image

_THEIRS = {"coke": "lai_real_coke_deblurred", "Blurry2_6": "kohler_2_6_deblurred"}
_WAYS = {"default": "this program", "auto": 'this program, `model="auto"`'}
_PUBLISHED = "the paper's authors"
_FITTED = 61  # side in pixels of the kernel that the residual is measured with
_MARGIN = 64  # pixels; the scene outside reaches what lies closer to the border
_DETAIL = 320  # side in pixels of the part that is shown twice as large

Image = NDArray[np.uint8]


def measure_real(bench: Bench, folder: Path) -> None:
    """Deblur each photograph; write the pictures, a contact sheet of details, and the figures."""
    target = bench.work / "real"
    rows: dict[str, Any] = {}
    sheet = []
    for path in sorted([*folder.glob("*.jpg"), *folder.glob("*.png")]):
        rows[path.stem] = bench.once("real", path.stem, lambda p=path: _measure(bench, p, target))
        print(f"real: {path.stem}: {rows[path.stem]['figures']}", flush=True)
        names = ["blurry", *_WAYS, "authors"]
        shown = [target / f"{path.stem}-{name}.png" for name in names]
        sheet.append([read_image(each).array for each in shown if each.is_file()])
    if not sheet:
        print(f"real: no photographs in {folder}")
        return
    write_image(target / "contact-sheet.png", _sheet(sheet))
    picture = bench.results.parent / "images" / "real-kernels.png"
    kernels = [[np.load(target / f"{name}-{way}.npy") for way in _WAYS] for name in rows]
    size = max(kernel.shape[-1] for row in kernels for kernel in row)
    kernel_montage(picture, kernels, size, truth=False)
    bench.keep("real", {"photographs": rows})
    print(f"real: look at {target}")


def _measure(bench: Bench, path: Path, target: Path) -> dict[str, Any]:
    blurry = read_image(path).array[..., :3]
    target.mkdir(parents=True, exist_ok=True)
    made: dict[str, Image] = {}
    seconds = {}
    for way in _WAYS:
        model = bench.model if way == "default" else way
        result = drain(deblur_steps(blurry, model=model, device=bench.device))
        made[way], seconds[way] = result.image, result.seconds
        np.save(target / f"{path.stem}-{way}.npy", result.kernel)
    published = path.parent / "authors-output" / f"{_THEIRS.get(path.stem)}.jpg"
    if published.is_file():
        both = read_image(published).array[..., :3]
        made["authors"] = both[:, both.shape[1] - blurry.shape[1] :]
    for name, image in {"blurry": blurry, **made}.items():
        write_image(target / f"{path.stem}-{name}.png", image)
    return {
        "figures": {name: _figures(image, blurry) for name, image in made.items()},
        "seconds": seconds,
    }


def _figures(image: Image, blurry: Image) -> dict[str, float]:
    sharp, observed = (_luma(each) for each in (image, blurry))
    kernel = solve_kernel(
        normal_equations(differences(sharp), differences(observed), _FITTED), ridge=1e-3
    )
    kernel = kernel / kernel.sum()
    rest = (convolve(sharp, kernel, boundary="replicate") - observed)[
        ..., _MARGIN:-_MARGIN, _MARGIN:-_MARGIN
    ]
    return {
        "sparsity": round(_sparsity(sharp) / _sparsity(observed), 4),
        "residual": round(255 * float((rest - rest.mean()).square().mean().sqrt()), 3),
    }


def _luma(image: Image) -> torch.Tensor:
    planes = np.moveaxis(image.astype(np.float32) / 255, -1, 0)
    return torch.from_numpy(np.ascontiguousarray(luma(planes)))[None, None]


def _sparsity(image: torch.Tensor) -> float:
    gradients = differences(image)[..., _MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    return float(gradients.abs().sum() / gradients.square().sum().sqrt())


def _sheet(rows: list[list[Image]]) -> Image:
    """The middle of every picture, twice as large, a row for each photograph."""
    strips = []
    for row in rows:
        tops = [(side - _DETAIL) // 2 for side in row[0].shape[:2]]
        parts = [image[tops[0] : tops[0] + _DETAIL, tops[1] : tops[1] + _DETAIL] for image in row]
        strips.append(np.concatenate([part.repeat(2, 0).repeat(2, 1) for part in parts], axis=1))
    width = max(strip.shape[1] for strip in strips)
    return np.concatenate(
        [np.pad(strip, ((0, 0), (0, width - strip.shape[1]), (0, 0))) for strip in strips]
    )


def real_table(results: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and lines of the table on the page."""
    titles = {**_WAYS, "authors": _PUBLISHED}
    lines = []
    for name, row in results["photographs"].items():
        for way, figures in row["figures"].items():
            seconds = row["seconds"].get(way)
            cells = [f"{figures['sparsity']:.3f}", f"{figures['residual']:.2f}"]
            lines.append([name, titles[way], *cells, "" if seconds is None else f"{seconds:.0f}"])
    return ["photograph", "deblurred by", "normalised sparsity", "residual", "s"], lines
