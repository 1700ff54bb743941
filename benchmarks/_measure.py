"""What all benchmarks share: interleaved times, peak memory, the machine and its ceilings.

Each benchmark says on the error stream what it is at.  One that is stopped goes on where it was
when it is started again: parts that are measured lie beside the JSON file until all of them are.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

import napari_deblur

T = TypeVar("T")


def parser(description: str | None) -> argparse.ArgumentParser:
    """Options that every benchmark has."""
    made = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    made.add_argument("--full", action="store_true", help="sizes and rounds for the record")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as well")
    made.add_argument("--device", default="cpu", help="cpu, cuda, cuda:N or mps")
    made.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the CPU")
    return made


def start(made: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    """Read the options and set what they say."""
    options = made.parse_args(arguments)
    torch.set_num_threads(options.threads)
    return options


def say(text: str) -> None:
    """Tell whoever waits what is going on."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


class Parts:
    """Figures that a benchmark has measured so far, kept in a file beside its JSON file.

    They count only for the same command on the same machine with the same source code; without a
    JSON file nothing is kept.
    """

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        self.about = {**_about(name, options), "code": _code()}
        self.path = options.json and options.json.with_suffix(".part")
        self.found: dict[str, Any] = {}
        if self.path and self.path.is_file():
            kept = json.loads(self.path.read_text(encoding="utf-8"))
            if kept["about"] == self.about:
                self.found = kept["found"]

    def measure(self, part: str, task: Callable[[], Any]) -> Any:
        """What a task gives, which JSON must be able to hold; measured once."""
        if part in self.found:
            say(f"{part}: measured before")
            return self.found[part]
        say(part)
        self.found[part] = task()
        if self.path:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps({"about": self.about, "found": self.found})
            self.path.write_text(text, encoding="utf-8")
        return self.found[part]

    def finish(self) -> None:
        """Forget everything."""
        if self.path:
            self.path.unlink(missing_ok=True)


def _code() -> str:
    """Hash of the source code that is measured, and of that which measures."""
    folders = (Path(__file__).parent, Path(napari_deblur.__file__).parent)
    found = hashlib.sha256()
    for path in sorted(path for folder in folders for path in folder.rglob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()


def _about(name: str, options: argparse.Namespace) -> dict[str, Any]:
    return {
        "benchmark": name,
        "full": options.full,
        "command": " ".join(["python", f"benchmarks/{name}.py", *_kept(sys.argv[1:])]),
        "machine": machine(options.device),
    }


def finish(name: str, options: argparse.Namespace, figures: Mapping[str, Any]) -> int:
    """Print the figures, and write them where they are to go; return the exit code."""
    text = json.dumps({**_about(name, options), "figures": figures}, indent=2)
    print(text)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(text + "\n", encoding="utf-8")
    return 0


def _kept(arguments: list[str]) -> list[str]:
    """Arguments that decide the figures; folders by their last part."""
    kept, drop = [], False
    for argument in arguments:
        if argument in ("--json", "--folder") or drop:
            drop = not drop
            continue
        kept.append(Path(argument).name if os.sep in argument else argument)
    return kept


def machine(device: str) -> dict[str, Any]:
    """What the figures were measured on."""
    found = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "bfloat16 on the processor": _bfloat16(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "device": device,
    }
    if device.startswith("cuda"):
        found["graphics card"] = torch.cuda.get_device_name(device)
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _bfloat16() -> str:
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    if capabilities.get("amx_bf16"):
        return "AMX"
    return "AVX512-BF16" if capabilities.get("avx512_bf16") else "none"


def synchronise(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()


def seconds(task: Callable[[], object], device: str = "cpu") -> float:
    """How long a task takes, once."""
    synchronise(device)
    begin = time.perf_counter()
    task()
    synchronise(device)
    return time.perf_counter() - begin


def interleave(
    tasks: Mapping[str, Callable[[], object]], rounds: int, device: str = "cpu"
) -> dict[str, list[float]]:
    """Seconds of every task in every round; all tasks take turns, so that none has better luck.

    One more round goes before, to warm up, and is left out.
    """
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(rounds + 1):
        label = f"round {turn} of {rounds}" if turn else "warming up"
        for name, task in tasks.items():
            taken = seconds(task, device)
            say(f"  {label}, {name}: {taken:.2f} s")
            if turn:
                times[name].append(taken)
    return times


def medians(times: Mapping[str, list[float]]) -> dict[str, float]:
    """The middle of each task's rounds."""
    return {name: statistics.median(taken) for name, taken in times.items()}


def ratio(slow: list[float], quick: list[float]) -> float:
    """How many times longer one task took than another: the middle of the rounds' own ratios."""
    return statistics.median(a / b for a, b in zip(slow, quick, strict=True))


def ceilings(device: str, side: int) -> dict[str, tuple[Callable[[], object], float]]:
    """What the machine can do at best: a task for each ceiling, and its operations or bytes.

    A matrix product of `side` x `side` in either precision, in units of floating-point operations,
    and a copy of memory, in bytes read and written.
    """
    made: dict[str, tuple[Callable[[], object], float]] = {}
    for dtype in (torch.float32, torch.bfloat16):
        factors = torch.randn(2, side, side, device=device).to(dtype)
        out = torch.empty(side, side, device=device, dtype=dtype)
        made[f"matrix product {name_of(dtype)}"] = (_product(factors, out), 2.0 * side**3)
    source = torch.zeros(4 * side * side, device=device)
    target = torch.empty_like(source)
    made["memory copy"] = (lambda: target.copy_(source), 2.0 * source.numel() * 4)
    return made


def _product(factors: torch.Tensor, out: torch.Tensor) -> Callable[[], object]:
    return lambda: torch.mm(factors[0], factors[1], out=out)


def name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


# ------------------------------------------------------------------ memory


def apart(task: Callable[..., T], *arguments: object) -> T:
    """Run a function of a module in a process of its own, which starts empty."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(task, arguments)


def peak_bytes(task: Callable[[], object], device: str = "cpu") -> int | None:
    """Memory that a task takes at its peak, beyond what was there before.

    On a CPU that is what the process grows by (Linux only, elsewhere None), on a graphics card
    what torch allocates.
    """
    if device.startswith("cuda"):
        synchronise(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        task()
        synchronise(device)
        return torch.cuda.max_memory_allocated(device) - before
    if platform.system() != "Linux":
        task()
        return None
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # VmHWM starts anew
    before = _resident("VmRSS")
    task()
    return _resident("VmHWM") - before


def highest_bytes() -> int | None:
    """Most memory that this process has taken since it started (Linux only, elsewhere None)."""
    return _resident("VmHWM") if platform.system() == "Linux" else None


def _resident(field: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")
