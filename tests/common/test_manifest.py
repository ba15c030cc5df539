"""A folder's list of digests: all is found that a bad copy may do."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import CheckpointError
from common.json_files import write_sealed
from common.manifest import MANIFEST, check_manifest, check_sums, write_manifest


def folder(path: Path) -> Path:
    for name in ("a", "b/c"):
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_bytes(name.encode() * 100)
    write_manifest(path)
    return path


def check(path: Path) -> None:
    check_manifest(path, CheckpointError, "copy it again")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_whole_folder_and_one_without_a_list_pass(tmp_path: Path) -> None:
    check(folder(tmp_path))
    (tmp_path / "more").touch()
    check(tmp_path)
    (tmp_path / MANIFEST).unlink()
    flip(tmp_path / "a")
    check(tmp_path)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda path: flip(path / "b/c"), "b/c is damaged"),
        (lambda path: (path / "b/c").unlink(), "b/c is missing, one of 2"),
        (lambda path: flip(path / MANIFEST), MANIFEST),
        (lambda path: (path / MANIFEST).write_bytes(b""), "not a list of digests"),
        (lambda path: write_sealed(path / MANIFEST, {"files": 1}), "not a list of digests"),
        (lambda path: write_sealed(path / MANIFEST, {"files": {"../x": ""}}), "not in its folder"),
        (lambda path: write_sealed(path / MANIFEST, {"files": {"/x": ""}}), "not in its folder"),
    ],
)
def test_harm_is_named(harm: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    harm(folder(tmp_path))
    with pytest.raises(CheckpointError, match=message):
        check(tmp_path)


def test_files_of_others_are_compared_with_what_sha256sum_wrote(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("a demonstration")
    check_sums(path, CheckpointError, "copy it again")
    sums = subprocess.run(["sha256sum", "a.json"], cwd=tmp_path, capture_output=True, check=True)
    (tmp_path / "SHA256SUMS").write_bytes(sums.stdout)
    check_sums(path, CheckpointError, "copy it again")
    check_sums(tmp_path / "SHA256SUMS", CheckpointError, "copy it again")
    flip(path)
    with pytest.raises(CheckpointError, match="does not match SHA256SUMS"):
        check_sums(path, CheckpointError, "copy it again")
