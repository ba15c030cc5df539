"""A file of tensors comes back whole, or is one clear line."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import nn

from common.errors import CheckpointError
from common.tensors import build_module, check_header, fitting, load_tensors, save_tensors

TENSORS = {
    "weight": torch.arange(6.0).reshape(2, 3),
    "half": torch.ones(3, dtype=torch.bfloat16),
    "step": torch.tensor(7),
    "empty": torch.zeros(0, 4),
}
METADATA = {"rate": 0.1, "names": ["a", "b"]}


def test_every_flipped_bit_and_every_cut_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_tensors(path, "thing", TENSORS, METADATA)
    found, metadata = load_tensors(path, "thing")
    assert metadata == METADATA and found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)
    whole = path.read_bytes()
    for bit in range(0, 8 * len(whole), 3):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        with pytest.raises(CheckpointError) as caught:
            load_tensors(path, "thing")
        assert "\n" not in str(caught.value)
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match="damaged"):
            load_tensors(path, "thing")


def header(content: object, data: bytes = b"") -> bytes:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text + data


BROKEN = {
    "longer_than_the_file": struct.pack("<Q", 2**40) + b"{}",
    "seven_bytes": b"\x02" + bytes(6),
    "deep": header(b"[" * 100_000),
    "digits": header(b'{"a": ' + b"1" * 400 + b"}"),
    "list": header([]),
    "no_offsets": header({"a": {"dtype": "F32", "shape": [1]}}),
    "beyond_the_end": header(
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, b"1234"
    ),
    "backwards": header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}),
    "negative": header({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, b"1234"),
    "huge": header({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}),
    "trailing": header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"12345678"),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_broken_header_is_refused_before_anything_is_allocated(
    content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError):
        check_header(path)
    with pytest.raises(CheckpointError, match="damaged or no checkpoint"):
        load_tensors(path, "thing")


def test_headers_of_others_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    for tensors in (TENSORS, {}):
        path.write_bytes(save(tensors, {"format": "pt"}))
        check_header(path)
    with pytest.raises(CheckpointError, match="something unknown"):
        load_tensors(path, "thing")


def test_a_module_is_not_allocated_for_weights_that_are_not_its_own(tmp_path: Path) -> None:
    small = nn.Linear(3, 2)
    loaded = build_module(lambda: nn.Linear(3, 2), small.state_dict(), tmp_path)
    assert torch.equal(loaded.weight, small.weight) and loaded.weight.device.type == "cpu"
    with pytest.raises(CheckpointError, match="do not fit its own description"):
        build_module(lambda: nn.Linear(10**7, 10**7), small.state_dict(), tmp_path)


def test_content_of_another_kind_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="of another version, or not ours"), fitting(tmp_path):
        raise KeyError("architecture")
