"""The stages of networks that belong to no pair: classifier, correction, Figure 1's expert."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_deblur.blur.evidence import EVIDENCE
from napari_deblur.blur.kernel import check_kernel, resize_kernel_support
from napari_deblur.blur.kernel_bank import class_size
from napari_deblur.errors import InputError, RecipeError
from napari_deblur.training.batches import BatchMaker, KernelBank
from napari_deblur.training.corrections import CorrectionSamples, SampleOrder, make_samples
from napari_deblur.training.evidence_batches import (
    EvidenceMaker,
    HeldOutEvidence,
    held_out_counts,
)
from napari_deblur.training.models import build_network, network_configs
from napari_deblur.training.orders import StageOrder, run_order
from napari_deblur.training.session import Session, check_kernel_fits
from napari_deblur.training.spoiling import Spoiling
from napari_deblur.training.stage_parts import batch_makers, load_start, view_of
from napari_deblur.training.tasks import ClassifierTask, CorrectionTask, SynthesisTask

if TYPE_CHECKING:
    from napari_deblur.training.fit import Outcome
    from napari_deblur.training.recipe import CorrectionStage

__all__ = ["train_classifier", "train_correction", "train_expert"]


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
    start = load_start(network, recipe.start, "classifier")
    size = max(class_size(limits) for limits in sizes)
    count = max(1, recipe.kernels.count // len(sizes))
    kernels = dataclasses.replace(recipe.kernels, count=count)
    banks = (
        session.bank(kernels, size, sizes=sizes),
        session.bank(kernels, size, sizes=sizes, held_out=True),
    )
    makers = batch_makers(session, "classifier", recipe, "luma", banks)
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
    start = load_start(network, recipe.start, "correction")
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
    start = load_start(network, recipe.start, "synthesis")
    bank = _one_kernel(session, recipe.kernel, config.kernel_size)
    view = view_of(config.image_channels)
    makers = batch_makers(session, "expert", recipe, view, (bank, bank))
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
    from napari_deblur.files.kernels import read_kernel

    kernel = check_kernel(read_kernel(Path(path)), largest=size)
    kernel = resize_kernel_support(kernel, size)
    bank = KernelBank.gather(
        [(kernel / kernel.max())[None].astype(np.float16)], session.fabric.device
    )
    return dataclasses.replace(bank, turned=False)
