"""The stages of paper sections 3.3 and 3.4, each from its newest checkpoint to its weights."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from napari_deblur.blur.evidence import EVIDENCE
from napari_deblur.errors import InputError, OutputError, RecipeError
from napari_deblur.networks.shrinkage import ShrinkageFields
from napari_deblur.training.batches import BatchMaker, KernelBank, PointMaker, View
from napari_deblur.training.checkpoints import latest_checkpoint
from napari_deblur.training.corrections import (
    CorrectionSamples,
    SampleOrder,
    make_samples,
)
from napari_deblur.training.evidence_batches import (
    EvidenceMaker,
    HeldOutEvidence,
    held_out_counts,
)
from napari_deblur.training.fit import Fit, Outcome, fit
from napari_deblur.training.kernel_pairs import read_pairs
from napari_deblur.training.logs import say
from napari_deblur.training.models import build_network, network_configs
from napari_deblur.training.session import Session, check_kernel_fits
from napari_deblur.training.spoiling import Spoiling
from napari_deblur.training.tasks import (
    AnalysisTask,
    ClassifierTask,
    CorrectionTask,
    DeconvolutionTask,
    JointTask,
    Pair,
    SynthesisTask,
    Task,
)
from napari_deblur.training.transfer import first_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Sized

    from torch import nn

    from napari_deblur.networks.config import SynthesisConfig
    from napari_deblur.training.recipe import CorrectionStage, StageRecipe, SynthesisStage

__all__ = [
    "Scale",
    "StageOrder",
    "run_order",
    "train_analysis",
    "train_classifier",
    "train_deconvolution",
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


class Maker(Protocol):
    """Makes batch `index` of process `rank`, which depends on the two alone."""

    def make(self, index: int, rank: int = 0) -> Sized:
        """Make a batch."""
        ...


@dataclass(frozen=True)
class StageOrder:
    """A stage ready to run."""

    stage: str
    task: Task[Any]
    recipe: StageRecipe
    maker: Maker
    validation: Maker
    folder: str
    start: str = ""


def run_order(session: Session, order: StageOrder, minutes: float | None) -> Outcome:
    """Fit a stage and export its networks as `KIND.safetensors` into its folder.

    Raises
    ------
    OutputError
        When the folder holds a run already and this is not to resume it.
    RecipeError
        When it is, and the recipe or the data differ.
    """
    folder = session.folder(order.folder)
    checkpoint = latest_checkpoint(folder)
    if checkpoint is not None and not session.resume:
        raise OutputError(
            f"{str(folder)!r} holds a run already: give --resume to go on, or another --out"
        )
    session.fabric.barrier()
    outcome = fit(
        session.fabric,
        Fit(
            name=order.folder,
            task=order.task,
            recipe=order.recipe,
            machine=_machine(session),
            folder=folder,
            fingerprint=session.fingerprint(order.stage, order.folder, order.start),
            make_batch=_of_rank(order.maker, session),
            make_validation=order.validation.make,
            minutes=minutes,
        ),
        checkpoint,
    )
    if session.fabric.is_global_zero:
        _export(session, order, outcome, folder)
    session.fabric.barrier()
    return outcome


def _machine(session: Session) -> Any:
    """On a GPU batches are made on it, in the order of its own queue: no threads."""
    machine = session.recipe.machine
    on_cpu = session.fabric.device.type == "cpu"
    return machine if on_cpu else dataclasses.replace(machine, workers=0)


def _of_rank(maker: Maker, session: Session) -> Callable[[int], Any]:
    rank = session.fabric.global_rank
    return lambda index: maker.make(index, rank)


def _export(session: Session, order: StageOrder, outcome: Outcome, folder: Path) -> None:
    from napari_deblur.weights.files import save_weights

    provenance = session.provenance(order.stage) | {
        "steps": outcome.steps,
        "hours": round(outcome.seconds / 3600, 4),
        "skipped steps": outcome.skipped,
        "held-out figures": {name: round(value, 4) for name, value in outcome.figures.items()},
        "started from": order.start,
    }
    for kind, network in order.task.networks(outcome.module).items():
        path = folder / f"{kind}.safetensors"
        save_weights(path, network, kind, network.config, provenance)  # type: ignore[arg-type]
        say(f"wrote {path}")


def _makers(
    session: Session,
    stage: str,
    recipe: StageRecipe,
    view: View,
    banks: tuple[KernelBank, KernelBank],
    **extra: Any,
) -> tuple[BatchMaker, BatchMaker]:
    """Return the makers of training and of validation batches."""
    data = session.sharp(recipe.data)
    stores, streams = (data.training, data.held_out), (stage, f"{stage} held out")
    training, held_out = (
        BatchMaker(
            store=store,
            bank=bank,
            data=recipe.data,
            sensor=recipe.sensor,
            batch=recipe.batch,
            crop=recipe.crop,
            view=view,
            seed=session.recipe.seed,
            stream=stream,
            **extra,
        )
        for store, bank, stream in zip(stores, banks, streams, strict=True)
    )
    return training, held_out


def _banks(
    session: Session, recipe: StageRecipe, size: int, scale: Scale
) -> tuple[KernelBank, KernelBank]:
    if scale.sizes is None:
        check_kernel_fits(recipe.kernels, size)
    sizes = () if scale.sizes is None else (scale.sizes,)
    training = session.bank(recipe.kernels, size, sizes=sizes)
    return training, session.bank(recipe.kernels, size, sizes=sizes, held_out=True)


def _start(network: nn.Module, path: str, kind: str) -> str:
    """Load first weights from a file; return its sha256, or nothing without a file."""
    if not path:
        return ""
    from napari_deblur.weights.files import read_weights

    file = read_weights(Path(path))
    if file.kind != kind:
        raise InputError(f"{path!r} holds weights of kind {file.kind!r}: give {kind!r} weights")
    try:
        network.load_state_dict(first_weights(file.tensors, network))
    except RuntimeError as error:
        raise InputError(
            f"{path!r} holds another architecture ({str(error).splitlines()[-1].strip()}): "
            "give weights of this recipe's [model]"
        ) from error
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def train_decoder(session: Session, scale: Scale, minutes: float | None) -> Outcome:
    """Stage 0: the decoder on what it sees of a kernel alone, a few points of light.

    The features of a kernel's own picture have, apart from the scene, the correlations that the
    features of a photograph have in the mean; small pictures make thousands of samples a minute.
    """
    recipe = session.recipe.stage.decoder
    config = network_configs(session.recipe.model, scale.kernel_size).analysis
    network = build_network(config, session.recipe.seed)
    start = _start(network, recipe.start, "analysis")
    banks = _banks(session, recipe, config.kernel_size, scale)
    training, validation = _makers(session, "decoder", recipe, "luma", banks)
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
        _needed(decoded, "decoder")
        path = str(decoded)
    start = _start(network, path, "analysis")
    banks = _banks(session, recipe, config.kernel_size, scale)
    makers = _makers(session, "analysis", recipe, "luma", banks)
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
    start = _start(network, recipe.start, "synthesis")
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
        _needed(deconvolution, "deconvolution")
        path = str(deconvolution)
    start = _start(network, path, "synthesis")
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
    makers = _makers(
        session,
        stage,
        recipe,
        _view(config.image_channels),
        _banks(session, recipe, config.kernel_size, scale),
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


def _view(channels: int) -> View:
    return "rgb" if channels == 3 else "channel"


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
            _needed(path, kind)
            start += _start(network, str(path), kind)
    banks = _banks(session, recipe, configs.analysis.kernel_size, scale)
    makers = _makers(session, "joint", recipe, _view(configs.synthesis.image_channels), banks)
    before = copy.deepcopy(analysis).eval().requires_grad_(requires_grad=False)
    task = JointTask(Pair(analysis, synthesis), recipe.loss, before.to(session.fabric.device))
    folder = scale.stage_folder("joint")
    return run_order(session, StageOrder("joint", task, recipe, *makers, folder, start), minutes)


def _needed(path: Path, stage: str) -> None:
    if not path.is_file():
        raise InputError(
            f"{str(path)!r} is missing: train stage {stage!r} with the same --out first"
        )


def class_size(limits: tuple[int, int]) -> int:
    """Return the side m of the kernels of a class: its largest, made odd."""
    return limits[1] + 1 - limits[1] % 2


def train_classifier(session: Session, minutes: float | None) -> Outcome:
    """Stage 4: which of the size classes a blur belongs to."""
    recipe = session.recipe.stage.classifier
    config = network_configs(session.recipe.model).classifier
    sizes = recipe.kernels.classes
    if len(sizes) != config.classes:
        raise InputError(
            f"kernels.classes holds {len(sizes)} classes, the classifier of [model] has "
            f"{config.classes}: make them equal"
        )
    network = build_network(config, session.recipe.seed + 2)
    start = _start(network, recipe.start, "classifier")
    size = max(class_size(limits) for limits in sizes)
    count = max(1, recipe.kernels.count // len(sizes))
    kernels = dataclasses.replace(recipe.kernels, count=count)
    banks = (
        session.bank(kernels, size, sizes=sizes),
        session.bank(kernels, size, sizes=sizes, held_out=True),
    )
    makers = _makers(session, "classifier", recipe, "luma", banks)
    order = StageOrder("classifier", ClassifierTask(network), recipe, *makers, "classifier", start)
    return run_order(session, order, minutes)


def train_correction(session: Session, minutes: float | None) -> Outcome:
    """Last stage: what a search leaves wrong with the kernels that it finds (not in the paper)."""
    recipe, seed = session.recipe.stage.correction, session.recipe.seed
    recipe.check()
    sizes = recipe.sizes()
    config = network_configs(session.recipe.model).correction
    if config.evidence != EVIDENCE:
        raise RecipeError(
            f"model.correction.evidence = {config.evidence} is impossible: "
            f"there are {EVIDENCE} maps of evidence; leave it out"
        )
    network = build_network(dataclasses.replace(config, kernel_size=max(sizes)), seed + 3)
    start = _start(network, recipe.start, "correction")
    held = held_out_counts(len(sizes), recipe.validation_images, recipe.batch)
    classes = range(len(sizes))
    training = [_samples(session, recipe, i, recipe.samples[i]) for i in classes]
    held_out = [_samples(session, recipe, i, held[i], held_out=True) for i in classes if held[i]]
    order = StageOrder(
        "correction",
        CorrectionTask(network, recipe.l1),
        recipe,
        EvidenceMaker(tuple(training), recipe.batch, seed, "correction"),
        HeldOutEvidence(tuple(held_out), recipe.batch),
        "correction",
        start,
    )
    return run_order(session, order, minutes)


def _samples(
    session: Session, recipe: CorrectionStage, index: int, count: int, *, held_out: bool = False
) -> CorrectionSamples:
    """Samples of a size class, on the training device."""
    limits, size, crop = recipe.kernels.classes[index], recipe.sizes()[index], recipe.crops[index]
    data, seed = session.sharp(recipe.data), session.recipe.seed
    bank = session.bank(recipe.kernels, size, sizes=(limits,), held_out=held_out)
    stream = f"correction {size}" + " held out" * held_out
    content = [data.report.manifest, limits, dataclasses.asdict(recipe.kernels)]
    searched_shrunk = size > network_configs(session.recipe.model).analysis.kernel_size
    order = SampleOrder(
        maker=BatchMaker(
            store=data.held_out if held_out else data.training,
            bank=bank,
            data=recipe.data,
            sensor=recipe.sensor,
            batch=1,
            crop=crop,
            view="luma",
            seed=seed,
            stream=stream,
        ),
        varying=recipe.varying,
        varying_bent=recipe.varying_bent,
        spoiling=Spoiling(recipe.near, recipe.bent, recipe.smoothed, wide=searched_shrunk),
        size=size,
        data=hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest(),
    )
    silent = not session.fabric.is_global_zero
    with session.fabric.rank_zero_first():
        samples = make_samples(
            order, count, session.out / "corrections", session.workers, silent=silent
        )
    return samples.to(session.fabric.device)


def train_expert(session: Session, minutes: float | None) -> Outcome:
    """Figure 1's expert: the synthesis network for one kernel."""
    recipe = session.recipe.stage.expert
    config = network_configs(session.recipe.model).synthesis
    network = build_network(config, session.recipe.seed + 1)
    start = _start(network, recipe.start, "synthesis")
    bank = _one_kernel(session, recipe.kernel, config.kernel_size)
    view = _view(config.image_channels)
    makers = _makers(session, "expert", recipe, view, (bank, bank))
    order = StageOrder(
        "expert", SynthesisTask(network, recipe.loss), recipe, *makers, "expert", start
    )
    return run_order(session, order, minutes)


def _one_kernel(session: Session, path: str, size: int) -> KernelBank:
    """A bank of the kernel in a file, or of the first that the recipe's seed draws."""
    recipe = session.recipe.stage.expert
    if not path:
        check_kernel_fits(recipe.kernels, size)
        one = session.bank(dataclasses.replace(recipe.kernels, count=1), size)
        return dataclasses.replace(one, turned=False)
    from napari_deblur.blur.kernel import check_kernel, resize_kernel_support
    from napari_deblur.files.kernels import read_kernel

    kernel = check_kernel(read_kernel(Path(path)), largest=size)
    kernel = resize_kernel_support(kernel, size)
    import numpy as np

    bank = KernelBank.gather(
        [(kernel / kernel.max())[None].astype(np.float16)], session.fabric.device
    )
    return dataclasses.replace(bank, turned=False)
