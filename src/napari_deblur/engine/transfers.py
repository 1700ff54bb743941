"""Arrays to a device and back.

A graphics card can copy while it computes, if the memory on the computer's side is pinned (the
operating system may not move it) and the copy goes through a stream of its own.  Then nobody waits:
not the card for the next image, nor the processor, which reads the next block and writes the one
before while the card is at work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Direct", "Overlapped", "Transfers", "transfers_for"]


class Transfers(Protocol):
    """How arrays get to one device and back."""

    ahead: int
    """Blocks that may be under way when the next is begun."""

    def send(self, values: NDArray[np.float32]) -> torch.Tensor:
        """Return an array's values on the device; the array must stay as it is until `fetch`."""
        ...

    def fetch(self, values: torch.Tensor, into: NDArray[np.float32]) -> Callable[[], None]:
        """Have the result of everything sent before copied from the device into an array.

        Parameters
        ----------
        values : Tensor
            The result, float32.
        into : ndarray, float32
            Of the same shape.

        Returns
        -------
        callable
            Returns when the array holds the values; call it once.
        """
        ...


class Direct:
    """Copies at once, or not at all where the device works in the same memory.

    Parameters
    ----------
    device : torch.device
        Any.
    """

    ahead = 0

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def send(self, values: NDArray[np.float32]) -> torch.Tensor:
        """See `Transfers`."""
        return torch.from_numpy(values).to(self._device)

    def fetch(self, values: torch.Tensor, into: NDArray[np.float32]) -> Callable[[], None]:
        """See `Transfers`."""
        torch.from_numpy(into).copy_(values)
        return lambda: None


class Overlapped:
    """Copies through pinned memory and streams of their own, while a graphics card computes.

    Parameters
    ----------
    device : torch.device
        A CUDA device.
    """

    ahead = 1

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._in: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._out: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._sent: list[torch.Tensor] = []

    def send(self, values: NDArray[np.float32]) -> torch.Tensor:
        """See `Transfers`."""
        # Torch keeps a pinned block from being used anew until copies from it are done.
        pinned = torch.empty(values.shape, dtype=torch.float32, pin_memory=True)
        pinned.copy_(torch.from_numpy(values))
        with torch.cuda.stream(self._in):
            sent = pinned.to(self._device, non_blocking=True)
        torch.cuda.current_stream(self._device).wait_stream(self._in)
        self._sent.append(sent)
        return sent

    def fetch(self, values: torch.Tensor, into: NDArray[np.float32]) -> Callable[[], None]:
        """See `Transfers`."""
        values = values.contiguous()
        self._out.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._out):
            pinned = torch.empty(values.shape, dtype=torch.float32, pin_memory=True)
            pinned.copy_(values, non_blocking=True)
            done = self._out.record_event()
        # What one stream made and another uses must live until both are done with it: torch gives
        # freed memory to the stream that made it at once.
        kept = [values, *self._sent]
        self._sent = []

        def finish() -> None:
            done.synchronize()
            kept.clear()
            torch.from_numpy(into).copy_(pinned)

        return finish


def transfers_for(device: torch.device) -> Transfers:
    """Return the way of copying that suits a device."""
    return Overlapped(device) if device.type == "cuda" else Direct(device)
