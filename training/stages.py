"""The stages that a pair of networks goes through (paper sections 3.3 and 3.4)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_deblur.errors import RecipeError
from napari_deblur.networks.shrinkage import ShrinkageFields
from napari_deblur.training.batches import BatchMaker, PointMaker
from napari_deblur.training.kernel_pairs import read_pairs
from napari_deblur.training.models import build_network, network_configs
from napari_deblur.training.orders import StageOrder, run_order
from napari_deblur.training.stage_parts import (
    batch_makers,
    check_trained,
    kernel_banks,
    load_start,
    view_of,
)
from napari_deblur.training.tasks import (
    AnalysisTask,
    DeconvolutionTask,
    JointTask,
    Pair,
    SynthesisTask,
)

if TYPE_CHECKING:
    from napari_deblur.networks.config import SynthesisConfig
    from napari_deblur.training.fit import Outcome
    from napari_deblur.training.recipe import SynthesisStage
    from napari_deblur.training.session import Session

__all__ = [
    "Scale",
    "train_analysis",
    "train_decoder",
    "train_deconvolution",
    "train_joint",
    "train_synthesis",
]


@dataclass(frozen=True)
class Scale:
    """Which kernels a pair is for: the recipe's own, or one size class of them.

    Parameters
    ----------
    folder : str
        Folder of the pair's stages in the run's folder; empty for the run's folder itself.
    sizes : (int, int), optional
        Smallest and largest side of the kernels; None for the recipe's.
    kernel_size : int, optional
        Side m of the networks' kernels; None for the recipe's.
    """

    folder: str = ""
    sizes: tuple[int, int] | None = None
    kernel_size: int | None = None

    def stage_folder(self, stage: str) -> str:
        """Return the folder of a stage in the run's folder."""
        return f"{self.folder}/{stage}" if self.folder else stage


def train_decoder(session: Session, scale: Scale, minutes: float | None) -> Outcome:
    """Stage 0: the decoder on what it sees of a kernel alone, a few points of light.

    The features of a kernel's own picture have, apart from the scene, the correlations that the
    features of a photograph have in the mean; small pictures make thousands of samples a minute.
    """
    recipe = session.recipe.stage.decoder
    config = network_configs(session.recipe.model, scale.kernel_size).analysis
    network = build_network(config, session.recipe.seed)
    start = load_start(network, recipe.start, "analysis")
    banks = kernel_banks(session, recipe, config.kernel_size, scale.sizes)
    training, validation = batch_makers(session, "decoder", recipe, "luma", banks)
    makers = (PointMaker(training), PointMaker(validation))
    task = AnalysisTask(network, recipe.flip_until, recipe.flip_until)
    folder = scale.stage_folder("decoder")
    return run_order(session, StageOrder("decoder", task, recipe, *makers, folder, start), minutes)


def train_analysis(session: Session, scale: Scale, minutes: float | None) -> Outcome:
    """Stage 1: the analysis network, kernel L1 on true kernels."""
    recipe = session.recipe.stage.analysis
    config = network_configs(session.recipe.model, scale.kernel_size).analysis
    network = build_network(config, session.recipe.seed)
    path = recipe.start
    decoded = session.out / scale.stage_folder("decoder") / "analysis.safetensors"
    if not path and session.recipe.stage.decoder.enabled:
        check_trained(decoded, "decoder")
        path = str(decoded)
    start = load_start(network, path, "analysis")
    banks = kernel_banks(session, recipe, config.kernel_size, scale.sizes)
    makers = batch_makers(session, "analysis", recipe, "luma", banks)
    task = AnalysisTask(network, recipe.flip_hold, recipe.flip_until)
    folder = scale.stage_folder("analysis")
    return run_order(session, StageOrder("analysis", task, recipe, *makers, folder, start), minutes)


def train_deconvolution(session: Session, scale: Scale, minutes: float | None) -> Outcome:
    """Stage 2, first half: the learned deconvolution in front of the U-Net, alone."""
    recipe = session.recipe.stage.deconvolution
    config = network_configs(session.recipe.model, scale.kernel_size).synthesis
    network = build_network(config, session.recipe.seed + 1)
    if not isinstance(network.shrinkage, ShrinkageFields):
        raise RecipeError(
            f"front end {config.front_end!r} has nothing to learn: set "
            "model.synthesis.front_end='shrinkage-fields', or leave stage 'deconvolution' out"
        )
    start = load_start(network, recipe.start, "synthesis")
    task = DeconvolutionTask(network.shrinkage, network, recipe.loss, recipe.inner, recipe.early)
    makers, pairs = _restoring_makers(session, "deconvolution", recipe, config, scale)
    folder = scale.stage_folder("deconvolution")
    order = StageOrder("deconvolution", task, recipe, *makers, folder, start + pairs)
    return run_order(session, order, minutes)


def train_synthesis(session: Session, scale: Scale, minutes: float | None) -> Outcome:
    """Stage 2: the synthesis network, image loss with true kernels.

    A deconvolution that a stage of its own has taught stays as it is.
    """
    recipe, first = session.recipe.stage.synthesis, session.recipe.stage.deconvolution.enabled
    config = network_configs(session.recipe.model, scale.kernel_size).synthesis
    network = build_network(config, session.recipe.seed + 1)
    path = recipe.start
    deconvolution = session.out / scale.stage_folder("deconvolution") / "synthesis.safetensors"
    if not path and first:
        check_trained(deconvolution, "deconvolution")
        path = str(deconvolution)
    start = load_start(network, path, "synthesis")
    if first and isinstance(network.shrinkage, ShrinkageFields):
        network.shrinkage.requires_grad_(requires_grad=False)
    task = SynthesisTask(network, recipe.loss, recipe.inner)
    makers, pairs = _restoring_makers(session, "synthesis", recipe, config, scale)
    folder = scale.stage_folder("synthesis")
    order = StageOrder("synthesis", task, recipe, *makers, folder, start + pairs)
    return run_order(session, order, minutes)


def _restoring_makers(
    session: Session, stage: str, recipe: SynthesisStage, config: SynthesisConfig, scale: Scale
) -> tuple[tuple[BatchMaker, BatchMaker], str]:
    """Makers for what restores images, and the hash of the kernels that were found, if any."""
    _check_inside(stage, recipe, config.kernel_size)
    pairs = (
        read_pairs(recipe.pairs, config.kernel_size, session.fabric.device)
        if recipe.pairs
        else None
    )
    makers = batch_makers(
        session,
        stage,
        recipe,
        view_of(config.image_channels),
        kernel_banks(session, recipe, config.kernel_size, scale.sizes),
        perturbed=recipe.perturbed,
        perturbed_blur=recipe.perturbed_blur,
        perturbed_noise=recipe.perturbed_noise,
        pairs=pairs,
        found=recipe.found,
    )
    return makers, "" if pairs is None else pairs.sha256


def _check_inside(stage: str, recipe: SynthesisStage, size: int) -> None:
    if recipe.inner > 0 and recipe.crop < 2 * size:
        raise RecipeError(
            f"stage.{stage}.inner = {recipe.inner:g} is impossible with crops of {recipe.crop} "
            f"pixels: kernels of {size} reach into all of them; set inner=0, or crop >= {2 * size}"
        )


def train_joint(session: Session, scale: Scale, minutes: float | None) -> Outcome:
    """Stage 3: the composition of both, image loss alone, from the weights of stages 1 and 2."""
    recipe = session.recipe.stage.joint
    configs = network_configs(session.recipe.model, scale.kernel_size)
    analysis = build_network(configs.analysis, session.recipe.seed)
    synthesis = build_network(configs.synthesis, session.recipe.seed + 1)
    start = ""
    if not recipe.random_start:
        for kind, network in (("analysis", analysis), ("synthesis", synthesis)):
            root = Path(recipe.start) if recipe.start else session.out / scale.folder / kind
            path = root / f"{kind}.safetensors"
            check_trained(path, kind)
            start += load_start(network, str(path), kind)
    banks = kernel_banks(session, recipe, configs.analysis.kernel_size, scale.sizes)
    makers = batch_makers(
        session, "joint", recipe, view_of(configs.synthesis.image_channels), banks
    )
    before = copy.deepcopy(analysis).eval().requires_grad_(requires_grad=False)
    task = JointTask(Pair(analysis, synthesis), recipe.loss, before.to(session.fabric.device))
    folder = scale.stage_folder("joint")
    return run_order(session, StageOrder("joint", task, recipe, *makers, folder, start), minutes)
