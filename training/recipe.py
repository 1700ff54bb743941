"""Recipes: everything that decides what a training run does, as frozen dataclasses.

Same recipe, same data, same seed: same run.  `napari_deblur.training.recipe_files` reads them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any, Literal

from napari_deblur.blur.kernel_bank import class_size
from napari_deblur.errors import RecipeError
from napari_deblur.training.schema import free_table, limited

__all__ = [
    "PAIR_STAGES",
    "AblationRecipe",
    "AnalysisStage",
    "ClassifierStage",
    "CorrectionStage",
    "DataRecipe",
    "DecoderStage",
    "DeconvolutionStage",
    "ExpertStage",
    "JointStage",
    "KernelRecipe",
    "MachineRecipe",
    "ModelRecipe",
    "Recipe",
    "SensorRecipe",
    "StageRecipe",
    "StagesRecipe",
    "SynthesisStage",
]

ImageLoss = Literal["l2", "l1", "log-mse"]


@dataclasses.dataclass(frozen=True)
class ModelRecipe:
    """The networks: a preset of `napari_deblur.networks` and what differs from it."""

    preset: str = "compact"
    analysis: dict[str, Any] = free_table()
    synthesis: dict[str, Any] = free_table()
    classifier: dict[str, Any] = free_table()
    correction: dict[str, Any] = free_table()


@dataclasses.dataclass(frozen=True)
class DataRecipe:
    """Sharp images: the weight of each kind in the mix, and how crops are taken."""

    photographs: float = limited(1.0, low=0)
    dead_leaves: float = limited(0.0, low=0)
    text: float = limited(0.0, low=0)
    spots: float = limited(0.0, low=0)
    filaments: float = limited(0.0, low=0)
    cells: float = limited(0.0, low=0)
    procedural_images: int = limited(48, low=1)
    procedural_size: int = limited(512, low=32)
    scales: tuple[float, ...] = limited((1.0,), low=0.05, high=1.0)
    largest_side: int = limited(2048, low=64)
    store_gib: float = limited(8.0, low=0.01)
    held_out: int = limited(16, low=1)
    colour: float = limited(0.5, low=0, high=1)
    gamma: tuple[float, float] = limited((0.7, 1.4), low=0.1, high=5)
    gamma_share: float = limited(0.0, low=0, high=1)


@dataclasses.dataclass(frozen=True)
class KernelRecipe:
    """Blur kernels: sizes in pixels, the weight of each family, the size of the bank.

    `classes` are the size classes of the stages `classifier`, `scales`
    (paper section 3.3) and `correction`.
    """

    smallest: int = limited(3, low=1)
    largest: int = limited(31, low=3)
    count: int = limited(20_000, low=1)
    shake: float = limited(0.85, low=0)
    straight: float = limited(0.05, low=0)
    defocused: float = limited(0.05, low=0)
    gaussian: float = limited(0.05, low=0)
    curves: float = limited(0.0, low=0)
    classes: tuple[tuple[int, int], ...] = limited(((1, 31), (32, 61), (62, 85)), low=1)


@dataclasses.dataclass(frozen=True)
class SensorRecipe:
    """What the camera does to the blurred image; intensities are in [0, 1].

    `noise` is the range of the standard deviation, drawn log-uniformly; a share
    `noiseless` of the images has none.  `saturated` images are brightened by a
    factor from `gain` and clipped, `shot` images have Poisson noise of
    `photons` at intensity 1, `quantised` ones are rounded to `bits`, those of
    the share `linear_light` are blurred before their gamma of 2.2.
    """

    noise: tuple[float, float] = limited((0.0005, 0.02), low=0, high=1)
    noiseless: float = limited(0.0, low=0, high=1)
    saturated: float = limited(0.0, low=0, high=1)
    gain: tuple[float, float] = limited((1.0, 3.0), low=1, high=100)
    shot: float = limited(0.0, low=0, high=1)
    photons: tuple[float, float] = limited((300.0, 30_000.0), low=1)
    quantised: float = limited(0.0, low=0, high=1)
    bits: int = limited(8, low=1, high=16)
    linear_light: float = limited(0.0, low=0, high=1)


@dataclasses.dataclass(frozen=True)
class StageRecipe:
    """What all stages have in common: budget, optimiser, schedule, bookkeeping.

    `steps` of `batch` crops of `crop` x `crop` pixels.  `schedule` is
    `plateau` (x `factor` when the mean loss of an epoch of `epoch` steps has not
    fallen for `patience` epochs), `cosine` (to `final` x the learning rate) or
    `constant`, each after `warmup` steps.  `share` is the stage's part of the
    minutes of `train all`.
    """

    steps: int = limited(10_000, low=1)
    batch: int = limited(8, low=1)
    crop: int = limited(256, low=16)
    optimizer: Literal["adam", "adamw"] = "adamw"
    learning_rate: float = limited(3e-4, low=1e-9, high=1)
    weight_decay: float = limited(0.0, low=0, high=1)
    schedule: Literal["plateau", "cosine", "constant"] = "cosine"
    warmup: int = limited(200, low=0)
    final: float = limited(0.01, low=0, high=1)
    epoch: int = limited(1000, low=1)
    patience: int = limited(5, low=1)
    factor: float = limited(0.8, low=0.01, high=0.999)
    clip: float = limited(1.0, low=0)
    ema: float = limited(0.999, low=0, high=0.999999)
    validate_every: int = limited(500, low=1)
    validation_images: int = limited(16, low=1)
    checkpoint_every: int = limited(500, low=1)
    log_every: int = limited(20, low=1)
    bad_steps: int = limited(50, low=0)
    share: float = limited(1.0, low=0)
    start: str = ""
    data: DataRecipe = dataclasses.field(default_factory=DataRecipe)
    kernels: KernelRecipe = dataclasses.field(default_factory=KernelRecipe)
    sensor: SensorRecipe = dataclasses.field(default_factory=SensorRecipe)


@dataclasses.dataclass(frozen=True)
class DecoderStage(StageRecipe):
    """Stage 0: the decoder alone, on analytic auto-correlations of kernels."""

    enabled: bool = False
    flip_until: float = limited(1.0, low=0, high=1)


@dataclasses.dataclass(frozen=True)
class AnalysisStage(StageRecipe):
    """Kernel L1 on true kernels.

    Up to the fraction `flip_hold` of the run the loss takes the better of the
    kernel and its 180-degree rotation; by `flip_until` it is plain L1.  Both 0: the paper.
    """

    flip_hold: float = limited(0.0, low=0, high=1)
    flip_until: float = limited(0.0, low=0, high=1)


@dataclasses.dataclass(frozen=True)
class SynthesisStage(StageRecipe):
    """Image loss with true kernels, of which a share may be perturbed as estimates are.

    Perturbed kernels are blurred by Gaussians of up to `perturbed_blur` pixels, and each of their
    values is changed by a standard deviation of up to `perturbed_noise` of itself.  `inner` is the
    share of the loss that only sees what lies farther from the crop's border than half a kernel:
    nearer, the scene that was blurred into the crop is unknown, which drowns all other errors.
    A share `found` of the images is blurred with the true kernels of the file `pairs` and deblurred
    with what was found in their place (`training.kernel_pairs`).
    """

    loss: ImageLoss = "l2"
    inner: float = limited(0.0, low=0, high=1)
    perturbed: float = limited(0.0, low=0, high=1)
    perturbed_blur: float = limited(1.0, low=0, high=10)
    perturbed_noise: float = limited(0.0, low=0, high=1)
    pairs: str = ""
    found: float = limited(0.5, low=0, high=1)


@dataclasses.dataclass(frozen=True)
class DeconvolutionStage(SynthesisStage):
    """The learned deconvolution in front of the U-Net alone.

    `early` is how much the estimates of the stages before the last count in the loss, all together.
    """

    enabled: bool = False
    early: float = limited(0.5, low=0)


@dataclasses.dataclass(frozen=True)
class JointStage(StageRecipe):
    """Both networks, image loss only (paper section 3.4)."""

    loss: ImageLoss = "l2"
    random_start: bool = False


@dataclasses.dataclass(frozen=True)
class ClassifierStage(StageRecipe):
    """Cross entropy over the size classes of `[kernels]`."""


@dataclasses.dataclass(frozen=True)
class CorrectionStage(StageRecipe):
    """Spectral error and L1 of kernels that were found, once they are corrected.

    For each size class of `[kernels]` there are `samples` kernels, found on as many images of
    `crops` pixels (`crop` counts nothing here).  A share `near` of them lies near the truth; the
    others are what the last scales of an alternation make of true kernels that were bent by up to
    `bent` and smoothed by up to `smoothed` pixels.  Over a share `varying` of the images the blur
    varies, from a kernel to itself bent by up to `varying_bent`.  These lengths are for kernels of
    31 pixels, and grow with them.  `l1` is the weight of L1 beside the logarithm of the spectral
    error.  `batch` is for the smallest kernels; larger ones come in smaller batches.
    """

    enabled: bool = False
    samples: tuple[int, ...] = limited((1000, 500, 500), low=1)
    crops: tuple[int, ...] = limited((224, 320, 400), low=16)
    near: float = limited(0.25, low=0, high=1)
    bent: float = limited(1.2, low=0, high=10)
    smoothed: float = limited(2.0, low=0.3, high=10)
    varying: float = limited(0.4, low=0, high=1)
    varying_bent: float = limited(0.6, low=0, high=10)
    l1: float = limited(0.5, low=0)

    def sizes(self) -> tuple[int, ...]:
        """Return the side m of the kernels of each class: its largest, made odd."""
        return tuple(map(class_size, self.kernels.classes))

    def check(self, where: str = "stage.correction") -> None:
        """Check what belongs together.

        Raises
        ------
        RecipeError
            When it does not.
        """
        classes = len(self.kernels.classes)
        for name in ("samples", "crops"):
            values = list(getattr(self, name))
            if len(values) != classes:
                raise RecipeError(
                    f"{where}.{name} = {values} is impossible: it must hold a value for each of "
                    f"the {classes} classes of {where}.kernels.classes"
                )
        for size, crop in zip(self.sizes(), self.crops, strict=True):
            if crop < 2 * size:
                raise RecipeError(
                    f"{where}.crops = {list(self.crops)} is impossible: {crop} must be >= "
                    f"{2 * size}, twice the side of the kernels of its class"
                )


@dataclasses.dataclass(frozen=True)
class ExpertStage(StageRecipe):
    """The synthesis network for one kernel: the file `kernel`, or one drawn from the seed."""

    loss: ImageLoss = "l2"
    kernel: str = ""


PAIR_STAGES = ("decoder", "analysis", "deconvolution", "synthesis", "joint")
"""Stages that a pair of networks goes through, in order; some recipes leave some out."""


@dataclasses.dataclass(frozen=True)
class StagesRecipe:
    """The stages, in the order in which `all` runs them."""

    decoder: DecoderStage
    analysis: AnalysisStage
    deconvolution: DeconvolutionStage
    synthesis: SynthesisStage
    joint: JointStage
    classifier: ClassifierStage
    correction: CorrectionStage
    expert: ExpertStage

    def of_pair(self) -> list[str]:
        """Return the stages that a pair of networks goes through, without those not enabled."""
        return [name for name in PAIR_STAGES if getattr(getattr(self, name), "enabled", True)]


@dataclasses.dataclass(frozen=True)
class AblationRecipe:
    """The budget of each row of the ablation table: steps of a stage, crops, kernel size."""

    synthesis_steps: int = limited(500, low=1)
    analysis_steps: int = limited(500, low=1)
    joint_steps: int = limited(100, low=1)
    rows: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class MachineRecipe:
    """Where the run takes place; may differ when a run is resumed.

    `precision` `auto` is bf16 for convolutions where the processor multiplies bf16 in hardware (a
    GPU, a CPU with AMX or AVX512-BF16) and float32 elsewhere, where bf16 is slower.
    """

    accelerator: Literal["auto", "cpu", "cuda", "gpu", "mps"] = "auto"
    devices: int = limited(1, low=1)
    nodes: int = limited(1, low=1)
    precision: Literal["auto", "bf16-mixed", "32-true"] = "auto"
    compile: bool = False
    channels_last: bool = True
    workers: int = limited(1, low=0, high=256)
    checkpoint_minutes: float = limited(10.0, low=0.01)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A whole recipe; `text` is the table it was read from, after every override."""

    name: str
    model: ModelRecipe
    stage: StagesRecipe
    machine: MachineRecipe
    ablation: AblationRecipe
    seed: int = limited(0, low=0)

    def fingerprint(self, *names: str) -> str:
        """Sha256 over what decides the result of the stages `names`; the machine does not."""
        table: dict[str, Any] = {"seed": self.seed, "model": dataclasses.asdict(self.model)}
        table |= {name: dataclasses.asdict(getattr(self.stage, name)) for name in names}
        return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as a table that JSON can hold."""
        return dataclasses.asdict(self)
