"""Deblurring on a cluster of dask.distributed: each file a task, or each block of one file.

The workers read and write the files themselves, so they need the same file system as this program.
What a worker has not finished when it is lost is done again by another: every task writes a file of
its own, or a window of a file that nobody else writes to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_deblur.cli.messages import Message, kept_messages, note
from napari_deblur.engine.lazy import DEFAULT_BLOCK, LazyResult, deblur_stack_lazy
from napari_deblur.engine.options import Options
from napari_deblur.errors import InputError, OutOfMemoryError

if TYPE_CHECKING:
    import dask.array as da
    from distributed import Client
    from numpy.typing import ArrayLike

    from napari_deblur.cli.outputs import Job
    from napari_deblur.cli.progress import Report
    from napari_deblur.cli.work import Settings
    from napari_deblur.engine.stacks import Stack

__all__ = ["connect", "deblur_blocks", "run_jobs"]

_PATIENCE = 10  # seconds for the scheduler to answer
_LARGEST_BLOCK = 4096


@contextmanager
def connect(address: str) -> Iterator[Client]:
    """Connect to a scheduler, which dask then uses for everything within the block.

    Parameters
    ----------
    address
        ``tcp://host:port``, or a scheduler file.

    Raises
    ------
    InputError
        If distributed is not installed, or no scheduler answers.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError(
            f"--scheduler '{address}' needs dask.distributed, which is not installed: "
            "pip install 'napari-deblur[dask]'"
        ) from error
    try:
        if Path(address).is_file():
            client = Client(scheduler_file=address, timeout=_PATIENCE)
        else:
            client = Client(address, timeout=_PATIENCE)
    except (OSError, ValueError) as error:
        raise InputError(
            f"no scheduler answers at '{address}': start one with 'dask scheduler', and workers "
            "with 'dask worker ADDRESS --nthreads 1'"
        ) from error
    with client:
        if not client.scheduler_info()["workers"]:
            note(f"the scheduler at '{address}' has no workers yet; waiting for one")
        yield client


def run_jobs(
    client: Client, run: Callable[[Job], None], jobs: Sequence[Job], report: Report
) -> Iterator[tuple[Job, list[Message], Exception | None]]:
    """Run a function on every job, each as one task.

    Yields
    ------
    job, messages, error
        In the order in which they are done: what was said, and what went wrong if anything did.
    """
    from distributed import as_completed

    futures = {client.submit(_keeping, run, job, pure=False): job for job in jobs}
    try:
        for done, future in enumerate(as_completed(list(futures)), 1):
            error = _explain(future.exception())
            messages = [] if error else future.result()
            future.release()
            report("deblurring", done, len(jobs))
            yield futures[future], messages, error
    finally:
        client.cancel(list(futures))


def _explain(error: Exception | None) -> Exception | None:
    from distributed import KilledWorker

    if not isinstance(error, KilledWorker):
        return error
    return OutOfMemoryError(
        "every worker that tried it was lost, perhaps for want of memory: give the workers more, "
        "or smaller tiles (--tile)"
    )


def _keeping(run: Callable[[Job], None], job: Job) -> list[Message]:
    with kept_messages() as messages:
        run(job)
    return messages


def deblur_blocks(
    client: Client,
    stack: Stack,
    known: Sequence[ArrayLike] | None,
    settings: Settings,
    out: Any,
    *,
    report: Report,
    label: str,
    one_kernel: bool,
) -> Sequence[Any]:
    """Deblur one file, block by block, into `out`; see `napari_deblur.cli.work.deblur_stack`.

    Returns
    -------
    sequence of numpy.ndarray
        The kernel of every slice.
    """
    options = Options(**settings.for_images(), channel_axis=stack.channel_axis)
    report(f"{label}: estimating the kernel", 0, 1)
    lazy: LazyResult = deblur_stack_lazy(
        stack, known, options, one_kernel=one_kernel, block=_block(out, stack)
    )
    for done, total in _store(client, lazy.image, out):
        report(f"{label}: deblurring", done, total)
    return lazy.kernels


def _chunks(out: Any) -> tuple[int, ...] | None:
    """What must be written as a whole, where an array is stored in chunks."""
    return getattr(out, "shards", None) or getattr(out, "chunks", None)


def _block(out: Any, stack: Stack) -> int:
    """Side of a block of whole chunks, about as large as by default."""
    chunks = _chunks(out)
    if chunks is None:
        return DEFAULT_BLOCK
    step = math.lcm(*(chunks[axis] for axis in stack.rows_and_columns))
    return DEFAULT_BLOCK if step > _LARGEST_BLOCK else step * max(1, DEFAULT_BLOCK // step)


def _store(client: Client, image: da.Array, out: Any) -> Iterator[tuple[int, int]]:
    """Compute every block and put it in its place; yields how many are done, and how many are."""
    from dask.array.core import slices_from_chunks
    from dask.delayed import delayed
    from distributed import as_completed

    blocks = image.to_delayed().ravel().tolist()
    regions = slices_from_chunks(image.chunks)
    shared = _is_shared(out, image)
    if shared:  # the workers write
        target = delayed(out, traverse=False, pure=False)
        pairs = zip(blocks, regions, strict=True)
        blocks = [delayed(_write)(each, target, region) for each, region in pairs]
    futures = dict(zip(client.compute(blocks), regions, strict=True))
    try:
        for done, future in enumerate(as_completed(list(futures)), 1):
            error = _explain(future.exception())
            if error is not None:
                raise error
            values = future.result()
            if not shared:
                out[futures[future]] = values
            future.release()
            yield done, len(futures)
    finally:
        client.cancel(list(futures))


def _is_shared(out: Any, image: da.Array) -> bool:
    """Whether several processes can write blocks of `out` without sharing a chunk."""
    if isinstance(out, np.ndarray):
        return False
    chunks = _chunks(out)
    return chunks is None or all(
        len(sides) == 1 or sides[0] % chunk == 0
        for sides, chunk in zip(image.chunks, chunks, strict=True)
    )


def _write(values: Any, out: Any, region: tuple[slice, ...]) -> None:
    out[region] = values
