"""A disk that is full or read-only: one line, its own status, nothing lost, and it goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cli.main import main
from common.errors import StorageError
from common.files import append_bytes, write_text
from common.locks import lock_folder
from simulation.assets.resolve import embedded_pack
from simulation.pictures.pictures import write_picture, write_video
from tests.at_rest.disk import SmallDisk, small_disk
from tests.at_rest.support import STAGES, TASK, run_once, start
from tests.eval_harness.folders import DRAWER, trajectory, write_folder

FULL = "No space left on device"
READ_ONLY = "Read-only file system"
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk") as made:
        yield made


def test_files_on_a_full_disk_are_whole_or_as_before(disk: SmallDisk) -> None:
    path = disk.path / "x"
    write_text(path, "old")
    append_bytes(disk.path / "lines", b"first\n")
    disk.fill(0)
    with pytest.raises(StorageError, match=f"cannot write to .*x: {FULL}; make room"):
        write_text(path, "n" * 100_000)
    with pytest.raises(StorageError, match=FULL):
        append_bytes(disk.path / "lines", bytes(100_000))
    with pytest.raises(StorageError, match=FULL):
        lock_folder(disk.path)
    assert path.read_text() == "old" and (disk.path / "lines").read_bytes() == b"first\n"
    assert sorted(os.listdir(disk.path)) == ["filler", "lines", "x"]
    disk.free()
    append_bytes(disk.path / "lines", b"second\n")
    lock_folder(disk.path).release()
    assert (disk.path / "lines").read_bytes() == b"first\nsecond\n"


def test_pictures_and_videos_on_a_full_disk(disk: SmallDisk) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (4, 256, 256, 3), np.uint8)
    disk.fill(4096)
    for name in ("x.png", "x.jpg"):
        with pytest.raises(StorageError, match=FULL):
            write_picture(disk.path / name, pictures[0])
    with pytest.raises(StorageError, match=FULL):
        write_video(disk.path / "x.mp4", pictures, 5)
    assert os.listdir(disk.path) == ["filler"]
    disk.free()
    assert write_video(disk.path / "x.mp4", pictures, 5) == 4


ROOM = {"demonstrate": 80_000, "train": 300_000, "collect": 80_000, "build": 8_192, "eval": 40_000}
"""Bytes that each stage finds: enough to begin, too few to end."""


@pytest.mark.slow
@pytest.mark.parametrize("name", STAGES)
def test_a_stage_goes_on_once_there_is_room(
    name: str, sources: Path, tmp_path: Path, disk: SmallDisk
) -> None:
    stage, folder, log = STAGES[name], disk.path / "out", tmp_path / "log"
    wanted, _ = run_once(stage, sources, tmp_path / "alone")
    disk.fill(ROOM[name])
    child = start(stage, sources, folder, log)
    assert child.wait() == StorageError.status, log.read_text()
    assert "Traceback" not in log.read_text()
    assert child.last_line.startswith("dlr: cannot write to") and FULL in child.last_line
    disk.free()
    disk.remount("ro")
    child = start(stage, sources, folder, log)
    assert child.wait() == StorageError.status, log.read_text()
    assert "Traceback" not in log.read_text() and READ_ONLY in child.last_line
    disk.remount("rw")
    child = start(stage, sources, folder, log)
    assert child.wait() == 0, log.read_text()
    assert stage.items(folder) == wanted


def dlr(*arguments: object) -> tuple[int, str]:
    """Run the real command in a process of its own; return its status and standard error."""
    code = "from cli.main import main; main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = {**os.environ, "DLR_LIBERO_ASSETS": str(embedded_pack().path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    return done.returncode, done.stderr


@pytest.mark.slow
def test_commands_that_write_one_file(tmp_path: Path, disk: SmallDisk) -> None:
    stored = {(DRAWER, i): trajectory(DRAWER, i) for i in range(2)}
    folders = [
        write_folder(
            tmp_path / name,
            {DRAWER: [False, True]},
            trajectories=stored,
            episodes=2,
            policy={"k": 1},
        )
        for name in "ab"
    ]
    commands: list[list[object]] = [
        ["view", TASK.name, "--size", 64, "--out", disk.path / "x.png"],
        ["doctor", "--json", disk.path / "doctor.json"],
        ["eval", "report", folders[0], "--out", disk.path / "report"],
        ["eval", "merge", *folders, "--out", disk.path / "merged"],
        ["eval", "compare", *folders, "--json", disk.path / "compare.json"],
    ]
    disk.fill(0)
    for command in commands:
        status, errors = dlr(*command)
        assert status == StorageError.status, (command, errors)
        assert "Traceback" not in errors and FULL in errors.splitlines()[-1], (command, errors)
        assert os.listdir(disk.path) in (["filler"], ["report", "filler"], ["filler", "report"])
    disk.free()
    disk.remount("ro")
    for command in commands:
        status, errors = dlr(*command)
        assert status == StorageError.status, (command, errors)
        assert "Traceback" not in errors and READ_ONLY in errors.splitlines()[-1], errors
    disk.remount("rw")
    for command in commands:
        status, errors = dlr(*command)
        assert status in (0, 1), (command, errors)
    report = json.loads((disk.path / "report" / "report.json").read_text())
    assert report["summary"]["all"]["done"] == 2
    assert len((disk.path / "merged" / "episodes.jsonl").read_text().splitlines()) == 2


def test_the_command_line_has_a_status_for_it(
    disk: SmallDisk, capsys: pytest.CaptureFixture[str]
) -> None:
    disk.remount("ro")
    with pytest.raises(SystemExit) as caught:
        main(["quickstart", "--out", str(disk.path / "run")])
    lines = capsys.readouterr().err.splitlines()
    assert caught.value.code == 74 and len(lines) == 1 and READ_ONLY in lines[0]
