"""JSON that is damaged, hostile or too large is one line; a sealed one shows every other bit."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from common.errors import CheckpointError
from common.json_files import (
    MOST_DEPTH,
    build,
    drop_torn_line,
    parse_json,
    parse_sealed,
    read_json,
    read_sealed,
    sealed_line,
    whole_lines,
    write_sealed,
)

HOSTILE = {
    "empty": b"",
    "cut": b'{"a": [1, 2',
    "no_utf8": b'{"a": "\xff"}',
    "deep_lists": b"[" * 100_000,
    "deep_objects": b'{"a":' * 100_000,
    "deep_and_closed": b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "digits": b'{"a": ' + b"1" * 400 + b"}",
    "many_digits": b'{"a": ' + b"1" * 10_000 + b"}",
    "list": b"[1, 2]",
    "number": b"1",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_object_is_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    for read in (read_json, read_sealed):
        with pytest.raises(CheckpointError, match=r"a\.json is not a thing .*: do this") as caught:
            read(path, "a thing", CheckpointError, "do this")
        assert "\n" not in str(caught.value)


def test_missing_and_large_files(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(CheckpointError, match=r"cannot read .*No such file"):
        read_json(path, "a thing", CheckpointError, "do this")
    path.write_bytes(b" " * 5000 + b"{}")
    with pytest.raises(CheckpointError, match="larger than"):
        read_json(path, "a thing", CheckpointError, "do this", most=5000)
    assert read_json(path, "a thing", CheckpointError, "do this") == {}


def test_nesting_is_counted_outside_text() -> None:
    flat = {"text": '[{"\\' * 500, "rows": [[i] for i in range(500)]}
    assert parse_json(json.dumps(flat).encode()) == flat
    nested: list[object] = []
    for _ in range(MOST_DEPTH - 1):
        nested = [nested]
    assert parse_json(json.dumps(nested).encode()) == nested
    with pytest.raises(ValueError, match="within each other"):
        parse_json(json.dumps([nested]).encode())
    assert parse_json(b"[18446744073709551615]") == [2**64 - 1]
    with pytest.raises(ValueError, match="Unterminated"):  # quadratic, this would take hours
        parse_json(b"[" + b"[]," * 65 + b'"' + b'\\"' * 800_000)


CONTENT = {"b": [1, 2.5, None, "\N{GREEK SMALL LETTER PI}"], "a": {"10": True, "9": 0.1}}


def test_a_sealed_file_and_line_come_back(tmp_path: Path) -> None:
    write_sealed(tmp_path / "a.json", CONTENT)
    assert read_sealed(tmp_path / "a.json", "a thing", CheckpointError, "") == CONTENT
    assert "sha256" in json.loads((tmp_path / "a.json").read_text())
    line = sealed_line(CONTENT)
    assert line.count(b"\n") == 1
    assert parse_sealed(line[:-1], "here", "a line", CheckpointError, "") == CONTENT


def test_every_flipped_bit_of_a_sealed_file_is_found_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_sealed(path, CONTENT)
    whole, refused = path.read_bytes(), 0
    for bit in range(8 * len(whole)):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        try:
            assert read_sealed(path, "a thing", CheckpointError, "") == CONTENT
        except CheckpointError:
            refused += 1
    assert refused > 0.95 * 8 * len(whole)


def test_lines_that_a_kill_left(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    assert not list(whole_lines(path))
    drop_torn_line(path)
    path.write_bytes(b"one\ntwo\nthr")
    assert [line for _, line in whole_lines(path)] == [b"one", b"two"]
    drop_torn_line(path)
    assert path.read_bytes() == b"one\ntwo\n"
    assert os.path.basename(next(whole_lines(path))[0]) == "a.jsonl:1"


@dataclass(frozen=True)
class Thing:
    name: str
    share: float
    count: int = 1
    way: Literal["left", "right"] = "left"
    note: str | None = None
    facts: Mapping[str, object] = field(default_factory=dict)


def test_a_dataclass_is_built_of_its_fields_alone() -> None:
    whole = {"name": "a", "share": 1, "count": 2, "note": None, "way": "right", "facts": {"b": 1}}
    assert build(Thing, whole) == Thing("a", 1, 2, "right", None, {"b": 1})
    for change, message in (
        ({"other": 1}, "unknown: other"),
        ({"count": "2"}, "another type: count"),
        ({"name": None}, "another type: name"),
        ({"way": "up"}, "another type: way"),
        ({"facts": ["b"]}, "another type: facts"),
    ):
        with pytest.raises(ValueError, match=message):
            build(Thing, {**whole, **change})
    with pytest.raises(ValueError, match="missing or unknown: note"):
        build(Thing, {k: v for k, v in whole.items() if k != "note"})
