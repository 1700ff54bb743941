"""The analysis network: what every kernel it gives must be, whatever the image."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from napari_deblur.errors import InputError
from napari_deblur.networks.analysis import AnalysisNetwork
from napari_deblur.networks.classifier import BlurSizeClassifier
from napari_deblur.networks.config import FIXED_FEATURES, AnalysisConfig
from napari_deblur.networks.decoders import KernelHead
from napari_deblur.networks.features import FixedFeatures
from napari_deblur.networks.presets import PRESETS

TINY = PRESETS["tiny"].analysis
VARIANTS: dict[str, dict[str, Any]] = {
    "tiny": {},
    "paper decoder, three levels": {"decoder": "paper", "levels": 3, "head": "relu"},
    "residual decoder, three levels": {"levels": 3, "head": "softmax"},
    "lags beyond the kernel": {"radius": 10, "levels": 2},
    "fixed features only": {"learned_channels": 0, "levels": 2},
    "learned features only": {"fixed_features": (), "head": "relu"},
}


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture(params=VARIANTS)
def config(request: pytest.FixtureRequest) -> AnalysisConfig:
    return replace(TINY, **VARIANTS[request.param])


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(3)


@pytest.mark.parametrize("shape", [(1, 1, 16, 16), (2, 1, 47, 61), (1, 1, 16, 90)])
def test_kernels_are_non_negative_and_sum_to_one(
    config: AnalysisConfig, shape: tuple[int, ...]
) -> None:
    kernels = AnalysisNetwork(config)(torch.rand(shape))
    assert kernels.shape == (shape[0], 15, 15)
    assert kernels.dtype == torch.float32
    assert kernels.min() >= 0
    torch.testing.assert_close(kernels.sum(dim=(1, 2)), torch.ones(shape[0]))


@pytest.mark.parametrize("level", [0.0, 0.5, 1e6])
def test_a_flat_image_gives_a_kernel_all_the_same(config: AnalysisConfig, level: float) -> None:
    kernel = AnalysisNetwork(config)(torch.full((1, 1, 40, 40), level))
    assert kernel.isfinite().all()
    torch.testing.assert_close(kernel.sum(), torch.tensor(1.0))


def test_every_learned_parameter_gets_a_gradient(config: AnalysisConfig) -> None:
    network = AnalysisNetwork(config)
    target = torch.zeros(2, 15, 15)
    target[:, 7, 4:11] = 1 / 7
    optimiser = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], 0.1)
    luma = torch.rand(2, 1, 64, 64)
    for _ in range(2):  # residual branches end in zeros, so what is before them waits one step
        optimiser.zero_grad()
        (network(luma) - target).abs().sum().backward()
        optimiser.step()
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().max() > 0, name


def test_decode_takes_statistics_averaged_over_tiles(config: AnalysisConfig) -> None:
    network = AnalysisNetwork(config).eval()
    tiles = torch.rand(3, 1, 48, 48)
    statistics = network.statistics(tiles)
    assert [maps.shape[-1] for maps in statistics] == [2 * r + 1 for r in config.radii]
    assert {maps.shape[1] for maps in statistics} == {config.pairs}
    torch.testing.assert_close(network.decode(statistics), network(tiles))
    kernel = network.decode([maps.mean(dim=0, keepdim=True) for maps in statistics])
    assert kernel.shape == (1, 15, 15)


def test_brightness_and_contrast_do_not_matter() -> None:
    network = AnalysisNetwork(TINY).eval()
    luma = torch.rand(1, 1, 50, 50)
    torch.testing.assert_close(network(luma), network(3 * luma + 20), rtol=1e-3, atol=1e-6)


def test_the_estimate_does_not_change_much_under_bf16_autocast() -> None:
    network = AnalysisNetwork(TINY).eval()
    luma = torch.rand(1, 1, 50, 50)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        kernel = network(luma)
    assert kernel.dtype == torch.float32
    torch.testing.assert_close(kernel, network(luma), rtol=0.05, atol=1e-4)


def test_without_learned_channels_nothing_before_the_decoder_is_remembered() -> None:
    network = AnalysisNetwork(replace(TINY, learned_channels=0))
    assert not any(maps.requires_grad for maps in network.statistics(torch.rand(1, 1, 40, 40)))


def test_a_few_steps_learn_to_tell_two_blurs_apart() -> None:
    """Also the speed that tests of training rely on: a step takes milliseconds."""
    network = AnalysisNetwork(TINY)
    scene = torch.randn(8, 1, 56, 56)
    truth = torch.zeros(8, 15, 15)
    truth[:4, 7, 4:11] = 1 / 7
    truth[4:, 4:11, 7] = 1 / 7
    luma = torch.cat(
        [
            nn.functional.conv2d(image[None], kernel[None, None])
            for image, kernel in zip(scene, truth, strict=True)
        ]
    )
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    losses = []
    for _ in range(40):
        optimiser.zero_grad()
        loss = (network(luma) - truth).abs().sum(dim=(1, 2)).mean()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[0] > 1.5
    assert losses[-1] < 0.8


@pytest.mark.parametrize("shape", [(1, 3, 32, 32), (1, 32, 32)])
def test_images_with_other_axes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="convert the image to luma"):
        AnalysisNetwork(TINY)(torch.rand(shape))


# ------------------------------------------------------------------ the paper's network


def test_paper_has_the_parameters_that_its_text_implies() -> None:
    features = (49 * 64 + 64) + 2 * (64 * 64 * 49 + 64) + (64 * 32 + 32)
    reduce = 1056 * 32 + 32
    narrow = (32 * 24 * 9 + 24) + (24 * 16 * 9 + 16) + (16 * 8 * 9 + 8)
    rise, join = 32 * 32 * 25 + 32, 64 * 32 * 9 + 32
    analysis = 4 * (features + reduce) + 3 * (25 + 1 + rise + join) + narrow + (8 * 25 + 1)
    assert parameters(AnalysisNetwork(PRESETS["paper"].analysis)) == analysis
    classifier = features + reduce + narrow + (8 * 85 * 85 * 3 + 3)
    assert parameters(BlurSizeClassifier(PRESETS["paper"].classifier)) == classifier


def test_paper_gives_a_kernel_of_85_pixels() -> None:
    with torch.inference_mode():
        kernel = AnalysisNetwork(PRESETS["paper"].analysis)(torch.rand(1, 1, 190, 178))
    assert kernel.shape == (1, 85, 85)
    torch.testing.assert_close(kernel.sum(), torch.tensor(1.0))
    assert kernel.min() > 0  # a fresh head is not dead


# ------------------------------------------------------------------ fixed features and the head


def test_first_differences_of_a_rotated_image_are_rotated_and_negated() -> None:
    """So the auto-correlations of an image and of its 180° rotation agree, by design."""
    features = FixedFeatures(("horizontal", "vertical", "diagonal", "antidiagonal"), 3)
    image = torch.rand(1, 1, 20, 23, dtype=torch.float64)
    rotated = features(image.flip((-2, -1)))
    torch.testing.assert_close(rotated, -features(image).flip((-2, -1)))


def test_a_signed_square_tells_a_kernel_from_its_rotation() -> None:
    """Lag maps of a blur and of its 180° rotation agree for derivatives alone, and not beside
    their signed squares."""
    generator = torch.Generator().manual_seed(1)
    scene = (torch.rand(1, 1, 300, 300, generator=generator) > 0.995).double()
    scene = scene * torch.randn(1, 1, 300, 300, generator=generator).sign()
    ramp = torch.arange(1.0, 10.0, dtype=torch.float64)[None, None, None] / 45

    def lags(kernel: Tensor, *names: str) -> Tensor:
        config = replace(TINY, learned_channels=0, fixed_features=names)
        blurry = nn.functional.conv2d(scene, kernel)
        return AnalysisNetwork(config).statistics(blurry)[0]

    def difference(*names: str) -> float:
        one, other = lags(ramp, *names), lags(ramp.flip(-1), *names)
        return float((one - other).norm() / one.norm())

    assert difference("horizontal") < 0.05
    assert difference("horizontal", "horizontal:signed-square") > 0.1


def test_fixed_features_come_in_the_order_of_their_names() -> None:
    image = torch.rand(1, 1, 30, 31)
    together = FixedFeatures(FIXED_FEATURES, 5)(image)
    assert together.shape == (1, len(FIXED_FEATURES), 28, 29)
    names = FIXED_FEATURES
    horizontal = together[:, names.index("horizontal")]
    torch.testing.assert_close(together[:, names.index("horizontal:squared")], horizontal**2)
    torch.testing.assert_close(together[:, names.index("horizontal:rectified")], horizontal.relu())
    square = together[:, names.index("vertical:signed-square")]
    torch.testing.assert_close(
        together[:, names.index("vertical:signed-root")].sign(), square.sign()
    )


def test_local_contrast_is_divided_out() -> None:
    image = torch.rand(1, 1, 60, 120)
    image[..., 60:] = 0.5 + 0.3 * (image[..., 60:] - 0.5)
    derivatives = FixedFeatures(("horizontal", "vertical"), 7)(image)
    left, right = derivatives[..., :45].std(), derivatives[..., 75:].std()
    assert 0.8 < float(left / right) < 1.4


@pytest.mark.parametrize("kind", ["relu", "softplus", "softmax"])
def test_an_empty_map_becomes_a_kernel(kind: Any) -> None:
    head = KernelHead(2, 5, kind)
    assert head.last.bias is not None
    nn.init.constant_(head.last.bias, -1e4)
    maps = torch.zeros(1, 2, 9, 9, requires_grad=True)
    kernel = head(maps)
    kernel.square().sum().backward()
    torch.testing.assert_close(kernel.sum(), torch.tensor(1.0))
    assert maps.grad is not None
    assert maps.grad.isfinite().all()
    if kind == "relu":
        assert kernel[0, 2, 2] == 1


# ------------------------------------------------------------------ the classifier


@pytest.mark.parametrize("name", ["tiny", "compact"])
def test_the_classifier_gives_three_logits_and_learns(name: str) -> None:
    network = BlurSizeClassifier(PRESETS[name].classifier)
    logits = network(torch.rand(2, 1, 40, 53))
    assert logits.shape == (2, 3)
    nn.functional.cross_entropy(logits, torch.tensor([0, 2])).backward()
    assert network.last.weight.grad is not None
    assert network.last.weight.grad.abs().max() > 0
