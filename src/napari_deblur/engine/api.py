"""The public functions: one call, one result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from napari_deblur.defaults import DEFAULT_ROUNDS

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from napari_deblur.engine.arrays import ArraySource

__all__ = ["correct_kernel", "deblur", "estimate_kernel"]


def estimate_kernel(
    image: ArraySource | ArrayLike,
    *,
    model: str | Path = "default",
    channel_axis: int | None = None,
    device: str = "auto",
    tile: int | None = None,
    region: tuple[slice, slice] | NDArray[np.bool_] | None = None,
    kernel_size: int | None = None,
    refine: int = DEFAULT_ROUNDS,
    gamma: float = 1.0,
    saturation: float | None = None,
) -> NDArray[np.float32]:
    """Estimate the blur kernel of an image.

    The analysis network of Kaufman and Fattal (CVPR 2020, section 3.1): correlations of the luma's
    features, decoded to a kernel.

    Parameters
    ----------
    image, model, channel_axis, device, tile
        See `deblur`.
    region : pair of slice, or array of shape (H, W), optional
        Rows and columns, or a mask, of the part of the image to look at; at least 16 x 16 pixels,
        better several hundred.  Everything by default.
    kernel_size, refine, gamma, saturation
        See `deblur`.

    Returns
    -------
    ndarray of shape (m, m), float32
        Convolution kernel with its centroid in the middle, non-negative, sum 1; m is
        `kernel_size`, or the model's, or larger if the blur is.
        For an image without any texture, the kernel that changes nothing, and a warning.

    Raises
    ------
    InputError, ModelError, DeviceError, WeightsError, OutOfMemoryError
        See `deblur`.

    Examples
    --------
    >>> from skimage.data import clock
    >>> import napari_deblur
    >>> kernel = napari_deblur.estimate_kernel(clock())
    """
    from napari_deblur.engine.run import drain, kernel_steps

    steps = kernel_steps(
        image,
        model=model,
        channel_axis=channel_axis,
        device=device,
        tile=tile,
        region=region,
        kernel_size=kernel_size,
        refine=refine,
        gamma=gamma,
        saturation=saturation,
    )
    return drain(steps).kernel


def correct_kernel(
    image: ArraySource | ArrayLike,
    kernel: ArrayLike,
    *,
    channel_axis: int | None = None,
    device: str = "auto",
    region: tuple[slice, slice] | NDArray[np.bool_] | None = None,
    gamma: float = 1.0,
    saturation: float | None = None,
) -> NDArray[np.float32]:
    """Correct a blur kernel that is nearly right by the image that it blurred.

    A kernel that was measured, with a point of light or a motion sensor, seldom is exactly that of
    the picture.  `estimate_kernel` and `deblur` do this with the kernels that they find.

    Parameters
    ----------
    image, channel_axis, device
        See `deblur`.
    kernel : array of shape (m, m)
        Convolution kernel, m odd: real, finite, non-negative, not all zero.
    region, gamma, saturation
        See `estimate_kernel`.

    Returns
    -------
    ndarray of shape (m + 8, m + 8), float32
        Convolution kernel with its centroid in the middle, non-negative, sum 1.

    Raises
    ------
    InputError, KernelError, DeviceError, WeightsError
        See `deblur`.

    Examples
    --------
    >>> from skimage.data import clock
    >>> import napari_deblur
    >>> measured = napari_deblur.estimate_kernel(clock())
    >>> kernel = napari_deblur.correct_kernel(clock(), measured)
    """
    from napari_deblur.blur.kernel import check_kernel
    from napari_deblur.engine.correction import correct_given
    from napari_deblur.engine.devices import pick_device
    from napari_deblur.engine.options import Options
    from napari_deblur.engine.pair import LARGEST_KERNEL
    from napari_deblur.engine.region import find_region

    options = Options(
        channel_axis=channel_axis, device=device, region=region, gamma=gamma, saturation=saturation
    )
    picture = options.open(image)
    area = find_region(options.region, picture.layout.size)
    given = check_kernel(kernel, largest=LARGEST_KERNEL)
    return correct_given(picture, area, given, pick_device(device))


def deblur(  # noqa: PLR0913  one parameter for each option
    image: ArraySource | ArrayLike,
    kernel: ArrayLike | None = None,
    *,
    model: str | Path = "default",
    channel_axis: int | None = None,
    device: str = "auto",
    tile: int | None = None,
    region: tuple[slice, slice] | NDArray[np.bool_] | None = None,
    kernel_size: int | None = None,
    refine: int = DEFAULT_ROUNDS,
    gamma: float = 1.0,
    saturation: float | None = None,
    field: Literal["uniform", "grid"] = "uniform",
    grid: tuple[int, int] | None = None,
    noise: float | None = None,
    value_range: tuple[float, float] | None = None,
    out: Any = None,
) -> Any:
    """Remove the blur of a shaken camera from an image.

    Kaufman and Fattal, "Deblurring using Analysis-Synthesis Networks Pair", CVPR 2020: one network
    estimates the kernel, another deblurs with it.

    Intensities are taken as they stand and assumed linear in light; a gamma curve is removed, and
    applied again, only if `gamma` says so.  `napari_deblur.engine.layout` says how values are
    scaled on the way in and out; the affine scaling changes no kernel.

    Parameters
    ----------
    image : array of shape (H, W), (H, W, 1), (H, W, 3), (H, W, 4), or 3-D with `channel_axis`
        Grey, RGB, or RGB with alpha; integers or floats, finite, at least 16 x 16 pixels.  Memory
        maps, Zarr and dask arrays are read piece by piece.  It is never written to.
    kernel : array of shape (n, n) or (rows, columns, n, n), optional
        A known convolution kernel of any odd size up to 171 (up to the model's m, if the model
        has no deconvolution): real, finite, non-negative, not all zero; it is scaled to sum 1.
        Four axes give each cell of a grid over the image its own kernel, as `field` of a result
        of `napari_deblur.engine.run` holds them.  Estimated from the image by default.
    model : str or Path
        A model's name (``napari-deblur models list``), or a folder that holds
        `analysis.safetensors` and `synthesis.safetensors`.  "default" and "auto" deblur with the
        pair for kernels of the size that was found or given.  "auto" looks for kernels of up
        to 85 pixels in any case, which takes longer; "default" does so where the blur-size
        classifier, or a quick look at a shrunk image, finds them likely.
    channel_axis : int, optional
        Axis of the channels of a 3-D array, which then all are image channels.  Without it a 3-D
        array must have 1, 3 (RGB) or 4 (RGBA) values on its last axis.
    device : str
        "auto" (the best there is), "cpu", "cuda", "cuda:0" (and so on), or "mps".
    tile : int, optional
        Side in pixels, from 64 up, of the tiles that are computed one after the other; by default
        chosen from the free memory.  It hardly changes the result.  Halved as often as needed when
        memory does not suffice.
    region : pair of slice, or array of shape (H, W), optional
        Where the kernel is estimated; see `estimate_kernel`.
    kernel_size : int, optional
        Side in pixels of the kernel that is estimated: odd, from 3 to 171, and larger than the
        blur.  By default the model's m, and twice as much as long as the refined kernel reaches
        the rim and a larger one explains the image better; for the models "default" and "auto"
        see `model`.  The network looks for kernels larger than it knows on a shrunk image.
    refine : int
        Rounds on each scale in which the estimated kernel is improved on the image itself, by
        turns with a sharp image of strong edges.  0 takes the network's kernel as it is: faster,
        and less precise.
    gamma : float
        Exponent, from 0.2 to 5, of the curve that makes values proportional to light: they are
        scaled so that white is 1, raised to this power, deblurred, and encoded again.  2.2 suits
        photographs from a camera; 1 takes values as they stand.
    saturation : float, optional
        Value, in the image's own units, from which pixels count as clipped.  What light they miss
        is predicted from all others, for the kernel and for the deconvolution.  By default it is
        found, where values pile up at the image's maximum; ``inf`` turns that off.
    field : {"uniform", "grid"}
        "uniform" takes the blur to be the same everywhere.  "grid" looks for kernels that vary
        over the image: those of a camera that also rolled about its optical axis, or, where that
        does not explain them, one for each cell of a grid.  Where the image gives no evidence of
        that, one kernel is used as before.
    grid : tuple of int, optional
        Rows and columns of the grid; chosen from the size of the image and of its blur by default.
    noise : float, optional
        Standard deviation of the noise in the image's own units.  Measured by default, and raised
        by what the kernel leaves unexplained, because a kernel that errs is to be trusted less.
        Larger values give smoother results.
    value_range : tuple of float, optional
        The values that count as black and white for the networks, for instance those of a whole
        stack for each of its slices; by default found from the image.
    out : array, optional
        Where to write the result: anything of the image's shape and dtype that takes slices, such
        as a memory map or a Zarr array.

    Returns
    -------
    ndarray
        Of the input's shape and dtype; alpha untouched; finite.  `out` if it was given.

    Raises
    ------
    InputError
        When the image or a parameter cannot be used.
    KernelError
        When `kernel` is not a kernel, or is larger than the model's.
    ModelError
        When there is no such model.
    DeviceError
        When there is no such device.
    WeightsError
        When the weights are missing or damaged.
    OutOfMemoryError
        When not even the smallest tile fits.
    OutputError
        When `out` does not fit.

    Examples
    --------
    >>> from skimage.data import clock
    >>> import napari_deblur
    >>> sharp = napari_deblur.deblur(clock())
    """
    from napari_deblur.engine.run import deblur_steps, drain

    steps = deblur_steps(
        image,
        kernel,
        model=model,
        channel_axis=channel_axis,
        device=device,
        tile=tile,
        region=region,
        kernel_size=kernel_size,
        refine=refine,
        gamma=gamma,
        saturation=saturation,
        field=field,
        grid=grid,
        noise=noise,
        value_range=value_range,
        out=out,
    )
    return drain(steps).image
