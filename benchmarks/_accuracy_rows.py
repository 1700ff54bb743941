"""Which rows each section of the accuracy report has: what restores the images, from which kernels.

A row is a method and where its kernels come from.  Rows that share an estimator share its kernels,
which are found once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from napari_deblur.evaluation.methods import Method, find_method

TRUTH = "truth"  # the estimator of rows with known kernels


@dataclass(frozen=True)
class Row:
    """A line of a table.

    Attributes
    ----------
    key, label
        Its name in the results, and in the table.
    method
        What restores the images, as `find_method` names it.
    estimator
        Name of what finds the kernels, from `ESTIMATORS`, or `TRUTH`.
    options
        Further keywords of `find_method` for the restoration.
    groups
        The groups of a benchmark that it is measured on; all by default.
    """

    key: str
    label: str
    method: str = "network"
    estimator: str = "default"
    options: dict[str, Any] = field(default_factory=dict)
    groups: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        return self.estimator == TRUTH

    def build(self, model: str, device: str) -> Method:
        """Return the method, with the row's estimator."""
        built = find_method(self.method, model=model, device=device, **self.options)
        if self.known or not built.needs_kernel:
            return built
        return replace(built, estimate=ESTIMATORS[self.estimator](model, device))


def _engine(**options: Any) -> Callable[[str, str], Any]:
    """An estimator that is the engine with some options."""

    def build(model: str, device: str) -> Any:
        return find_method("network", **{"model": model, "device": device, **options}).estimate

    return build


def _untold(model: str, device: str) -> Any:
    """The engine, not told how large the kernel is."""
    estimate = _engine()(model, device)
    return lambda blurry, _: estimate(blurry, None)


def _auto(_: str, device: str) -> Any:
    """The engine's own choice of the pair and of the kernel's first size."""
    estimate = _engine()("auto", device)
    return lambda blurry, _: estimate(blurry, None)


def _no_network(_: str, device: str) -> Any:
    """The refinement from nothing: no network's kernel among its starts."""

    def estimate(blurry: Any, told: int | None) -> Any:
        from napari_deblur.blur.alternation import straight_start
        from napari_deblur.engine.devices import pick_device
        from napari_deblur.engine.options import Options
        from napari_deblur.engine.refinement import DEFAULT_ROUNDS, refine_kernel
        from napari_deblur.engine.region import find_region
        from napari_deblur.engine.run import drain
        from napari_deblur.engine.views import look_at
        from napari_deblur.evaluation.pictures import channels_last

        picture = Options().open(channels_last(blurry))
        frames = [(picture, find_region(None, picture.layout.size))]
        views = look_at(frames, pick_device(device))
        return drain(refine_kernel(views, straight_start(told or 31), DEFAULT_ROUNDS))

    return estimate


ESTIMATORS: dict[str, Callable[[str, str], Any]] = {
    "default": _engine(),
    "network alone": _engine(refine=0),
    "no network": _no_network,
    "untold": _untold,
    "auto": _auto,
    "saturation ignored": _engine(more={"saturation": math.inf}),
}

_BLURRY = Row("blurry", "blurry", "blurry")
_BLIND = Row("blind", "**blind, refined (default)**")
_CLASSICAL = Row("blind-hl", "blind, refined, hyper-Laplacian deconvolution", "hyper-laplacian")
_ALONE = Row(
    "alone", "blind, the network's kernel as it is (`--refine 0`)", estimator="network alone"
)
_NOTHING = Row("nothing", "blind, refined from nothing (no network)", estimator="no network")
_KNOWN = (
    Row("known", "known kernel, network", estimator=TRUTH),
    Row("known-corrected", "known kernel, corrected on the image", "corrected", TRUTH),
    Row("known-fe", "known kernel, the network's front end alone", "front-end", TRUTH),
    Row("known-hl", "known kernel, hyper-Laplacian deconvolution", "hyper-laplacian", TRUTH),
    Row("known-wiener", "known kernel, Wiener deconvolution", "wiener", TRUTH),
)

_AUTO = Row("auto", '`model="auto"`, the kernel\'s size not told', estimator="auto")
_UNTOLD = Row("untold", "blind, refined, the kernel's size not told", estimator="untold")
_IGNORED = {"more": {"saturation": math.inf}}
_SATURATION = (
    Row(
        "clipped",
        "blind, clipped pixels taken as they are (`--saturation inf`)",
        estimator="saturation ignored",
        options=_IGNORED,
        groups=("saturated",),
    ),
    Row(
        "known-clipped",
        "known kernel, network, clipped pixels taken as they are",
        estimator=TRUTH,
        options=_IGNORED,
        groups=("saturated",),
    ),
)

LEVIN = (_BLURRY, _BLIND, _CLASSICAL, _AUTO, _ALONE, _NOTHING, *_KNOWN)
LAI = (_BLURRY, _BLIND, _CLASSICAL, _UNTOLD, _AUTO, *_SATURATION, _ALONE, _NOTHING, *_KNOWN)
KODAK = (_BLURRY, _BLIND, _CLASSICAL, _AUTO, _ALONE, _NOTHING, *_KNOWN)
NOISES = (0.0, 0.005, 0.01, 0.02)


def noise_rows(noise: float) -> tuple[Row, ...]:
    """The network against its front end, both told the noise, and left to measure it."""
    told = {"noise": noise}
    return (
        Row(f"{noise:g}-blurry", "blurry", "blurry"),
        Row(f"{noise:g}-front-end", "front end", "front-end", TRUTH, told),
        Row(f"{noise:g}-network", "network", "network", TRUTH, told),
        Row(f"{noise:g}-measured", "network, noise measured", "network", TRUTH),
    )
