"""Freed memory that stays with the process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_FAULTS = """
import resource, sys
import numpy as np
from napari_deblur.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.empty(100_000_000, np.uint8).fill(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if "kept" in sys.argv:
    assert keep_freed_memory()
print(faults(), faults(), faults())
"""


def _faults(*words: str) -> list[int]:
    done = subprocess.run(
        [sys.executable, "-c", _FAULTS, *words], capture_output=True, text=True, check=True
    )
    return [int(count) for count in done.stdout.split()]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the advice is for glibc")
def test_memory_that_was_freed_is_taken_again_without_page_faults() -> None:
    without = _faults()
    kept = _faults("kept")
    assert kept[0] > 20  # pages of any size are mapped once
    assert kept[1] < kept[0] / 10
    assert kept[2] < without[2] / 10
