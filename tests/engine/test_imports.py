"""What a run imports: half of a small image's time goes into starting."""

from __future__ import annotations

import subprocess
import sys

# Each takes a tenth of a second or more, and a run with one kernel needs none.
UNUSED = (
    "scipy.signal",
    "scipy.stats",
    "skimage",
    "dask",
    "pooch",
    "lightning",
    "napari",
    "tifffile",
)


def test_the_engine_imports_nothing_that_a_run_with_one_kernel_does_not_need() -> None:
    code = (
        "import sys, napari_deblur.engine.run\n"
        f"print([name for name in {UNUSED!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "[]"
