"""Measure accuracy, and write the tables and pictures of docs/accuracy.md anew.

Results are kept image by image in a working folder, one for each pair of weights, so a run that was
stopped goes on where it was.  `--quick` takes a few images and leaves the documentation alone.

    python benchmarks/accuracy.py --bench ../shared/bench
    python benchmarks/accuracy.py --bench ../shared/bench --only levin --only lai
    python benchmarks/accuracy.py --bench ../shared/bench --only lai --row auto --row untold
    python benchmarks/accuracy.py --bench ../shared/bench --quick

The folder holds `levin`, `lai` and `real` as `napari-deblur evaluate` takes them; Kodak's images
come from `--kodak`, a folder or a zip.
"""

from __future__ import annotations

import argparse
import shutil
import time
import zipfile
from pathlib import Path

import numpy as np
import torch
from _accuracy_field import measure_fields, measure_pooling
from _accuracy_pictures import kernel_montage
from _accuracy_real import measure_real
from _accuracy_rows import KODAK, LAI, LEVIN, NOISES, Row, noise_rows
from _accuracy_store import Bench, read_json, weights_hash, write_json
from _accuracy_tables import write_tables

from napari_deblur.blur.kernel_bank import SIZE_CLASSES
from napari_deblur.evaluation import lai, levin, simulated
from napari_deblur.files.kernels import read_kernel
from napari_deblur.memory import keep_freed_memory

ROOT = Path(__file__).resolve().parents[1]
KODAK_SEED, NOISE_SEED, CLASSIFIER_SEED = 11, 3, 17
FIELD_PHOTOGRAPHS = ("kodim01", "kodim07", "kodim13", "kodim19")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--bench", type=Path, required=True, help="folder with levin, lai and real")
    parser.add_argument("--kodak", type=Path, help="default: BENCH/../data/kodak.zip")
    parser.add_argument("--only", action="append", choices=list(RUNNERS), help="may be given again")
    parser.add_argument("--row", action="append", help="only rows of this key; may be given again")
    parser.add_argument("--quick", action="store_true", help="few images; leaves docs/ alone")
    parser.add_argument("--fresh", action="store_true", help="measure again what is there already")
    parser.add_argument("--model", default="default", help="name, or folder of a pair")
    parser.add_argument("--classifier", type=Path, help="weights; default: the registry's")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "accuracy")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    keep_freed_memory()
    work = options.work / f"{weights_hash(options.model)}{'-quick' if options.quick else ''}"
    sections = options.only or list(RUNNERS)
    if options.fresh:
        for section in sections:
            shutil.rmtree(work / section, ignore_errors=True)
    docs = work if options.quick else ROOT / "docs"
    bench = Bench(work, docs / "accuracy.json", options.model, options.device)
    for section in sections:
        RUNNERS[section](bench, options)
    if options.quick:
        docs.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / "docs" / "accuracy.md", docs / "accuracy.md")
    write_tables(docs / "accuracy.md", read_json(bench.results))
    print(f"wrote {docs / 'accuracy.md'}")


def _rows(rows: tuple[Row, ...], options: argparse.Namespace) -> list[Row]:
    return [row for row in rows if not options.row or row.key in options.row]


def _some(cases: list, options: argparse.Namespace, step: int) -> list:
    return cases[::step] if options.quick else cases


def run_levin(bench: Bench, options: argparse.Namespace) -> None:
    cases = _some(levin.find_cases(options.bench / "levin"), options, 11)
    for row in _rows(LEVIN, options):
        bench.run("levin", row, cases, levin.PROTOCOL)


def run_lai(bench: Bench, options: argparse.Namespace) -> None:
    cases = _some(lai.find_cases(options.bench / "lai"), options, 23)
    for row in _rows(LAI, options):
        bench.run("lai", row, cases, lai.PROTOCOL)


def run_kodak(bench: Bench, options: argparse.Namespace) -> None:
    cases = simulated.find_cases(_kodak(options), seed=KODAK_SEED)
    for row in _rows(KODAK, options):
        bench.run("kodak", row, _some(cases, options, 12), simulated.PROTOCOL)


def run_noise(bench: Bench, options: argparse.Namespace) -> None:
    for noise in NOISES:
        cases = simulated.find_cases(_kodak(options), noise=noise, seed=NOISE_SEED, side=256)
        for row in _rows(noise_rows(noise), options):
            bench.run("noise", row, _some(cases, options, 12), simulated.PROTOCOL)


def run_classifier(bench: Bench, options: argparse.Namespace) -> None:
    """Kernels of each class on every image; the class told against the true one."""
    from napari_deblur.engine.auto import class_chances
    from napari_deblur.weights.fetch import weights_path
    from napari_deblur.weights.files import open_network
    from napari_deblur.weights.registry import classifier_entry, find_weights

    entry = find_weights(options.classifier) if options.classifier else classifier_entry()
    if entry is None:
        print("classifier: there is none yet; give --classifier")
        return
    network = open_network(weights_path(entry), sha256=entry.sha256).to(options.device)
    start = time.perf_counter()
    counts = np.zeros((len(SIZE_CLASSES),) * 2, int)
    for number, (smallest, largest) in enumerate(SIZE_CLASSES):
        sizes = (max(smallest, 3), largest)
        cases = simulated.find_cases(_kodak(options), sizes=sizes, seed=CLASSIFIER_SEED + number)
        for case in _some(cases, options, 6):
            chances = class_chances(network, [case.load().blurry[0]], torch.device(options.device))
            counts[number, int(np.argmax(chances))] += 1
    right = float(np.trace(counts) / counts.sum())
    print(f"classifier: right {right:.0%}\n{counts}")
    content = read_json(bench.results)
    content["classifier"] = {
        "kodak": {
            "classes": [list(limits) for limits in SIZE_CLASSES],
            "counts": counts.tolist(),
            "images": int(counts.sum()),
            "right": right,
            "weights": entry.sha256[:12],
            "spent": time.perf_counter() - start,
        }
    }
    write_json(bench.results, content)


def run_field(bench: Bench, options: argparse.Namespace) -> None:
    names = FIELD_PHOTOGRAPHS[1:2] if options.quick else FIELD_PHOTOGRAPHS
    measure_fields(bench, _kodak(options), names)


def run_pooling(bench: Bench, options: argparse.Namespace) -> None:
    measure_pooling(bench, quick=options.quick)


def run_real(bench: Bench, options: argparse.Namespace) -> None:
    if not options.quick:
        measure_real(bench, options.bench / "real")


def run_pictures(bench: Bench, options: argparse.Namespace) -> None:
    """Draw kernels that the other sections found: a row of true ones, a row for each image."""
    folder = bench.results.parent / "images"
    shown = {}
    for section, module, size in (("levin", levin, 31), ("lai", lai, 79)):
        cases = module.find_cases(options.bench / section)
        truths = list(dict.fromkeys(case.kernel for case in cases))
        rows = [[read_kernel(path) for path in truths]]
        images = list(dict.fromkeys(case.sharp for case in cases))
        if section == "lai":  # the first of each category
            images = [path for path in images if "_01_" in path.name]
        for image in images:
            names = {case.kernel: case.name for case in cases if case.sharp == image}
            rows.append([bench.kernel(section, "default", names[path]) for path in truths])
        kernel_montage(folder / f"{section}-kernels.png", rows, size)
        stems = ", ".join(path.stem.removesuffix("_sharp") for path in images)
        shown[f"{section}-kernels.png"] = (
            f"{section.capitalize()}: the true kernels in the first row, below them those found on "
            f"{stems} (square root of the values)."
        )
    content = read_json(bench.results)
    content["pictures"] = shown
    write_json(bench.results, content)


def _kodak(options: argparse.Namespace) -> Path:
    """Return the folder of Kodak's images; a zip is unpacked into the working folder."""
    path: Path = options.kodak or options.bench.parent / "data" / "kodak.zip"
    if path.is_dir():
        return path
    folder: Path = options.work / "kodak"
    if not folder.is_dir():
        part = folder.with_name("kodak.part")
        shutil.rmtree(part, ignore_errors=True)
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.lower().endswith((".png", ".tif", ".jpg")):
                    part.mkdir(parents=True, exist_ok=True)
                    (part / Path(name).name).write_bytes(archive.read(name))
        part.rename(folder)
    return folder


RUNNERS = {
    "levin": run_levin,
    "lai": run_lai,
    "kodak": run_kodak,
    "noise": run_noise,
    "classifier": run_classifier,
    "field": run_field,
    "pooling": run_pooling,
    "real": run_real,
    "pictures": run_pictures,
}


if __name__ == "__main__":
    main()
