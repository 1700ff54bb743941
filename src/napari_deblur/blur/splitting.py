"""Half-quadratic splitting with few gradients, or few values as well, on a torus.

A kernel is found with thousands of rounds on small images, whose time goes into what surrounds the
two Fourier transforms of a round; so nothing is allocated in a round, or computed twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_deblur.blur.spectra import for_both_parts, gradient_power

if TYPE_CHECKING:
    from torch import Tensor

    from napari_deblur.blur.deconvolution import DataTerm

__all__ = ["Splitting"]


class Splitting:
    """An image x on a torus between the rounds, and the room that a round needs.

    A round calls `keep_gradients`, then `keep_values` where values are to be few as well, then
    `solve`.

    Parameters
    ----------
    image : Tensor, shape (B, C, h, w)
        Where to begin; float32 or float64.  Overwritten by each round.
    term : DataTerm
        The blurry image b and the kernel k.
    """

    def __init__(self, image: Tensor, term: DataTerm) -> None:
        self._term = term
        self._now, self._down, self._across, self._prior = (
            _Torus(each) for each in (image, *(torch.empty_like(image) for _ in range(3)))
        )
        self._power, self._roughness = (
            for_both_parts(each) for each in (term.power, gradient_power(term.shape, term.power))
        )
        self._factor = torch.empty_like(self._power)
        self._spectrum = torch.empty_like(term.back_projection)
        self._parts = torch.view_as_real(self._spectrum)
        self._data = torch.view_as_real(term.back_projection)

    def keep_gradients(self, threshold: float) -> None:
        """Take for the gradient that of the image, but 0 where its square is not above this."""
        down, across, prior = self._down, self._across, self._prior
        _differences(self._now, down, 0)
        _differences(self._now, across, 1)
        kept = prior.values
        torch.mul(down.values, down.values, out=kept).addcmul_(across.values, across.values)
        torch.gt(kept, threshold, out=kept)
        down.values.mul_(kept)
        across.values.mul_(kept)
        torch.add(down.values, across.values, out=prior.values).neg_()
        _add_shifted(down, prior, 0)
        _add_shifted(across, prior, 1)

    def keep_values(self, threshold: float, weight: float) -> None:
        """Take for the values v those of the image, but 0 where their square is not above this."""
        image, kept = self._now.values, self._down.values
        torch.mul(image, image, out=kept)
        torch.gt(kept, threshold, out=kept)
        self._prior.values.addcmul_(image, kept, value=weight)

    def solve(self, data_weight: float, value_weight: float = 0.0) -> None:
        """Minimise |grad x - g|^2 + data_weight |k * x - b|^2 + value_weight |x - v|^2 exactly.

        `value_weight` is the one that `keep_values` was told, if it was called.
        """
        torch.fft.rfft2(self._prior.values, out=self._spectrum)
        torch.add(self._roughness, self._power, alpha=data_weight, out=self._factor)
        if value_weight:
            self._factor.add_(value_weight)
        self._parts.add_(self._data, alpha=data_weight).div_(self._factor)
        torch.fft.irfft2(self._spectrum, s=self._term.shape, out=self._now.values)


class _Torus:
    """An image on a torus, with the parts of it that pixels and their neighbours are.

    Attributes
    ----------
    values : Tensor, shape (B, C, h, w)
        The image.
    neighbours : list of list of (Tensor, Tensor)
        Down and across, views of all pixels but the first and of all but the last, and of the first
        and the last.
    """

    def __init__(self, values: Tensor) -> None:
        self.values = values
        self.neighbours = [
            [
                (values.narrow(axis, 1, side - 1), values.narrow(axis, 0, side - 1)),
                (values.narrow(axis, 0, 1), values.narrow(axis, side - 1, 1)),
            ]
            for axis, side in ((2, values.shape[2]), (3, values.shape[3]))
        ]


def _differences(image: _Torus, out: _Torus, axis: int) -> None:
    """Write each pixel's difference to the next into `out`."""
    for (after, before), (_, place) in zip(
        image.neighbours[axis], out.neighbours[axis], strict=True
    ):
        torch.sub(after, before, out=place)


def _add_shifted(image: _Torus, out: _Torus, axis: int) -> None:
    """Add each pixel of an image to the next pixel of `out`."""
    for (_, before), (after, _) in zip(image.neighbours[axis], out.neighbours[axis], strict=True):
        after.add_(before)
