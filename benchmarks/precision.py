"""What reduced precision costs in quality: PSNR with bfloat16 convolutions against float32.

Pictures of a folder are blurred with a random kernel each (`--pictures`), Levin's 32 are as they
are (`--levin`); all are deblurred twice with the true kernel, alike but for the precision of the
convolutions.  Without folders, with a small picture that scikit-image brings.

    python benchmarks/precision.py
    python benchmarks/precision.py --full --pictures kodak.zip --levin levin --json precision.json
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import _measure
import _samples
import torch
from skimage import io

from napari_deblur.evaluation import levin, simulated
from napari_deblur.evaluation.benchmark import Protocol, Source, evaluate
from napari_deblur.evaluation.methods import find_method

_PRECISIONS = (torch.float32, torch.bfloat16)


def scores(case: Source, protocol: Protocol, device: str) -> list[float]:
    """PSNR of a case in either precision."""
    method = find_method("network", device=device)
    found = []
    for dtype in _PRECISIONS:
        with _samples.precision(dtype):
            rows = evaluate([case], method, protocol, known_kernel=True)
            found += [row.scores["psnr"] for row in rows]
    return found


def compare(
    cases: Sequence[Source], protocol: Protocol, device: str, parts: _measure.Parts
) -> dict[str, Any]:
    rows = [parts.measure(case.name, partial(scores, case, protocol, device)) for case in cases]
    changes = [low - high for high, low in rows]
    means = [statistics.fmean(column) for column in zip(*rows, strict=True)]
    return {
        "images": len(cases),
        "PSNR": dict(zip(map(_measure.name_of, _PRECISIONS), means, strict=True)),
        "change": statistics.fmean(changes),
        "largest change": max(changes, key=abs),
    }


def main(arguments: list[str]) -> int:
    made = _measure.parser(__doc__)
    made.add_argument("--pictures", type=Path, help="folder or zip of sharp pictures, e.g. Kodak's")
    made.add_argument("--levin", type=Path, help="folder of Levin's 32 images")
    made.add_argument("--most", type=int, help="pictures of each kind")
    options = _measure.start(made, arguments)
    most = options.most or (None if options.full else 1)
    parts = _measure.Parts("precision", options)
    figures: dict[str, Any] = {"model": "default", "kernel": "true"}
    with tempfile.TemporaryDirectory() as folder:
        pictures = _unpacked(options.pictures, Path(folder))
        cases = simulated.find_cases(pictures)[:most]
        name = options.pictures.stem if options.pictures else "sample picture"
        figures[name] = compare(cases, simulated.PROTOCOL, options.device, parts)
        if options.levin:
            cases = levin.find_cases(options.levin)[:most]
            figures["levin"] = compare(cases, levin.PROTOCOL, options.device, parts)
    parts.finish()
    return _measure.finish("precision", options, figures)


def _unpacked(pictures: Path | None, scratch: Path) -> Path:
    """The folder of pictures; one with a sample picture where none is given."""
    if pictures is None:
        io.imsave(scratch / "picture.png", _samples.grey_picture(160, 160))
        return scratch
    if pictures.suffix != ".zip":
        return pictures
    with zipfile.ZipFile(pictures) as archive:
        archive.extractall(scratch)
    return scratch


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
