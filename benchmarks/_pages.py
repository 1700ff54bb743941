"""Sections of a page of the documentation that scripts write, each between its markers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from napari_deblur.files.atomic import atomic_path


def fill_sections(page: Path, sections: Mapping[str, str]) -> None:
    """Replace what stands between the markers of each section.

    Markers are ``<!-- NAME: begin -->`` and ``<!-- NAME: end -->``.
    """
    text = page.read_text(encoding="utf-8")
    for name, body in sections.items():
        start, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        if start not in text or end not in text:
            raise SystemExit(f"{page} has no markers {start} and {end}; put them back")
        inside = re.compile(re.escape(start) + ".*?" + re.escape(end), re.DOTALL)
        text = inside.sub(lambda _, t=f"{start}\n{body}\n{end}": t, text)
    with atomic_path(page) as temporary:
        temporary.write_text(text, encoding="utf-8")
