"""Keep freed memory in the process, so that the next large tensor costs no page faults.

glibc hands every block above a threshold straight back to the kernel, and the next tensor of the
same size must be mapped and zeroed page by page again.  On a CPU that costs the Fourier transforms
of this package two to five times their own time.  What is kept lies in pieces, though: a large
image takes up to three quarters more memory at its peak.  So training keeps it, deblurring not.
"""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_freed_memory"]

# mallopt's parameter numbers, from glibc's malloc.h.
_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
_LARGEST_KEPT_BLOCK = 1 << 30
_NEVER_TRIM = (1 << 31) - 1


def keep_freed_memory() -> bool:
    """Let glibc reuse freed blocks of up to 1 GiB instead of giving them back.

    Returns
    -------
    bool
        Whether the allocator took the advice; False wherever the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    # musl has a libc of another name; a mallopt of other fame returns 0.
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT_BLOCK)) and bool(
        mallopt(_TRIM_THRESHOLD, _NEVER_TRIM)
    )
