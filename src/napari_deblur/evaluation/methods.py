"""Ways to restore an image that a benchmark can compare.

Every method takes a kernel; in a blind run all of them take the one that the analysis
network estimates, so that their figures differ only by the deconvolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from napari_deblur.errors import InputError
from napari_deblur.evaluation.pictures import channels_first, channels_last

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Image: TypeAlias = NDArray[np.float32]
    Kernel: TypeAlias = NDArray[np.float32]

__all__ = ["METHODS", "Method", "find_method"]

METHODS = ("network", "corrected", "front-end", "hyper-laplacian", "wiener", "blurry")
"""Names that `find_method` knows."""

# The quadratic prior wants a smaller weight than the sparse one; both suit noise of about 1 %.
_WEIGHTS = {"hyper-laplacian": 4000.0, "wiener": 500.0}


@dataclass(frozen=True)
class Method:
    """A way to restore an image.

    Attributes
    ----------
    name
        One of `METHODS`.
    estimate
        Blurry image ``(C, H, W)`` in [0, 1], and the side in pixels that the benchmark says its
        kernel has (None where it does not), to kernel ``(m, m)``.
    deconvolve
        Blurry image and kernel to the restored image, shape and range of the input.
    needs_kernel
        Whether `deconvolve` looks at the kernel.
    """

    name: str
    estimate: Callable[[Image, int | None], Kernel]
    deconvolve: Callable[[Image, Kernel | None], Image]
    needs_kernel: bool = True


def find_method(
    name: str,
    *,
    model: str = "default",
    device: str = "auto",
    tile: int | None = None,
    kernel_size: int | None = None,
    refine: int | None = None,
    weight: float | None = None,
    noise: float | None = None,
    more: Mapping[str, Any] | None = None,
) -> Method:
    """Build a method by its name.

    Parameters
    ----------
    name
        ``network``: the pair of networks.  ``corrected``: the pair, and every kernel, also a
        known one, corrected on the image first.  ``front-end``: the deconvolution that the pair's
        synthesis network stands on, without it.  ``hyper-laplacian``: half-quadratic splitting
        (Krishnan and Fergus, NIPS 2009).  ``wiener``: one linear filter with a gradient
        prior.  ``blurry``: the input itself, what every method must beat.
    model, device, tile, kernel_size, refine
        Passed on to the engine (see `napari_deblur.deblur`); None leaves its default.  `device`
        also serves the classical methods.  A given `kernel_size` overrides what a benchmark tells.
    weight
        Weight of the data term of the classical methods; None takes their default.
    noise
        Standard deviation of the noise, told to ``network``, ``corrected`` and ``front-end``; None
        has it measured.
    more
        Further keywords of `napari_deblur.deblur` and `napari_deblur.estimate_kernel`.  All but
        ``network`` use them for the kernel only.

    Raises
    ------
    InputError
        If no method has this name, the weight is not positive, the model has no front end, or
        `more` has a gamma for a method that does not know it.
    """
    if name not in METHODS:
        raise InputError(f"Unknown method {name!r}; choose one of {', '.join(METHODS)}")
    if weight is not None and (name not in _WEIGHTS or not 0 < weight < np.inf):
        raise InputError(
            f"A weight of {weight:g} for method {name!r} is not possible; give a positive number "
            f"with one of {', '.join(_WEIGHTS)}"
        )
    more = dict(more or {})
    if more.get("gamma", 1) != 1 and name not in ("network", "blurry"):
        raise InputError(
            f"Method {name!r} does not work in linear light (gamma {more['gamma']:g}); leave gamma "
            "out, or use method 'network'"
        )
    estimate = _estimator(model, device, tile, kernel_size, refine, more)
    if name == "blurry":
        return Method(name, estimate, lambda blurry, _: blurry, needs_kernel=False)
    if name == "network":
        return Method(name, estimate, _network(model, device, tile, {**more, "noise": noise}))
    if name == "corrected":
        return Method(name, estimate, _corrected(model, device, tile, {**more, "noise": noise}))
    if name == "front-end":
        return Method(name, estimate, _front_end(model, device, noise))
    return Method(name, estimate, _classical(name, weight or _WEIGHTS[name], device))


def _estimator(
    model: str,
    device: str,
    tile: int | None,
    kernel_size: int | None,
    refine: int | None,
    more: Mapping[str, Any],
) -> Callable[[Image, int | None], Kernel]:
    def estimate(blurry: Image, told: int | None) -> Kernel:
        from napari_deblur.engine.api import estimate_kernel
        from napari_deblur.engine.refinement import DEFAULT_ROUNDS

        return estimate_kernel(
            channels_last(blurry),
            model=model,
            device=device,
            tile=tile,
            kernel_size=kernel_size or told,
            refine=DEFAULT_ROUNDS if refine is None else refine,
            **more,
        )

    return estimate


def _network(
    model: str, device: str, tile: int | None, more: Mapping[str, Any]
) -> Callable[[Image, Kernel | None], Image]:
    def deconvolve(blurry: Image, kernel: Kernel | None) -> Image:
        import napari_deblur

        restored = napari_deblur.deblur(
            channels_last(blurry), kernel, model=model, device=device, tile=tile, **more
        )
        return channels_first(restored)

    return deconvolve


def _corrected(
    model: str, device: str, tile: int | None, more: Mapping[str, Any]
) -> Callable[[Image, Kernel | None], Image]:
    network = _network(model, device, tile, more)

    def deconvolve(blurry: Image, kernel: Kernel | None) -> Image:
        import napari_deblur

        if kernel is None:
            raise AssertionError("a correction needs a kernel")
        better = napari_deblur.correct_kernel(channels_last(blurry), kernel, device=device)
        return network(blurry, better)

    return deconvolve


def _front_end(
    model: str, device: str, noise: float | None
) -> Callable[[Image, Kernel | None], Image]:
    def deconvolve(blurry: Image, kernel: Kernel | None) -> Image:
        import torch

        from napari_deblur.engine.auto import model_for
        from napari_deblur.engine.devices import pick_device
        from napari_deblur.engine.layout import open_picture
        from napari_deblur.engine.noise import noise_levels
        from napari_deblur.engine.pair import load_pair

        if kernel is None:
            raise AssertionError("a front end needs a kernel")
        pair = load_pair(model_for(model, kernel), pick_device(device))
        if pair.synthesis.config.front_end == "none":
            raise InputError(f"Model {model!r} has no front end; choose another method or model")
        # Told of the noise as the whole network is, or the two could not be compared.
        picture = open_picture(channels_last(blurry), value_range=(0, 1))
        sigma = torch.from_numpy(noise_levels(pair, picture, kernel, noise)).to(pair.device)
        batch = torch.from_numpy(blurry)[:, None].to(pair.device)
        one = torch.from_numpy(np.ascontiguousarray(kernel)).to(pair.device)
        with torch.inference_mode():
            kernels = one.expand(len(batch), -1, -1)
            restored = pair.synthesis.deconvolve(batch, kernels, sigma)[0]
        return np.asarray(restored[:, 0].cpu().numpy(), dtype=np.float32)

    return deconvolve


def _classical(name: str, weight: float, device: str) -> Callable[[Image, Kernel | None], Image]:
    def deconvolve(blurry: Image, kernel: Kernel | None) -> Image:
        import torch

        from napari_deblur.blur.deconvolution import hyper_laplacian, wiener
        from napari_deblur.engine.devices import pick_device

        where = pick_device(device)
        batch = torch.from_numpy(blurry)[None].to(where)
        kernels = torch.from_numpy(np.ascontiguousarray(kernel))[None].to(where)
        with torch.inference_mode():
            if name == "wiener":
                restored = wiener(batch, kernels, [weight])[:, 0]
            else:
                restored = hyper_laplacian(batch, kernels, weight)
        return np.asarray(restored[0].cpu().numpy(), dtype=np.float32)

    return deconvolve
