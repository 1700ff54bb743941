"""Whether kernels that vary explain an image, or only have more to choose from.

What counts is how few strong edges the parts of an image need with the kernels of their positions
(see `napari_deblur.blur.alternation.energy`).  A field that was found where the blur is uniform
explains its image as well as one kernel does, or better; but it does so no worse when it is
mirrored, so that every part gets the kernel of another place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from napari_deblur.blur.alternation import energy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_deblur.engine.patches import Patch

__all__ = ["Costs", "Field", "choose_field", "everywhere", "explains"]

# Kernels at positions (n, 2), in pixels from the middle of the image.
Field = Callable[["NDArray[np.float64]"], Iterable["NDArray[np.float32]"]]

_MIRRORS = ((1, -1), (-1, 1), (-1, -1))
_MUCH_CHEAPER = 0.95  # than one kernel; it then need not be quite as sure
_LESS_SURE = 0.625
_FREER = 0.99  # what a freer field may cost at most of what a simpler one does


def everywhere(kernel: NDArray[np.float32]) -> Field:
    """The field of one kernel (m, m)."""
    return lambda positions: [kernel] * len(positions)


class Costs:
    """Cost of explaining each of some patches with a kernel; what was asked once is remembered.

    An edge costs what it does when kernels are compared: dearer ones tell less, and cheaper ones
    count noise.

    Parameters
    ----------
    patches : sequence of Patch
        Parts of the image.
    """

    def __init__(self, patches: Sequence[Patch]) -> None:
        self.patches = patches
        self._known: dict[tuple[int, bytes], float] = {}

    def of(self, kernels_at: Field, signs: tuple[int, int] = (1, 1)) -> NDArray[np.float64]:
        """Cost of each patch (n,) with the kernel of its position; the lower, the likelier.

        Parameters
        ----------
        kernels_at : callable
            The field: kernels (n, m, m) at positions (n, 2) in pixels from the middle of the image.
        signs : (int, int), optional
            Multiply the rows and columns of positions; -1 mirrors the field.
        """
        kernels = kernels_at(np.array([each.position for each in self.patches]) * signs)
        return np.array([self._of_one(*each) for each in enumerate(kernels)])

    def _of_one(self, number: int, kernel: NDArray[np.float32]) -> float:
        # A kernel is large beside the number that it stands for.
        key = number, blake2b(kernel.tobytes(), digest_size=16).digest()
        if key not in self._known:
            patch = self.patches[number]
            clipped = None if patch.clipped is None else [patch.clipped]
            self._known[key] = energy([patch.image], kernel, clipped=clipped)
        return self._known[key]


def explains(
    costs: Costs,
    kernels_at: Field,
    one: NDArray[np.float32],
    *,
    at_most: float = 1.01,
    mirrored: float = 0.98,
    sure: float = 4.0,
) -> bool:
    """Whether a field is believed.

    Parameters
    ----------
    costs : Costs
        Of parts of the image.
    kernels_at : callable
        See `Costs.of`.
    one : ndarray of shape (m, m)
        The one kernel that explains the whole image best.
    at_most : float
        What the field may cost, of the cost with one kernel.
    mirrored : float
        What it may cost, of the mean cost of the field mirrored three ways.
    sure : float
        Standard errors, over patches, by which it must cost less than that; fewer will do where it
        costs 5 % less than one kernel.
    """
    found = costs.of(kernels_at)
    with_one = float(costs.of(everywhere(one)).sum())
    if found.sum() > at_most * with_one:
        return False
    if found.sum() < _MUCH_CHEAPER * with_one:
        sure *= _LESS_SURE
    turned = np.mean([costs.of(kernels_at, signs) for signs in _MIRRORS], axis=0)
    gains = turned - found
    error = float(gains.std(ddof=1)) / np.sqrt(len(gains)) if len(gains) > 1 else np.inf
    return bool(found.sum() <= mirrored * turned.sum() and gains.mean() > sure * error)


def choose_field(costs: Costs, fields: Sequence[Field], one: NDArray[np.float32]) -> int | None:
    """Choose among fields that are believed.

    Parameters
    ----------
    costs, one
        See `explains`.
    fields : sequence of callable
        Fields, from the one with the least freedom on; each must cost clearly less than what is
        chosen before it.

    Returns
    -------
    int or None
        Number of the field; None if none is believed.
    """
    chosen, least = None, np.inf
    for number, kernels_at in enumerate(fields):
        cost = float(costs.of(kernels_at).sum())
        if cost < _FREER * least and explains(costs, kernels_at, one):
            chosen, least = number, cost
    return chosen
