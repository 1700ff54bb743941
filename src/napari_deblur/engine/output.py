"""Where a restored image goes: a new array, or the one that the caller gave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_deblur.errors import OutputError

if TYPE_CHECKING:
    from napari_deblur.engine.layout import Picture
    from napari_deblur.engine.tiles import Window

__all__ = ["check_output", "copy_image", "output_for"]


def check_output(out: Any, picture: Picture) -> None:
    """Check that an array given for the result can take it.

    Raises
    ------
    OutputError
        When its shape or dtype is not the image's, or it shares memory with the image.
    """
    if out is None:
        return
    layout = picture.layout
    if not all(hasattr(out, name) for name in ("shape", "dtype", "__setitem__")):
        raise OutputError(
            f"out is no array ({type(out).__name__}): give one of shape {layout.shape} and dtype "
            f"{layout.dtype}, or leave it out"
        )
    if isinstance(out, np.ndarray) and not out.flags.writeable:
        raise OutputError("out is read-only: give an array that can be written to, or leave it out")
    if tuple(out.shape) != layout.shape or np.dtype(out.dtype) != layout.dtype:
        raise OutputError(
            f"out has shape {tuple(out.shape)} and dtype {out.dtype}: it must have the image's, "
            f"{layout.shape} and {layout.dtype}"
        )
    if out is picture.array or (
        isinstance(out, np.ndarray)
        and isinstance(picture.array, np.ndarray)
        and np.may_share_memory(out, picture.array)
    ):
        raise OutputError(
            "out shares memory with the image, which is never written to: give another"
        )


def output_for(picture: Picture, out: Any) -> Any:
    """Return `out`, or where that is None a new array of the image's shape and dtype."""
    return np.empty(picture.layout.shape, picture.layout.dtype) if out is None else out


def copy_image(picture: Picture, out: Any) -> Any:
    """Return the image as it is, in `out` or a new array."""
    target = output_for(picture, out)
    window: Window = (slice(0, picture.layout.size[0]), slice(0, picture.layout.size[1]))
    index = picture.layout.index(window)
    target[index] = np.asarray(picture.array[index])
    return target
