"""The networks of a run, and what a result says about them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

from napari_deblur.engine.auto import Choice, choose, model_for
from napari_deblur.engine.devices import pick_device
from napari_deblur.engine.pair import Pair, load_pair
from napari_deblur.engine.progress import Progress
from napari_deblur.weights.registry import correction_entry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_deblur.engine.layout import Picture
    from napari_deblur.engine.options import Options
    from napari_deblur.engine.region import Region

__all__ = ["open_pair", "provenance", "restoring_pair"]


def open_pair(
    options: Options,
    frames: Sequence[tuple[Picture, Region]],
    kernel: NDArray[np.float32] | None = None,
) -> Generator[Progress, None, tuple[Pair, Choice]]:
    """Open the pair that a run asks for; return it, and what ``model="auto"`` chose."""
    device = pick_device(options.device)
    yield Progress("load", 0, 1)
    choice = choose(options, frames, device, kernel)
    pair = load_pair(choice.model, device)
    yield Progress("load", 1, 1)
    return pair, choice


def restoring_pair(pair: Pair, options: Options, kernel: NDArray[np.float32]) -> Pair:
    """Open the pair that deblurs with a kernel that `pair` found."""
    return load_pair(model_for(options.model, kernel), pair.device)


def provenance(pair: Pair, *, corrected: bool) -> dict[str, Any]:
    """What a result says about the networks that it comes from.

    Parameters
    ----------
    pair : Pair
        The networks of the model.
    corrected : bool
        Whether the kernel was corrected, too.
    """
    correction = correction_entry() if corrected else None
    last = {} if correction is None else {"correction": correction.sha256}
    return {
        "model": pair.name,
        "weights": {**pair.hashes, **last},
        "device": str(pair.device),
        "precision": str(pair.precision).removeprefix("torch."),
    }
