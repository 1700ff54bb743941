"""Weights come back as they were saved; a file that is damaged or foreign is refused."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from napari_deblur.errors import InputError, OutputError, WeightsError
from napari_deblur.networks.presets import PRESETS
from napari_deblur.weights.files import open_network, read_weights, save_weights
from napari_deblur.weights.header import read_header

KINDS = ("analysis", "synthesis", "classifier")


def header_of(path: Path) -> dict:
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length])


def with_description(path: Path, **changes: object) -> None:
    """Change entries of a file's description; None takes one out."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    description = json.loads(header["__metadata__"]["napari_deblur"])
    description.update(changes)
    kept = {key: value for key, value in description.items() if value is not None}
    header["__metadata__"]["napari_deblur"] = json.dumps(kept)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])


@pytest.mark.parametrize("kind", KINDS)
def test_network_comes_back_exactly(
    kind: str, networks: dict[str, nn.Module], tmp_path: Path
) -> None:
    path = tmp_path / "w.safetensors"
    config = getattr(PRESETS["tiny"], kind)
    sha256 = save_weights(path, networks[kind], kind, config, {"steps": 3})
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    network = open_network(path, sha256)
    assert type(network) is type(networks[kind])
    assert network.config == config
    assert not network.training
    saved, opened = networks[kind].state_dict(), network.state_dict()
    assert saved.keys() == opened.keys()
    for name, tensor in opened.items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, saved[name])
    file = read_weights(path)
    assert (file.kind, file.config, file.provenance) == (kind, config.to_dict(), {"steps": 3})


def test_same_network_gives_the_same_bytes(save: Callable[..., Path], tmp_path: Path) -> None:
    first = save("analysis", b=2, a=1).read_bytes()
    assert save("analysis", a=1, b=2).read_bytes() == first


def test_bfloat16_halves_the_file_and_is_float32_in_memory(
    networks: dict[str, nn.Module], tmp_path: Path
) -> None:
    config, network = PRESETS["tiny"].synthesis, networks["synthesis"]
    full, half, mixed = (tmp_path / f"{name}.safetensors" for name in ("full", "half", "mixed"))
    save_weights(full, network, "synthesis", config, {})
    save_weights(half, network, "synthesis", config, {}, store_as=torch.bfloat16)
    assert half.stat().st_size < 0.6 * full.stat().st_size
    for name, tensor in open_network(half).state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, network.state_dict()[name].bfloat16().float())
    some = max(network.state_dict(), key=lambda name: network.state_dict()[name].numel())
    save_weights(mixed, network, "synthesis", config, {}, store_as={some: torch.bfloat16})
    stored = header_of(mixed)
    del stored["__metadata__"]
    assert {name for name, entry in stored.items() if entry["dtype"] == "BF16"} == {some}


def test_opening_leaves_the_random_generator_alone(save: Callable[..., Path]) -> None:
    path = save("analysis")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    open_network(path)
    assert torch.equal(torch.rand(3), expected)


def test_wrong_hash_is_found_before_the_content_is_looked_at(
    save: Callable[..., Path], tmp_path: Path
) -> None:
    path = save("analysis")
    with pytest.raises(WeightsError, match="has the hash"):
        open_network(path, "0" * 64)
    # Not even a file that is no safetensors file at all gets as far as its header.
    (tmp_path / "x").write_bytes(b"no safetensors")
    with pytest.raises(WeightsError, match="has the hash"):
        read_weights(tmp_path / "x", "0" * 64)


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.safetensors", tmp_path):
        with pytest.raises(WeightsError, match=str(path)):
            read_weights(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x02\0\0\0\0\0\0",
        b"\x80\x02}q\0.",  # a pickle
        b"PK\x03\x04" + b"\0" * 60,  # what torch.save writes
        struct.pack("<Q", 2**62) + b"{}",
        struct.pack("<Q", 100) + b"{}",
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 20000) + b"[" * 20000,
        struct.pack("<Q", 2) + b"\xff\xfe",
    ],
)
def test_what_is_no_weights_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    for read in (read_weights, open_network, read_header):
        with pytest.raises(WeightsError):
            read(path)


def test_safetensors_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"a": torch.zeros(3)}, path, metadata={"format": "pt"})
    with pytest.raises(WeightsError, match="not a weights file of napari-deblur"):
        read_weights(path)


def test_truncated_file_is_refused_wherever_it_was_cut(save: Callable[..., Path]) -> None:
    path = save("analysis")
    content = path.read_bytes()
    for part in (0.001, 0.05, 0.5, 0.999):
        path.write_bytes(content[: int(len(content) * part)])
        with pytest.raises(WeightsError):
            open_network(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "update napari-deblur"),
        ({"format": 0}, "unknown description"),
        ({"format": "1"}, "no format"),
        ({"extra": 1}, "unknown description"),
        ({"provenance": None}, "unknown description"),
        ({"kind": "magic"}, "kind 'magic'"),
        ({"config": [1]}, "no table"),
        ({"config": {"kernel_size": 15, "colour": 1}}, "no analysis network"),
        ({"config": {"kernel_size": 14}}, "no analysis network"),
        ({"config": PRESETS["compact"].analysis.to_dict()}, "more weights than there are"),
        ({"config": {"kernel_size": 15, "radius": 7, "filters": 10**9}}, "no analysis network"),
        ({"kind": "synthesis"}, "no synthesis network"),
        (
            {"config": {**PRESETS["tiny"].analysis.to_dict(), "decoder_channels": 7}},
            "no analysis network",
        ),
    ],
)
def test_description_that_does_not_fit_is_refused(
    save: Callable[..., Path], changes: dict, message: str
) -> None:
    path = save("analysis")
    with_description(path, **changes)
    with pytest.raises(WeightsError, match=message):
        open_network(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_on_both_ways(tmp_path: Path, value: float) -> None:
    from napari_deblur.networks.analysis import AnalysisNetwork

    config = PRESETS["tiny"].analysis
    network = AnalysisNetwork(config)
    path = tmp_path / "w.safetensors"
    save_weights(path, network, "analysis", config, {})
    content = path.read_bytes()
    path.write_bytes(content[:-4] + struct.pack("<f", value))
    with pytest.raises(WeightsError, match="not finite"):
        read_weights(path)
    with torch.no_grad():
        next(network.parameters()).view(-1)[0] = value
    with pytest.raises(WeightsError, match="not finite"):
        save_weights(tmp_path / "new.safetensors", network, "analysis", config, {})
    assert not (tmp_path / "new.safetensors").exists()


def test_what_cannot_be_saved_is_refused_and_nothing_is_written(
    networks: dict[str, nn.Module], tmp_path: Path
) -> None:
    config, network = PRESETS["tiny"].analysis, networks["analysis"]
    path = tmp_path / "w.safetensors"
    with pytest.raises(InputError, match="allowed are"):
        save_weights(path, network, "synthesis", config, {})
    with pytest.raises(InputError, match="JSON"):
        save_weights(path, network, "analysis", config, {"loss": float("nan")})
    with pytest.raises(InputError, match="JSON"):
        save_weights(path, network, "analysis", config, {"path": path})
    with pytest.raises(InputError, match="store_as"):
        save_weights(path, network, "analysis", config, {}, store_as=torch.float16)
    with pytest.raises(InputError, match="store_as"):
        save_weights(path, network, "analysis", config, {}, store_as={"no": torch.bfloat16})
    with pytest.raises(OutputError):
        save_weights(tmp_path / "no" / "w.safetensors", network, "analysis", config, {})
    assert list(tmp_path.iterdir()) == []


def test_damaged_file_is_opened_or_refused_and_nothing_else(
    networks: dict[str, nn.Module], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "w.safetensors"
    save_weights(path, networks["analysis"], "analysis", PRESETS["tiny"].analysis, {})
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    places = st.integers(0, length + 64)

    @settings(max_examples=30)
    @given(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=4))
    def check(changes: list[tuple[int, int]]) -> None:
        damaged = bytearray(content)
        for position, value in changes:
            damaged[position] = value
        path.write_bytes(damaged)
        message = ""
        try:
            open_network(path)
        except WeightsError as error:
            message = str(error)
        assert "\n" not in message

    check()
