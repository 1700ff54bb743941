"""MkDocs hook: put the command line's own help into its page, so that the two cannot differ.

A line ``<!-- help: deblur -->`` becomes what ``napari-deblur deblur --help`` prints.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

__all__ = ["on_page_markdown"]

_MARK = re.compile(r"^<!-- help:(?P<words>[a-z ]*)-->$", re.MULTILINE)
_PLAIN = {"COLUMNS": "96", "NO_COLOR": "1", "TERM": "dumb"}


def on_page_markdown(markdown: str, **_: object) -> str:
    """Replace each mark on a page by the help that it names."""
    return _MARK.sub(lambda match: _help(match["words"].split()), markdown)


def _help(words: list[str]) -> str:
    code = "import sys; from napari_deblur.cli import main; sys.argv[0] = 'napari-deblur'; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *words, "--help"],
        env={**os.environ, **_PLAIN},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line.rstrip() for line in done.stdout.strip().splitlines()]
    return "\n".join(["```text", f"$ napari-deblur {' '.join([*words, '--help'])}", *lines, "```"])
