"""Architecture as data: frozen descriptions of the networks that travel inside a weights file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, get_args

from napari_deblur.errors import InputError

__all__ = [
    "FIXED_FEATURES",
    "AnalysisConfig",
    "ClassifierConfig",
    "CorrectionConfig",
    "Decoder",
    "FrontEnd",
    "Guidance",
    "Head",
    "SynthesisConfig",
]

Decoder = Literal["paper", "residual"]
Head = Literal["relu", "softplus", "softmax"]
Guidance = Literal["none", "additive", "multiplicative", "both"]
FrontEnd = Literal["none", "wiener", "hyper-laplacian", "hyper-laplacian-pair", "shrinkage-fields"]

_DERIVATIVES = (
    "horizontal",
    "vertical",
    "diagonal",
    "antidiagonal",
    "horizontal2",
    "vertical2",
)
_TRANSFORMS = ("", ":rectified", ":squared", ":signed-square", ":signed-root")
#: Names of the fixed feature channels: a derivative, or a point-wise function of one.
FIXED_FEATURES: tuple[str, ...] = tuple(d + t for t in _TRANSFORMS for d in _DERIVATIVES)


def _plain(value: Any) -> Any:
    """Tuples as lists, so that a description survives JSON unchanged."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _is_whole(value: Any, smallest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= smallest


class _Config:
    """Conversion to and from plain dictionaries, and the checks that all descriptions share."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values only (numbers, strings, lists, dictionaries), fit for JSON."""
        plain: dict[str, Any] = _plain(asdict(self))  # type: ignore[call-overload]
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild from `to_dict`'s result.

        Raises
        ------
        InputError
            If a key is unknown or missing, or a value is not allowed.
        """
        known = [field.name for field in fields(cls)]  # type: ignore[arg-type]
        for key in values:
            if key not in known:
                raise InputError(
                    f"{cls.__name__} has no key {key!r}; it knows {', '.join(known)}; "
                    "remove the key or use a newer napari-deblur"
                )
        try:
            return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
        except TypeError as error:
            raise InputError(f"{cls.__name__} is incomplete: {error}; add the key") from error

    def _whole(self, name: str, smallest: int, *, odd: bool = False) -> None:
        value = getattr(self, name)
        if not _is_whole(value, smallest) or (odd and value % 2 == 0):
            kind = "an odd" if odd else "a"
            raise InputError(
                f"{type(self).__name__}.{name} is {value!r}; "
                f"it must be {kind} whole number of at least {smallest}; change it"
            )

    def _choice(self, name: str, allowed: tuple[Any, ...]) -> None:
        value = getattr(self, name)
        if value not in allowed:
            choices = ", ".join(map(repr, allowed))
            raise InputError(f"{type(self).__name__}.{name} is {value!r}; choose one of {choices}")

    def _switch(self, name: str) -> None:
        if not isinstance(getattr(self, name), bool):
            raise InputError(
                f"{type(self).__name__}.{name} is {getattr(self, name)!r}; "
                "it must be true or false; change it"
            )


@dataclass(frozen=True, kw_only=True)
class AnalysisConfig(_Config):
    """The analysis network: features, their correlations, a decoder to the kernel.

    Attributes
    ----------
    kernel_size
        Side m of the estimated kernel in pixels, odd.
    radius
        Largest lag of the finest level's correlations in pixels; at least ``m // 2``.  Every
        further level has half the radius of the one before, rounded up.
    levels
        Pyramid levels, each half as wide as the one before.
    filters, filter_size, convolutions
        Learned features: so many convolutions of so many filters of that side, per level.
    learned_channels
        Channels that the learned features are reduced to before they are correlated; 0 leaves the
        learned features out.
    fixed_features
        Names from `FIXED_FEATURES`: channels that are correlated beside the learned ones.
    decoder
        ``"paper"``: coarse to fine with transposed convolutions (section 3.1).  ``"residual"``: a
        small residual U-Net over the lag maps with global context.
    decoder_channels
        Channels of the decoder's maps (of the finest level for ``"residual"``).
    decoder_depth
        Residual decoder only: residual blocks on each of its levels.
    head
        What makes the kernel non-negative: ``"relu"`` (paper), ``"softplus"`` or ``"softmax"``.
    """

    kernel_size: int
    radius: int
    levels: int = 4
    filters: int = 64
    filter_size: int = 7
    convolutions: int = 3
    learned_channels: int = 32
    fixed_features: tuple[str, ...] = ()
    decoder: Decoder = "paper"
    decoder_channels: int = 32
    decoder_depth: int = 2
    head: Head = "relu"

    def __post_init__(self) -> None:
        self._whole("kernel_size", 3, odd=True)
        self._whole("radius", self.kernel_size // 2)
        for name in ("levels", "filters", "convolutions", "decoder_channels", "decoder_depth"):
            self._whole(name, 1)
        self._whole("filter_size", 1, odd=True)
        self._whole("learned_channels", 0)
        self._choice("decoder", get_args(Decoder))
        self._choice("head", get_args(Head))
        if not isinstance(self.fixed_features, tuple):
            raise InputError(
                f"AnalysisConfig.fixed_features is {self.fixed_features!r}; give a list of names"
            )
        for name in self.fixed_features:
            if name not in FIXED_FEATURES:
                raise InputError(
                    f"fixed feature {name!r} is unknown; choose from {', '.join(FIXED_FEATURES)}"
                )
        if not self.channels:
            raise InputError(
                "learned_channels is 0 and fixed_features is empty, so there is nothing to "
                "correlate; give at least one of them"
            )

    @property
    def channels(self) -> int:
        """Channels that are correlated."""
        return self.learned_channels + len(self.fixed_features)

    @property
    def pairs(self) -> int:
        """Pairs of channels, and so lag maps, per level."""
        return self.channels * (self.channels + 1) // 2

    @property
    def radii(self) -> tuple[int, ...]:
        """Largest lag of every level, finest first."""
        radii = [self.radius]
        while len(radii) < self.levels:
            radii.append((radii[-1] + 1) // 2)
        return tuple(radii)


@dataclass(frozen=True, kw_only=True)
class SynthesisConfig(_Config):
    """The synthesis network: a U-Net that the kernel guides, behind a classical deconvolution.

    Attributes
    ----------
    kernel_size
        Side m of the largest kernel in pixels, odd; smaller kernels are padded with zeros.
    image_channels
        Channels of the images: 3, or 1 where every channel goes through alone.
    channels
        Channels of the U-Net's levels, finest first; one more than there are down-samplings.
    block_convolutions
        3x3 convolutions per layer of the U-Net.
    residual_blocks
        Whether a layer's input is added to its output.
    guidance
        Which terms of ``r (1 + m(k)) + b(k)`` there are (paper, equation 1 and table 3).
    guided_convolutions
        How many of a layer's convolutions are guided, from the first on: 1 in the paper's text.
    guide_channels
        Width of the guides' two hidden fully connected layers.
    front_end
        Which deconvolution of the blurry image the U-Net gets beside it and improves;
        ``"shrinkage-fields"`` is learned (`napari_deblur.networks.shrinkage`).
    shrinkage_stages, shrinkage_filter, shrinkage_channels
        Of the learned one: its stages, the side of its filters in pixels, odd, and its hidden
        channels, at least two for each filter.
    noise_input
        Whether the noise level is an extra, constant input channel.
    iterations
        How often the U-Net is applied; between two applications a data step pulls the result
        back to the blurry image (unrolled half-quadratic splitting).
    """

    kernel_size: int
    image_channels: int = 3
    channels: tuple[int, ...] = (128, 128, 128, 128, 128)
    block_convolutions: int = 3
    residual_blocks: bool = False
    guidance: Guidance = "both"
    guided_convolutions: int = 1
    guide_channels: int = 128
    front_end: FrontEnd = "none"
    shrinkage_stages: int = 5
    shrinkage_filter: int = 5
    shrinkage_channels: int = 64
    noise_input: bool = False
    iterations: int = 1

    def __post_init__(self) -> None:
        self._whole("kernel_size", 3, odd=True)
        self._choice("image_channels", (1, 3))
        for name in ("block_convolutions", "guided_convolutions", "guide_channels", "iterations"):
            self._whole(name, 1)
        for name in ("residual_blocks", "noise_input"):
            self._switch(name)
        self._choice("guidance", get_args(Guidance))
        self._choice("front_end", get_args(FrontEnd))
        widths: Any = self.channels  # what a file says may be anything
        if not isinstance(widths, tuple) or not widths or not all(_is_whole(c, 1) for c in widths):
            raise InputError(
                f"SynthesisConfig.channels is {self.channels!r}; give one whole number of at "
                "least 1 for every level of the U-Net, finest first"
            )
        self._check_shrinkage()
        if self.guided_convolutions > self.block_convolutions:
            raise InputError(
                f"guided_convolutions is {self.guided_convolutions}, but a layer has only "
                f"{self.block_convolutions} convolutions; lower it"
            )
        if self.iterations > 1 and self.front_end == "none":
            raise InputError(
                f"iterations is {self.iterations} without a front end; set front_end to 'wiener' "
                "or 'hyper-laplacian', or iterations to 1"
            )

    def _check_shrinkage(self) -> None:
        self._whole("shrinkage_stages", 1)
        self._whole("shrinkage_filter", 3, odd=True)
        self._whole("shrinkage_channels", 2 * (self.shrinkage_filter**2 - 1))

    @property
    def downsamplings(self) -> int:
        """Strided convolutions between the finest and the coarsest level."""
        return len(self.channels) - 1


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(_Config):
    """The blur-size classifier: a single-scale analysis network and one fully connected layer.

    Attributes
    ----------
    analysis
        The features, correlations and decoder; one level.
    classes
        Number of classes (paper, section 3.3: three).
    shrink
        The image is made smaller by so much first: lags then reach as many times further, and cost
        its square less.  1 in the paper.
    """

    analysis: AnalysisConfig
    classes: int = 3
    shrink: int = 1

    def __post_init__(self) -> None:
        self._whole("classes", 2)
        self._whole("shrink", 1)
        if self.analysis.levels != 1:
            raise InputError(
                f"the classifier's analysis has {self.analysis.levels} levels; it works on a "
                "single scale: set levels to 1"
            )

    @property
    def kernel_size(self) -> int:
        """Side m in pixels of the largest kernel that the lags cover; odd."""
        return self.shrink * (self.analysis.kernel_size - 1) + 1

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild from `to_dict`'s result; see `AnalysisConfig.from_dict`."""
        inner = values.get("analysis")
        if not isinstance(inner, Mapping):
            return super().from_dict(values)
        return super().from_dict({**values, "analysis": AnalysisConfig.from_dict(inner)})


@dataclass(frozen=True, kw_only=True)
class CorrectionConfig(_Config):
    """The correction network: a small residual U-Net over maps of the kernel's size.

    Attributes
    ----------
    kernel_size
        Side in pixels of the largest kernels that it was trained on, odd; it takes any.
    evidence
        Maps that enter (see `napari_deblur.blur.evidence`).
    channels
        Channels of the finest level; twice as many on the two below it.
    depth
        Residual blocks on each level, on the way down and up.
    """

    kernel_size: int
    evidence: int = 10
    channels: int = 24
    depth: int = 1

    def __post_init__(self) -> None:
        self._whole("kernel_size", 3, odd=True)
        for name in ("evidence", "channels", "depth"):
            self._whole(name, 1)
