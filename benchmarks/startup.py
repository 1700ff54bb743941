"""How long a cold process takes: the help, and a picture of 512 x 512 pixels from file to file.

python benchmarks/startup.py
python benchmarks/startup.py --full --json startup.json
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import _measure
import _samples
from skimage import io

from napari_deblur.engine.simulate import shake


def main(arguments: list[str]) -> int:
    made = _measure.parser(__doc__)
    options = _measure.start(made, arguments)
    rounds = 3 if options.full else 1
    command = [str(Path(sys.executable).with_name("napari-deblur"))]
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    with tempfile.TemporaryDirectory() as folder:
        blurry, _ = shake(_samples.colour_picture(512, 512), size=21, seed=1, noise=0.005)
        source, target = Path(folder) / "blurry.png", Path(folder) / "sharp.png"
        io.imsave(source, blurry)

        def run(*words: str | Path) -> None:
            subprocess.run(
                [*command, *words], check=True, stdout=subprocess.DEVNULL, env=environment
            )

        tasks = {
            "bare python": lambda: subprocess.run([sys.executable, "-c", ""], check=True),
            "import torch": lambda: subprocess.run(
                [sys.executable, "-c", "import torch"], check=True
            ),
            "--help": lambda: run("--help"),
            "deblur, 512 x 512 RGB": lambda: run(
                "deblur", source, "-o", target, "--overwrite", "--device", options.device
            ),
            "deblur --refine 0, 512 x 512 RGB": lambda: run(
                *("deblur", source, "-o", target, "--overwrite"),
                *("--device", options.device, "--refine", "0"),
            ),
        }
        times = _measure.interleave(tasks, rounds)
    return _measure.finish(
        "startup", options, {"rounds": rounds, "seconds": _measure.medians(times)}
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
