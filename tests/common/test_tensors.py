"""Tensors on disk: equal content has equal bytes."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import torch

from common.tensors import load_tensors, save_tensors

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("b", "a", "long.name.of.a.tensor", "c")
METADATA = {"y": [1, 0.1], "x": {"b": 1, "a": "é"}}


def write(path: Path, names: tuple[str, ...]) -> str:
    """Write tensors in the order of their names and return the file's sha256."""
    tensors = {name: torch.arange(len(name) + 1.0) for name in names}
    tensors["integers"] = torch.arange(3)
    save_tensors(path, "some kind", tensors, METADATA)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_equal_content_has_equal_bytes_in_any_order_and_process(tmp_path: Path) -> None:
    found = {write(tmp_path / "x", names) for names in (NAMES, NAMES[::-1]) for _ in range(4)}
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path\n"
        "import importlib.util as u; s = u.spec_from_file_location('t', sys.argv[2])\n"
        "t = u.module_from_spec(s); s.loader.exec_module(t); print(t.write(Path(sys.argv[3]), "
        "t.NAMES))"
    )
    command: list[str | Path] = [sys.executable, "-c", code, ROOT, __file__, tmp_path / "y"]
    found.add(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
    assert len(found) == 1


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    write(tmp_path / "x", NAMES)
    tensors, metadata = load_tensors(tmp_path / "x", "some kind")
    assert metadata == METADATA and tensors.keys() == {*NAMES, "integers"}
    for name in NAMES:
        assert torch.equal(tensors[name], torch.arange(len(name) + 1.0))
    assert tensors["integers"].dtype == torch.int64
