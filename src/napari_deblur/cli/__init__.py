"""The command ``napari-deblur``.

Start-up is quick: torch, numpy and everything that needs them are imported inside the
commands that use them.
"""

from __future__ import annotations

import gc
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line and leave with its exit code.

    0: done.  1: a batch is done, but some of its files failed.  2: nothing was done, because
    an input, an option or an output is not usable.  130: interrupted.
    """
    from napari_deblur.cli.running import run

    try:
        code = run()
    finally:
        # Python would look for garbage among all that torch has made before it leaves: half a
        # second.
        gc.freeze()
    sys.exit(code)
