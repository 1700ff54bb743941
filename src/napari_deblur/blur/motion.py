"""The blur of a camera that shifts and rolls: one density over its poses gives every kernel.

A camera's path through shifts and an angle about the optical axis, counted as the time that it
spends in each pose, is a *motion density* (A. Gupta, N. Joshi, C. L. Zitnick, M. Cohen and
B. Curless, "Single image deblurring using motion density functions", ECCV 2010).  The kernel at a
position of the image is linear in it: each pose puts its time where it moves that position to.  So
the parts of an image, each of which says little about its own kernel, together say much about the
density; and the kernel of every position follows, between the parts as well (M. Hirsch, C. J.
Schuler, S. Harmeling and B. Schölkopf, "Fast removal of non-uniform camera shake", ICCV 2011).

Nothing here is torch; kernels are few and small.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy import ndimage, sparse

from napari_deblur.blur.kernel_step import kept_values
from napari_deblur.errors import KernelError

__all__ = ["MotionDensity", "improve_density"]

_FAINT = 1e-2  # share of the largest weight below which a pose does not count as used
_GROWTH = 1  # steps by which the poses in use may spread
_FLOOR = 0.05  # share of a kernel's peak below which it counts as empty
_AGREEING = 0.5  # share of the evidence that must find a pose in its kernels
_LEAST_WEIGHT = 0.03  # of the largest, below which a pose is noise
# What a roll costs that moves the outermost part by half a kernel's side, of what a pose explains
# at most.  Rolls and shifts are hard to tell apart, and without it angles spread to three times the
# true range; with four times as much the camera hardly rolls.
_STILLNESS = 0.1
_SOLVE_ROUNDS = 80

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MotionDensity:
    """Time that a camera spends in each of its poses.

    Attributes
    ----------
    volume : ndarray of shape (a, m, m)
        Share of the exposure at each of a angles about the optical axis, the middle one of which
        is 0, and each shift: where the pose puts the kernel of a position on the optical axis,
        from the kernel's middle.  Non-negative, sum 1; a and m are odd.
    step : float
        Difference between neighbouring angles, in radians.
    """

    volume: Floats
    step: float

    @classmethod
    def at_rest(cls, kernel: NDArray[np.float32], radius: float) -> MotionDensity:
        """The motion of a camera that did not roll: one kernel (m, m) everywhere.

        There is room for angles that move what is `radius` pixels from the optical axis by half a
        kernel, in steps that move it by one pixel.
        """
        size = kernel.shape[-1]
        volume = np.zeros((size, size, size))
        volume[size // 2] = kernel
        return cls(volume / volume.sum(), 1 / max(radius, 1.0))

    @property
    def size(self) -> int:
        """Side m of the kernels in pixels."""
        return int(self.volume.shape[-1])

    @property
    def extent(self) -> float:
        """Range of the angles in use, in radians, faint ones left out."""
        shares = self.volume.sum(axis=(1, 2))
        used = np.flatnonzero(shares > _FAINT * shares.max())
        return float((used[-1] - used[0] + 1) * self.step)

    def kernels(self, positions: Floats) -> NDArray[np.float32]:
        """Kernels (p, m, m), float32, sum 1, at positions (p, 2) in pixels from the optical axis.

        Raises
        ------
        KernelError
            If the motion takes all of one out of its m x m pixels.
        """
        used = self.volume > 0
        values = _projection(used, self.step, positions) @ self.volume[used]
        kernels = values.reshape(-1, self.size, self.size)
        sums = kernels.sum(axis=(1, 2), keepdims=True)
        if not sums.min() > 0:
            raise KernelError(
                f"the camera's motion leaves kernels of {self.size} x {self.size} pixels: give a "
                "larger size"
            )
        return np.asarray(kernels / sums, np.float32)

    def scaled(self, factor: float, size: int) -> MotionDensity:
        """The same motion for images scaled by `factor`, with kernels of side `size`.

        An angle moves by as many pixels as there are fewer of, so it is scaled like the shifts,
        and the step grows.
        """
        lengths = [_odd(side * factor) for side in self.volume.shape]
        zooms = [new / old for new, old in zip(lengths, self.volume.shape, strict=True)]
        volume = np.maximum(
            ndimage.zoom(self.volume, zooms, order=1, mode="grid-constant", grid_mode=True), 0
        )
        volume = _fitted(volume, (lengths[0], size, size))
        return MotionDensity(volume / volume.sum(), self.step / factor)


def _odd(length: float) -> int:
    return 2 * max(0, round((length - 1) / 2)) + 1


def _fitted(volume: Floats, shape: tuple[int, int, int]) -> Floats:
    """Cut or pad with zeros about the middle; all lengths odd."""
    for axis, (old, new) in enumerate(zip(volume.shape, shape, strict=True)):
        margin = abs(new - old) // 2
        if new > old:
            pads = [(margin, margin) if number == axis else (0, 0) for number in range(3)]
            volume = np.pad(volume, pads)
        elif new < old:
            volume = np.take(volume, np.arange(margin, margin + new), axis=axis)
    return volume


def improve_density(
    start: MotionDensity,
    positions: Floats,
    auto: Floats,
    cross: Floats,
    *,
    ridge: float = 1e-2,
    grows: bool = True,
) -> MotionDensity:
    """Find the density that best maps the sharp gradients of all parts of an image to the blurry.

    The least squares of `napari_deblur.blur.kernel_step.solve_kernel` for all parts at once, with
    the weights of the poses as unknowns, by accelerated projected gradient.  Large angles cost a
    little.

    Parameters
    ----------
    start : MotionDensity
        Where to start.
    positions : ndarray of shape (p, 2)
        Middles of the parts, in pixels from the optical axis.
    auto, cross : ndarray of shape (p, 2 m - 1, 2 m - 1) and (p, m, m)
        Their `NormalEquations`.
    ridge : float
        Weight of the square of the kernels, relative to the gradients' energy.
    grows : bool
        Whether poses next to one that has weight may get some.
    """
    size = start.size
    share = auto[:, size - 1, size - 1]
    scale = share.sum()
    if not scale > 0:
        return start
    used = start.volume > 0
    if grows:
        used = ndimage.binary_dilation(used, np.ones((3, 3, 3), bool), iterations=_GROWTH)
    matrix = _projection(used, start.step, positions)
    backwards = matrix.T.tocsr()
    side = scipy.fft.next_fast_len(2 * size - 1, real=True)
    around = np.zeros((len(auto), side, side))
    around[:, : 2 * size - 1, : 2 * size - 1] = auto / scale
    around = np.roll(around, (1 - size, 1 - size), (1, 2))
    response = scipy.fft.rfft2(around).real.clip(min=0) + ridge * (share / scale)[:, None, None]
    wanted = backwards @ (cross / scale).reshape(-1)
    angles = (np.argwhere(used)[:, 0] - len(used) // 2) * start.step
    moved = angles * np.hypot(*positions.T).max() / (size / 2)
    wanted = wanted - _STILLNESS * wanted.max() * moved**2

    def apply(weights: Floats) -> Floats:
        kernels = (matrix @ weights).reshape(-1, size, size)
        spectrum = scipy.fft.rfft2(kernels, s=(side, side)) * response
        product = scipy.fft.irfft2(spectrum, s=(side, side))[:, :size, :size]
        result: Floats = backwards @ product.reshape(-1)
        return result

    weights = _non_negative_least_squares(apply, wanted, start.volume[used])
    if not weights.sum() > 0:
        return start
    weights = _clean(matrix, weights, share, size)
    volume = np.zeros_like(start.volume)
    volume[used] = np.where(weights < _LEAST_WEIGHT * weights.max(), 0, weights)
    return MotionDensity(_centred(volume / volume.sum()), start.step)


def _non_negative_least_squares(
    apply: Callable[[Floats], Floats], wanted: Floats, start: Floats
) -> Floats:
    """Minimise w.A.w / 2 - w.wanted over w >= 0 (see `kernel_step`)."""
    step = 1 / _largest_eigenvalue(apply, len(start))
    weights = ahead = start
    momentum = 1.0
    for _ in range(_SOLVE_ROUNDS):
        after = np.maximum(ahead - step * (apply(ahead) - wanted), 0)
        uphill = float((ahead - after) @ (after - weights)) > 0
        following = 1.0 if uphill else (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        gain = 0.0 if uphill else (momentum - 1) / following
        ahead, weights, momentum = after + gain * (after - weights), after, following
    return weights


def _clean(matrix: sparse.csr_matrix, weights: Floats, evidence: Floats, size: int) -> Floats:
    """Weights without those poses that lie, for most parts, where their kernels are empty."""
    kernels = (matrix @ weights).reshape(-1, size, size)
    present = [kept_values(each, floor=_FLOOR) > 0 for each in kernels]
    votes = np.repeat(evidence / evidence.sum(), size * size) * np.ravel(present)
    kept = matrix.T.tocsr() @ votes >= _AGREEING
    return np.where(kept, weights, 0) if kept.any() else weights


def _centred(volume: Floats) -> Floats:
    """Moved by whole steps until the mean pose is no pose at all; what leaves is lost."""
    middle = ndimage.center_of_mass(volume)
    shift = [side // 2 - round(at) for side, at in zip(volume.shape, middle, strict=True)]
    moved: Floats = ndimage.shift(volume, shift, order=0, mode="constant")
    total = moved.sum()
    return moved / total if total > 0 else volume


def _largest_eigenvalue(apply: Callable[[Floats], Floats], count: int) -> float:
    """Upper bound, by power iteration, of a positive map's largest eigenvalue."""
    vector = np.ones(count) / np.sqrt(count)
    value = 1.0
    for _ in range(15):
        vector = apply(vector)
        value = float(np.linalg.norm(vector))
        if value == 0:
            return 1.0
        vector = vector / value
    return 1.1 * value


def _projection(used: NDArray[np.bool_], step: float, positions: Floats) -> sparse.csr_matrix:
    """Matrix (p * m * m, n): the kernels at all positions from the weights of all poses used."""
    size = used.shape[-1]
    index = np.argwhere(used)
    angles = (index[:, 0] - used.shape[0] // 2) * step
    cosine, sine = np.cos(angles), np.sin(angles)
    poses = np.arange(len(index))
    rows, columns, values = [], [], []
    for number, (row, column) in enumerate(np.asarray(positions, np.float64)):
        # A position r shows R r - shift, and its kernel is at r less that.
        turned = np.stack([cosine * row - sine * column, sine * row + cosine * column], axis=-1)
        places = index[:, 1:] + np.array((row, column)) - turned
        low = np.floor(places).astype(int)
        part = places - low
        for down, across in product((0, 1), (0, 1)):
            at = low + np.array((down, across))
            value = np.abs(1 - down - part[:, 0]) * np.abs(1 - across - part[:, 1])
            kept = ((at >= 0) & (at < size)).all(axis=1) & (value > 0)
            rows.append((number * size + at[kept, 0]) * size + at[kept, 1])
            columns.append(poses[kept])
            values.append(value[kept])
    shape = (len(positions) * size * size, len(poses))
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return sparse.csr_matrix(entries, shape=shape)
