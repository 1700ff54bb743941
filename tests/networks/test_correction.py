"""The correction network: what it leaves alone, what it takes, and that it can learn."""

from __future__ import annotations

import pytest
import torch

from napari_deblur.errors import InputError
from napari_deblur.networks.config import CorrectionConfig
from napari_deblur.networks.correction import KernelCorrection

CONFIG = CorrectionConfig(kernel_size=15, evidence=4, channels=8)


def _evidence(batch: int, side: int, seed: int = 0) -> torch.Tensor:
    maps = torch.rand(batch, 4, side, side, generator=torch.Generator().manual_seed(seed))
    maps[:, 0] /= maps[:, 0].amax(dim=(1, 2), keepdim=True)
    return maps


def _network(*, moved: bool) -> KernelCorrection:
    torch.manual_seed(2)
    network = KernelCorrection(CONFIG).eval()
    if moved:
        torch.nn.init.normal_(network.last.weight, std=0.5)
    return network


@pytest.mark.parametrize("side", [3, 5, 15, 31, 47])
def test_untrained_it_changes_no_kernel_of_any_odd_size(side: int) -> None:
    maps = _evidence(2, side)
    kernel = _network(moved=False)(maps)
    expected = maps[:, 0] / maps[:, 0].sum(dim=(1, 2), keepdim=True)
    torch.testing.assert_close(kernel, expected)


@pytest.mark.parametrize("side", [3, 17, 31])
def test_whatever_it_has_learned_it_gives_kernels(side: int) -> None:
    maps = _evidence(3, side)
    kernel = _network(moved=True)(maps)
    assert kernel.shape == (3, side, side)
    assert kernel.dtype == torch.float32
    assert kernel.min() >= 0
    torch.testing.assert_close(kernel.sum(dim=(1, 2)), torch.ones(3))
    assert not torch.allclose(kernel, _network(moved=False)(maps), atol=1e-3)


def test_each_kernel_is_corrected_on_its_own() -> None:
    network, maps = _network(moved=True), _evidence(3, 15)
    together = network(maps)
    for index in range(3):
        torch.testing.assert_close(together[index], network(maps[index : index + 1])[0])


def test_where_nothing_would_be_left_the_kernel_stays() -> None:
    network, maps = _network(moved=False), _evidence(1, 9)
    torch.nn.init.constant_(network.last.bias, -100.0)
    torch.testing.assert_close(network(maps), maps[:, 0] / maps[:, 0].sum())


def test_every_weight_learns_from_the_second_step_on() -> None:
    network, maps = _network(moved=True), _evidence(2, 15)
    network(maps).square().sum().backward()
    grads = {name: weight.grad for name, weight in network.named_parameters()}
    assert all(grad is not None and grad.isfinite().all() for grad in grads.values())
    entered = grads["enter.weight"]
    assert entered is not None
    assert (entered != 0).any()


@pytest.mark.parametrize("shape", [(1, 3, 9, 9), (1, 4, 8, 8), (1, 4, 9, 11), (4, 9, 9)])
def test_evidence_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"this network takes \(B, 4, m, m\) with odd m"):
        _network(moved=False)(torch.rand(shape))


@pytest.mark.parametrize(
    "values", [{"kernel_size": 14}, {"channels": 0}, {"depth": 0}, {"evidence": 0}]
)
def test_impossible_architecture_is_refused(values: dict[str, int]) -> None:
    with pytest.raises(InputError, match=next(iter(values))):
        CorrectionConfig.from_dict({**CONFIG.to_dict(), **values})
