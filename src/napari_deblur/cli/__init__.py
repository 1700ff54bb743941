"""The command ``napari-deblur``.

Start-up is quick: torch, numpy and everything that needs them are imported inside the
commands that use them.
"""

from __future__ import annotations

import gc
import io
import sys

from napari_deblur.cli.codes import INTERRUPTED

__all__ = ["main"]


def main() -> None:
    """Run the command line and leave with its exit code.

    0: done.  1: a batch is done, but some of its files failed.  2: nothing was done, because
    an input, an option or an output is not usable.  130: interrupted; 143 by SIGTERM, 129 by
    SIGHUP.
    """
    from napari_deblur.cli.running import run
    from napari_deblur.cli.signals import stop_signals

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file may have a name that the terminal's encoding has no letters for.
            stream.reconfigure(errors="backslashreplace")
    try:
        with stop_signals() as stopped:
            code = run()
            if code == INTERRUPTED and stopped:
                code = 128 + stopped[0]
    finally:
        # Python would look for garbage among all that torch has made before it leaves: half a
        # second.
        gc.freeze()
    sys.exit(code)
