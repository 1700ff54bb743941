"""Which pair an image's blur asks for, and which sizes of kernel to look for.

The blur-size classifier tells the size class (paper, section 3.3: three classes, a pair for each).
Where the class's own pair is not among the known models the default, a general pair, takes its
place.  The classifier is wrong too often to be believed alone, so its chances decide only which
sizes the kernel is looked for at (`napari_deblur.engine.sizes`):

- as good as no chance that the blur is small: at the largest, and then at the size that the kernel
  turns out to have;
- a poor chance: at the smallest and at the largest, and then as above;
- a fair chance: at the smallest, and at the largest where a quick look at a shrunk image says that
  the blur reaches further (`napari_deblur.engine.suspicion`);
- a good chance: at the smallest alone.

``model="auto"`` takes its time: in the last two cases it does as in the second.

Both deblur with the pair of the class of the kernel that was found or given (`model_for`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_deblur.blur.kernel import kernel_support
from napari_deblur.blur.kernel_bank import SIZE_CLASSES, class_size
from napari_deblur.engine.region import luma
from napari_deblur.engine.sizes import PAIRS_OWN, Order, SizePlan
from napari_deblur.engine.tiles import spread
from napari_deblur.engine.views import LARGEST_VIEW, MOST_FRAMES
from napari_deblur.errors import WeightsError
from napari_deblur.networks.classifier import BlurSizeClassifier
from napari_deblur.weights.fetch import weights_path
from napari_deblur.weights.files import open_network
from napari_deblur.weights.registry import classifier_entry, pair_of_class

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_deblur.engine.layout import Picture
    from napari_deblur.engine.options import Options
    from napari_deblur.engine.region import Region

__all__ = ["AUTO", "Choice", "choose", "class_chances", "model_for"]

_DEFAULT = "default"
AUTO = "auto"
"""Name that stands for the model of the blur's size class."""

_SURE = 0.5  # chance from which the blur is believed to reach a class
# Chance of the smallest class up to which the blur is taken for large, and from which for small.
_SURELY_LARGE = 0.15
_SURELY_SMALL = 0.8


@dataclass(frozen=True)
class Choice:
    """Which pair, and how large kernels to look for.

    Attributes
    ----------
    model : str or Path
        The pair.
    plan : SizePlan
        Which sizes of kernel are looked for.
    chances : tuple of float
        Of each size class; empty where no classifier was asked.
    """

    model: str | Path
    plan: SizePlan = PAIRS_OWN
    chances: tuple[float, ...] = ()

    def settings(self) -> dict[str, Any]:
        """Return what a record of the run says of it, as plain values fit for JSON."""
        return {"size_chances": [round(each, 4) for each in self.chances]} if self.chances else {}


def choose(
    options: Options,
    frames: Sequence[tuple[Picture, Region]],
    device: torch.device,
    kernel: NDArray[np.float32] | None = None,
) -> Choice:
    """Choose the pair, and the kernel's sizes, for images that share one kernel.

    Parameters
    ----------
    options : Options
        `model` is taken as it is, unless it is "auto"; the sizes are left open, unless it is that
        or "default".  `kernel_size`, where it is given, tells the class.
    frames : sequence of (Picture, Region)
        Images, and the part of each that counts; of many, some that are spread over all.
    device : torch.device
        Where to compute.
    kernel : ndarray, shape (m, m), optional
        The kernel, where it is known: its support tells the class.

    Returns
    -------
    Choice

    Raises
    ------
    WeightsError
        When the classifier's weights are damaged or cannot be fetched, or its classes are not the
        three of this version.
    """
    if kernel is not None:
        return Choice(model_for(options.model, kernel))
    size = options.kernel_size
    if options.model == AUTO:
        if size is not None:
            return Choice(_pair_of(_class_of(size)))
        return _choose_freely(options, frames, device)
    if options.model != _DEFAULT or size is not None or options.refine == 0:
        return Choice(options.model)
    chances = _ask(frames, device)
    if not chances:
        return Choice(_DEFAULT)
    order: Order = "both"
    if chances[0] >= _SURE:
        order = "doubt" if chances[0] >= _SURELY_SMALL else "suspect"
    return Choice(_DEFAULT, _plan(chances, frames, order), chances)


def model_for(model: str | Path, kernel: NDArray[np.float32]) -> str | Path:
    """Return the model that deblurs with a kernel, which need not be the one that found it.

    Parameters
    ----------
    model : str or Path
        As the user gave it: "default" and "auto" leave it open.
    kernel : ndarray, shape (m, m)
        Its support tells the class.
    """
    return _pair_of(_class_of(kernel_support(kernel))) if model in (_DEFAULT, AUTO) else model


def _choose_freely(
    options: Options, frames: Sequence[tuple[Picture, Region]], device: torch.device
) -> Choice:
    chances = _ask(frames, device)
    number = _believed(chances) if chances else 0
    model = _pair_of(number) if chances else _DEFAULT
    if options.refine == 0:  # kernels that are not refined cannot be compared
        sizes = _that_fit(frames)
        return Choice(model, SizePlan((sizes[min(number, len(sizes) - 1)],)), chances)
    return Choice(model, _plan(chances, frames, "both"), chances)


def _plan(
    chances: Sequence[float], frames: Sequence[tuple[Picture, Region]], order: Order
) -> SizePlan:
    """All sizes that fit, in an order unless the blur is surely large."""
    surely_large = bool(chances) and chances[0] < _SURELY_LARGE
    return SizePlan(_that_fit(frames), "largest" if surely_large else order)


def _ask(frames: Sequence[tuple[Picture, Region]], device: torch.device) -> tuple[float, ...]:
    """Chance of each size class; empty where no classifier is known."""
    entry = classifier_entry()
    if entry is None:
        return ()
    network = _open(weights_path(entry), entry.sha256, device)
    return tuple(
        class_chances(network, [_view(*frame) for frame in spread(frames, MOST_FRAMES)], device)
    )


def _class_of(size: int) -> int:
    """Number of the class of a kernel's side; the last for those beyond it."""
    last = len(SIZE_CLASSES) - 1
    return next((n for n, limits in enumerate(SIZE_CLASSES) if size <= limits[1]), last)


def _pair_of(number: int) -> str:
    return pair_of_class(SIZE_CLASSES[number]) or _DEFAULT


@torch.inference_mode()
def class_chances(
    network: BlurSizeClassifier, views: Sequence[NDArray[np.float32]], device: torch.device
) -> list[float]:
    """Chance of each size class for images that share one kernel.

    Parameters
    ----------
    network : BlurSizeClassifier
        In evaluation mode, on `device`.
    views : sequence of ndarray, shape (h, w), float32
        Luma.
    device : torch.device
        Where to compute.

    Returns
    -------
    list of float
        One for each class, sum 1: the mean of the images' chances.
    """
    chances = []
    for view in views:
        batch = torch.from_numpy(np.ascontiguousarray(view)).to(device)[None, None]
        chances.append(network(batch).float().softmax(dim=1)[0].cpu())
    mean: list[float] = torch.stack(chances).mean(dim=0).tolist()
    return mean


def _believed(chances: Sequence[float]) -> int:
    """Number of the largest class that the blur reaches with sufficient chance."""
    reached = np.cumsum(chances[::-1])[::-1]
    return int(np.flatnonzero(reached >= _SURE).max(initial=0))


def _that_fit(frames: Sequence[tuple[Picture, Region]]) -> tuple[int, ...]:
    """Sides of the kernels of all classes, without those too large for the images to show."""
    side = min(
        min(region.rows.stop - region.rows.start, region.columns.stop - region.columns.start)
        for _, region in frames
    )
    sizes = tuple(map(class_size, SIZE_CLASSES))
    return tuple(size for size in sizes if 2 * size <= side) or sizes[:1]


def _view(picture: Picture, region: Region) -> NDArray[np.float32]:
    """Luma of the middle window of a region."""
    windows = list(region.windows(LARGEST_VIEW))
    window = windows[len(windows) // 2]
    return region.fade(luma(picture.read(window)), window, LARGEST_VIEW // 64)


@lru_cache(maxsize=1)
def _open(path: Path, sha256: str, device: torch.device) -> BlurSizeClassifier:
    network = open_network(path, sha256=sha256)
    if not isinstance(network, BlurSizeClassifier) or network.config.classes != len(SIZE_CLASSES):
        raise WeightsError(
            f"'{path}' holds no classifier of {len(SIZE_CLASSES)} size classes, which model "
            f"{AUTO!r} needs; give the name of a model instead"
        )
    network.requires_grad_(requires_grad=False)
    return network.to(device=device)
