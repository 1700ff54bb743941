"""What each stage trains: module, loss, figures and pictures (paper section 3.4)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch
from torch import nn
from torch.nn import functional

from napari_deblur.training.batches import Batch, to_luma
from napari_deblur.training.figures import (
    flip_invariant_distance,
    image_loss,
    kernel_correlation,
    kernel_distance,
    psnr,
    spectral_error,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_deblur.training.evidence_batches import EvidenceBatch
    from napari_deblur.training.recipe import ImageLoss

__all__ = [
    "AnalysisTask",
    "ClassifierTask",
    "CorrectionTask",
    "DeconvolutionTask",
    "JointTask",
    "Pair",
    "SynthesisTask",
    "Task",
]

Pictures = dict[str, list[torch.Tensor]]
"""Rows of pictures (H, W) or (C, H, W): a name for each column, a tensor for each row."""


B = TypeVar("B", contravariant=True)  # noqa: PLC0105 - a batch

_SMALLEST_ERROR = 1e-3
# In the loss: kernels that are this good gain little from being better, and would keep the network
# from the corrections that worse ones need.
_GOOD_ERROR = 2e-2


class Task(Protocol[B]):
    """One thing to learn.  `module` is trained; `weights` names the networks in it by kind."""

    @property
    def module(self) -> nn.Module:
        """What the optimiser changes."""
        ...

    def networks(self, module: nn.Module) -> Mapping[str, nn.Module]:
        """Return the networks to export, by kind, from the module or its averaged copy."""
        ...

    def loss(self, module: nn.Module, batch: B, progress: float) -> torch.Tensor:
        """Return the scalar loss; `progress` in [0, 1] is how much of the run is over."""
        ...

    def measure(self, module: nn.Module, batch: B) -> dict[str, torch.Tensor]:
        """Return figures (B,) of a validation batch."""
        ...

    def pictures(self, module: nn.Module, batch: B) -> Pictures:
        """Return pictures of the first samples of a validation batch."""
        ...


def blend(progress: float, hold: float, until: float) -> float:
    """Weight of the flip-invariant loss: 1 up to `hold`, falling to 0 at `until`."""
    if progress < hold:
        return 1.0
    return max(0.0, (until - progress) / (until - hold)) if until > hold else 0.0


def _kernel_figures(estimate: torch.Tensor, kernel: torch.Tensor) -> dict[str, torch.Tensor]:
    return {
        "kernel L1": kernel_distance(estimate, kernel),
        "kernel L1 either way up": flip_invariant_distance(estimate, kernel),
        "kernel correlation": kernel_correlation(estimate, kernel),
    }


def _image_figures(estimate: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
    figures = {"PSNR": psnr(estimate, batch.sharp), "PSNR blurry": psnr(batch.blurry, batch.sharp)}
    return figures | {"PSNR gain": figures["PSNR"] - figures["PSNR blurry"]}


@dataclass(frozen=True)
class AnalysisTask:
    """Kernel L1 on true kernels, at first either way up."""

    module: nn.Module
    flip_hold: float
    flip_until: float

    def networks(self, module: nn.Module) -> Mapping[str, nn.Module]:
        """Return the analysis network."""
        return {"analysis": module}

    def loss(self, module: nn.Module, batch: Batch, progress: float) -> torch.Tensor:
        """L1, sum over pixels, mean over the batch."""
        estimate = module(batch.blurry)
        loss = kernel_distance(estimate, batch.kernel).mean()
        weight = blend(progress, self.flip_hold, self.flip_until)
        if weight > 0:
            invariant = flip_invariant_distance(estimate, batch.kernel).mean()
            loss = weight * invariant + (1 - weight) * loss
        return loss

    def measure(self, module: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        """Kernel distances and correlation."""
        return _kernel_figures(module(batch.blurry), batch.kernel)

    def pictures(self, module: nn.Module, batch: Batch) -> Pictures:
        """True and estimated kernels."""
        return {"true": list(batch.kernel), "estimated": list(module(batch.blurry))}


def _inside(image: torch.Tensor, margin: int) -> torch.Tensor:
    """Cut `margin` pixels, at least 1, off every side of (B, C, H, W)."""
    return image[..., margin:-margin, margin:-margin]


def _inner_loss(kind: ImageLoss, result: torch.Tensor, batch: Batch, inner: float) -> torch.Tensor:
    """Image loss, a share `inner` of it without the borders."""
    loss = image_loss(kind, result, batch.sharp)
    if inner > 0:
        margin = batch.kernel.shape[-1] // 2
        parts = (_inside(image, margin) for image in (result, batch.sharp))
        loss = torch.lerp(loss, image_loss(kind, *parts), inner)
    return loss


def _triplets(batch: Batch, result: torch.Tensor) -> Pictures:
    return {"blurry": list(batch.blurry), "deblurred": list(result), "sharp": list(batch.sharp)}


@dataclass(frozen=True)
class SynthesisTask:
    """Image loss with true (or perturbed) kernels, a share `inner` of it without the borders."""

    module: nn.Module
    kind: ImageLoss
    inner: float = 0.0

    def networks(self, module: nn.Module) -> Mapping[str, nn.Module]:
        """Return the synthesis network."""
        return {"synthesis": module}

    def loss(self, module: nn.Module, batch: Batch, progress: float) -> torch.Tensor:  # noqa: ARG002
        """Image loss."""
        result = module(batch.blurry, batch.given, batch.sigma)
        return _inner_loss(self.kind, result, batch, self.inner)

    def measure(self, module: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        """PSNR with the true kernel, beside the blurry image's, and with the kernel as given."""
        figures = _image_figures(module(batch.blurry, batch.kernel, batch.sigma), batch)
        if torch.equal(batch.given, batch.kernel):
            return figures | {"PSNR given": figures["PSNR"]}
        given = module(batch.blurry, batch.given, batch.sigma)
        return figures | {"PSNR given": psnr(given, batch.sharp)}

    def pictures(self, module: nn.Module, batch: Batch) -> Pictures:
        """Triplets: blurry, deblurred, sharp."""
        return _triplets(batch, module(batch.blurry, batch.kernel, batch.sigma))


@dataclass(frozen=True)
class DeconvolutionTask:
    """Image loss of every stage of the learned deconvolution; `early` for all but the last.

    `network` is the synthesis network that it is exported with.
    """

    module: nn.Module
    network: nn.Module
    kind: ImageLoss
    inner: float
    early: float

    def networks(self, module: nn.Module) -> Mapping[str, nn.Module]:
        """Return the synthesis network behind what was learned."""
        network = copy.deepcopy(self.network)
        network.get_submodule("shrinkage").load_state_dict(module.state_dict())
        return {"synthesis": network}

    def loss(self, module: nn.Module, batch: Batch, progress: float) -> torch.Tensor:  # noqa: ARG002
        """Image loss of the last estimate and, less, of the mean of the others."""
        *others, last = module(batch.blurry, batch.given, batch.sigma)
        losses = [_inner_loss(self.kind, each, batch, self.inner) for each in (last, *others)]
        return losses[0] + self.early * torch.stack(losses[1:]).mean()

    def measure(self, module: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        """PSNR with the true kernel, beside the blurry image's."""
        return _image_figures(module(batch.blurry, batch.kernel, batch.sigma)[-1], batch)

    def pictures(self, module: nn.Module, batch: Batch) -> Pictures:
        """Triplets: blurry, deblurred, sharp."""
        result = module(batch.blurry, batch.kernel, batch.sigma)[-1]
        return _triplets(batch, result)


class Pair(nn.Module):
    """The composition of the two networks."""

    def __init__(self, analysis: nn.Module, synthesis: nn.Module) -> None:
        super().__init__()
        self.analysis = analysis
        self.synthesis = synthesis

    def forward(
        self, blurry: torch.Tensor, sigma: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the deblurred images (B, C, H, W) and the kernels (B, m, m)."""
        kernel = self.analysis(to_luma(blurry))
        return self.synthesis(blurry, kernel, sigma), kernel


@dataclass(frozen=True)
class JointTask:
    """Both networks; the image loss alone, so that the kernel may become what serves the image.

    `before` is the analysis network as it was before this stage, for the paper's Figure 4.
    """

    module: Pair
    kind: ImageLoss
    before: nn.Module

    def networks(self, module: Any) -> Mapping[str, nn.Module]:
        """Return both networks."""
        return {"analysis": module.analysis, "synthesis": module.synthesis}

    def loss(self, module: nn.Module, batch: Batch, progress: float) -> torch.Tensor:  # noqa: ARG002
        """Image loss of the composition."""
        return image_loss(self.kind, module(batch.blurry, batch.sigma)[0], batch.sharp)

    def measure(self, module: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        """Blind PSNR, and how far the kernel has gone from the true one."""
        result, kernel = module(batch.blurry, batch.sigma)
        return _image_figures(result, batch) | _kernel_figures(kernel, batch.kernel)

    def pictures(self, module: nn.Module, batch: Batch) -> Pictures:
        """Kernels true, before and after this stage (Figure 4), and triplets."""
        result, kernel = module(batch.blurry, batch.sigma)
        return {
            "true": list(batch.kernel),
            "pre-trained": list(self.before(to_luma(batch.blurry))),
            "after joint training": list(kernel),
        } | _triplets(batch, result)


@dataclass(frozen=True)
class ClassifierTask:
    """Cross entropy over the classes of kernel sizes (paper section 3.3)."""

    module: nn.Module

    def networks(self, module: nn.Module) -> Mapping[str, nn.Module]:
        """Return the classifier."""
        return {"classifier": module}

    def loss(self, module: nn.Module, batch: Batch, progress: float) -> torch.Tensor:  # noqa: ARG002
        """Categorical cross entropy."""
        return functional.cross_entropy(module(batch.blurry).float(), batch.label)

    def measure(self, module: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        """Share of right answers, and cross entropy."""
        logits = module(batch.blurry).float()
        return {
            "accuracy": (logits.argmax(dim=1) == batch.label).float(),
            "cross entropy": functional.cross_entropy(logits, batch.label, reduction="none"),
        }

    def pictures(self, module: nn.Module, batch: Batch) -> Pictures:
        """Return nothing: there is nothing to see."""
        del module, batch
        return {}


@dataclass(frozen=True)
class CorrectionTask:
    """The logarithm of what a kernel's error does to a restoration, and `l1` times its L1."""

    module: nn.Module
    l1: float

    def networks(self, module: nn.Module) -> Mapping[str, nn.Module]:
        """Return the correction network."""
        return {"correction": module}

    def loss(self, module: nn.Module, batch: EvidenceBatch, progress: float) -> torch.Tensor:  # noqa: ARG002
        """Log of the spectral error, so that bad kernels do not outweigh all others, and L1."""
        kernel = module(batch.evidence)
        errors = (spectral_error(kernel, batch.kernel) + _GOOD_ERROR).log()
        return (errors + self.l1 * kernel_distance(kernel, batch.kernel)).mean()

    def measure(self, module: nn.Module, batch: EvidenceBatch) -> dict[str, torch.Tensor]:
        """Spectral error in dB and kernel L1, beside those of the kernels that came in."""
        figures = {}
        for name, kernel in (("", module(batch.evidence)), (" found", batch.found)):
            error = spectral_error(kernel, batch.kernel) + _SMALLEST_ERROR
            figures[f"spectral error{name}"] = 10 * error.log10()
            figures[f"kernel L1{name}"] = kernel_distance(kernel, batch.kernel)
        return figures

    def pictures(self, module: nn.Module, batch: EvidenceBatch) -> Pictures:
        """Kernels true, found and corrected."""
        return {
            "true": list(batch.kernel),
            "found": list(batch.found),
            "corrected": list(module(batch.evidence)),
        }
