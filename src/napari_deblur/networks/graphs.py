"""A function of one image, recorded on a graphics card and played back for images of its shape.

A U-Net is some hundred small pieces of work.  For small tiles a card does each faster than a
program can hand it the next; a CUDA graph hands over all of them at once.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

import torch

if TYPE_CHECKING:
    from torch import Tensor

    Function: TypeAlias = Callable[[Tensor], Tensor]

__all__ = ["Recording", "Replayed"]

# Recording takes the time of some calls: it begins when as many have shown that there are more.
_CALLS_BEFORE = 8
_WARM_UPS = 3  # what torch's documentation asks for
# The work on larger images keeps a card busy for longer than it takes to hand it over.
_LARGEST = 1 << 20
_ONE_AT_A_TIME = threading.Lock()  # torch records one graph at a time in a process


class Recording:
    """What a function did with one image on a graphics card, ready to be done again.

    Parameters
    ----------
    function : callable
        From a tensor (B, C, H, W) to one; works on the card alone, without looking at values, and
        on the same memory in every call but for what it allocates itself.
    image : Tensor, shape (B, C, H, W)
        An image on a CUDA device.

    Raises
    ------
    RuntimeError
        When the function cannot be recorded, or memory does not suffice.
    """

    @torch.inference_mode()
    def __init__(self, function: Function, image: Tensor) -> None:
        computing = torch.cuda.current_stream(image.device)
        side: torch.cuda.Stream = torch.cuda.Stream(image.device)  # type: ignore[no-untyped-call]
        self._image = image.clone()
        self._graph = torch.cuda.CUDAGraph()
        side.wait_stream(computing)
        # What fails while it is recorded may leave another stream than before as the current one;
        # this context puts it back.
        with torch.cuda.stream(side):
            for _ in range(_WARM_UPS):
                function(self._image)
            # Other threads may use the card meanwhile: only this one must not allocate.
            with torch.cuda.graph(self._graph, stream=side, capture_error_mode="thread_local"):
                self._result = function(self._image)
        computing.wait_stream(side)

    @torch.inference_mode()
    def __call__(self, image: Tensor) -> Tensor:
        """Do the same with another image of the same shape, dtype and device."""
        self._image.copy_(image)
        self._graph.replay()
        # The next call writes over the recorded result.
        return self._result.clone()


class Replayed:
    """A function that is recorded once it has been called often with images of one shape.

    Parameters
    ----------
    function : callable
        See `Recording`.
    """

    def __init__(self, function: Function) -> None:
        self._function = function
        self._calls: Counter[torch.Size] = Counter()
        self._shape: torch.Size | None = None
        self._recording: Recording | None = None

    def __call__(self, image: Tensor) -> Tensor:
        """Call the function, or do again what was recorded."""
        if self._recording is None:
            self._record(image)
        if self._recording is None or image.shape != self._shape:
            return self._function(image)
        return self._recording(image)

    def _record(self, image: Tensor) -> None:
        """Record the function if it is time, and possible."""
        self._calls[image.shape] += 1
        rows, columns = image.shape[-2:]
        if self._calls[image.shape] != _CALLS_BEFORE or rows * columns > _LARGEST:
            return
        # Where it cannot be recorded it works as it has until now.
        with _ONE_AT_A_TIME, suppress(RuntimeError):
            self._recording, self._shape = Recording(self._function, image), image.shape
