"""Write and open weights files: safetensors with a description, and nothing that can run code."""

from __future__ import annotations

import hashlib
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch.overrides import TorchFunctionMode

from napari_deblur.errors import DeblurError, InputError, WeightsError
from napari_deblur.files.atomic import atomic_path
from napari_deblur.networks.analysis import AnalysisNetwork
from napari_deblur.networks.classifier import BlurSizeClassifier
from napari_deblur.networks.config import (
    AnalysisConfig,
    ClassifierConfig,
    CorrectionConfig,
    SynthesisConfig,
)
from napari_deblur.networks.correction import KernelCorrection
from napari_deblur.networks.synthesis import SynthesisNetwork
from napari_deblur.weights.header import (
    KEY,
    KINDS,
    Kind,
    header_text,
    parse_header,
    unreadable,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import Tensor, nn

__all__ = ["WeightsFile", "open_network", "read_weights", "save_weights"]

Config = AnalysisConfig | SynthesisConfig | ClassifierConfig | CorrectionConfig

_CONFIGS: dict[Kind, type[Config]] = {
    "analysis": AnalysisConfig,
    "synthesis": SynthesisConfig,
    "classifier": ClassifierConfig,
    "correction": CorrectionConfig,
}
_STORED = (torch.float32, torch.bfloat16)
_AGAIN = "fetch or copy the file again"


@dataclass(frozen=True)
class WeightsFile:
    """Content of a weights file.

    Attributes
    ----------
    kind : {"analysis", "synthesis", "classifier", "correction"}
        Which network it is.
    config : dict
        Its architecture.
    provenance : dict
        Where the weights come from.
    tensors : dict of str to torch.Tensor
        The module's state, on the CPU; floating-point tensors are float32.
    """

    kind: Kind
    config: dict[str, Any]
    provenance: dict[str, Any]
    tensors: dict[str, Tensor]


def save_weights(
    path: str | os.PathLike[str],
    module: nn.Module,
    kind: Kind,
    config: Config,
    provenance: Mapping[str, Any],
    *,
    store_as: torch.dtype | Mapping[str, torch.dtype] = torch.float32,
) -> str:
    """Write a network's weights, completely or not at all.

    The same module, description and provenance give the same bytes.

    Parameters
    ----------
    path : path
        File to write, named ``*.safetensors``.
    module : torch.nn.Module
        The network; its state is taken from whatever device it is on.
    kind : {"analysis", "synthesis", "classifier", "correction"}
        Which network it is.
    config : AnalysisConfig, SynthesisConfig, ClassifierConfig or CorrectionConfig
        The architecture that `module` was built from.
    provenance : mapping
        Training data, recipe, steps, versions, figures: whatever JSON holds.
    store_as : torch.dtype or mapping of str to torch.dtype
        ``torch.float32`` or ``torch.bfloat16`` (half the size, 8 bits of precision) for all
        floating-point tensors, or by tensor name; those not named stay float32.

    Returns
    -------
    str
        SHA-256 of the file in hexadecimal.

    Raises
    ------
    InputError
        If kind and config do not belong together, `store_as` names an unknown tensor or another
        dtype, or the provenance is not JSON.
    WeightsError
        If a weight is not finite.
    OutputError
        If the file cannot be written.
    """
    if kind not in KINDS or not isinstance(config, _CONFIGS[kind]):
        raise InputError(
            f"kind is {kind!r} with a {type(config).__name__}; allowed are "
            + ", ".join(f"{key!r} with {value.__name__}" for key, value in _CONFIGS.items())
        )
    text = header_text(kind, config.to_dict(), provenance)
    tensors = _stored_tensors(module, store_as)
    data = save(tensors, {KEY: text})
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def read_weights(path: str | os.PathLike[str], sha256: str | None = None) -> WeightsFile:
    """Read a weights file.

    Parameters
    ----------
    path : path
        The file.
    sha256 : str, optional
        The hash that its bytes must have; compared before anything in them is looked at.

    Returns
    -------
    WeightsFile
        Description and tensors.

    Raises
    ------
    WeightsError
        If the file is missing, has another hash, is damaged, or is no weights file of this
        package.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise WeightsError(f"weights file '{path}' is no regular file; give a file")
        data = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    if sha256 is not None:
        found = hashlib.sha256(data).hexdigest()
        if found != sha256.lower():
            raise WeightsError(
                f"'{path}' has the hash {found} and not {sha256}: it is damaged or another file; "
                f"{_AGAIN}"
            )
    header = parse_header(data, str(path))
    try:
        stored = load(data)
    except (SafetensorError, KeyError, ValueError, RuntimeError, OverflowError) as error:
        raise WeightsError(f"'{path}' is damaged ({_line(error)}); {_AGAIN}") from error
    tensors = {name: _in_memory(tensor) for name, tensor in stored.items()}
    _check_finite(tensors, f"'{path}'", "train the network again, with a lower learning rate")
    return WeightsFile(header.kind, header.config, header.provenance, tensors)


def open_network(path: str | os.PathLike[str], sha256: str | None = None) -> nn.Module:
    """Build the network that a weights file describes, and fill it.

    Parameters
    ----------
    path : path
        The file.
    sha256 : str, optional
        The hash that its bytes must have; compared before anything in them is looked at.

    Returns
    -------
    AnalysisNetwork, SynthesisNetwork, BlurSizeClassifier or KernelCorrection
        On the CPU, float32, in evaluation mode.  The state of torch's random generator is
        as it was.

    Raises
    ------
    WeightsError
        As `read_weights`, or if tensors and configuration do not belong together.
    """
    file = read_weights(path, sha256)
    try:
        with _at_most(file.tensors), torch.random.fork_rng(devices=[]), _Unfilled():
            module = _build(file.kind, file.config)
        module.load_state_dict(file.tensors)
    except (DeblurError, RuntimeError, TypeError, ValueError, OverflowError, MemoryError) as error:
        raise WeightsError(
            f"'{path}' holds no {file.kind} network that this version can build "
            f"({_line(error)}); update napari-deblur, or {_AGAIN}"
        ) from error
    return module.eval()


def _build(kind: Kind, config: Mapping[str, Any]) -> nn.Module:
    if kind == "analysis":
        return AnalysisNetwork(AnalysisConfig.from_dict(config))
    if kind == "synthesis":
        return SynthesisNetwork(SynthesisConfig.from_dict(config))
    if kind == "classifier":
        return BlurSizeClassifier(ClassifierConfig.from_dict(config))
    return KernelCorrection(CorrectionConfig.from_dict(config))


class _Unfilled(TorchFunctionMode):
    """Leave out the random weights that a network begins with: those of the file replace them."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init" and "tensor" in given:
            return given["tensor"]
        return func(*args, **given)


@contextmanager
def _at_most(tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """Stop building a network that is much larger than the tensors that shall fill it.

    So a file that describes a giant does not fill the memory.
    """
    from torch.nn.modules.module import register_module_parameter_registration_hook

    thread = threading.get_ident()
    left = 2 * sum(tensor.numel() for tensor in tensors.values()) + 2**16

    def count(_module: nn.Module, _name: str, parameter: Tensor | None) -> None:
        nonlocal left
        if parameter is not None and threading.get_ident() == thread:
            left -= parameter.numel()
            if left < 0:
                raise WeightsError("the description asks for far more weights than there are")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def _stored_tensors(
    module: nn.Module, store_as: torch.dtype | Mapping[str, torch.dtype]
) -> dict[str, Tensor]:
    state = {name: tensor.detach().cpu() for name, tensor in module.state_dict().items()}
    dtypes = dict.fromkeys(state, store_as) if isinstance(store_as, torch.dtype) else store_as
    for name, dtype in dtypes.items():
        if name not in state or dtype not in _STORED:
            raise InputError(
                f"store_as has {name!r}: {dtype}; give float32 or bfloat16 for tensors of the "
                "module"
            )
    _check_finite(state, "the network to save", "go back to the last checkpoint")
    return {
        name: _contiguous(tensor, dtypes.get(name, torch.float32)) for name, tensor in state.items()
    }


def _contiguous(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Copy of its own, floating-point numbers as `dtype`; safetensors refuses shared memory."""
    wanted = dtype if tensor.is_floating_point() else tensor.dtype
    return tensor.to(wanted).clone(memory_format=torch.contiguous_format)


def _in_memory(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _check_finite(tensors: Mapping[str, Tensor], what: str, remedy: str) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise WeightsError(f"{what} has weights that are not finite in '{name}'; {remedy}")


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:200]
