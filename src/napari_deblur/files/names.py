"""Names that are found inside files, and are not to be believed."""

from __future__ import annotations

from pathlib import PurePosixPath

__all__ = ["points_out"]


def points_out(name: str) -> bool:
    r"""Whether a name that an archive or a store gives leads out of it, on any system.

    Absolute names do, those with ``..``, and those with a drive; ``\`` counts as a separator.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or ":" in "".join(path.parts[:1])
