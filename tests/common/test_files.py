from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from common.errors import OutputError, TrajectoryError
from common.files import (
    atomic_write,
    ensure_writable,
    files_below,
    follow_umask,
    write_json,
    write_text,
)


def test_folders_are_made_and_nothing_else_is_left(tmp_path):
    write_text(tmp_path / "a" / "b.txt", "é")
    write_json(tmp_path / "a" / "c.json", {"y": 1, "x": 2})
    assert (tmp_path / "a" / "b.txt").read_text("utf-8") == "é"
    assert (tmp_path / "a" / "c.json").read_text() == '{\n  "x": 2,\n  "y": 1\n}\n'
    assert sorted(os.listdir(tmp_path / "a")) == ["b.txt", "c.json"]


@pytest.mark.parametrize("error", [ValueError, TrajectoryError, KeyboardInterrupt])
def test_a_failure_in_between_keeps_the_old_file(tmp_path, error):
    path = tmp_path / "x"
    write_text(path, "old")
    with pytest.raises(error), atomic_write(path) as temporary:
        temporary.write_text("ne")
        raise error
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["x"]


def test_threads_that_write_the_same_file_do_not_disturb_each_other(tmp_path):
    texts = [str(i) * 1000 for i in range(4)]
    threads = [threading.Thread(target=write_text, args=(tmp_path / "x", t)) for t in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "x").read_text() in texts and os.listdir(tmp_path) == ["x"]


def test_what_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="choose another folder"):
        write_text(tmp_path / "file" / "x", "")
    with pytest.raises(OutputError, match="choose another folder"):
        ensure_writable(tmp_path / "file" / "x")


def test_files_of_libraries_get_the_permissions_of_new_ones(tmp_path):
    alone, inside = tmp_path / "alone", tmp_path / "folder" / "deeper" / "inside"
    inside.parent.mkdir(parents=True)
    before = os.umask(0o027)
    try:
        for file in (alone, inside):
            file.touch(mode=0o600)
        follow_umask(alone)
        follow_umask(tmp_path / "folder")
    finally:
        os.umask(before)
    assert {stat.S_IMODE(file.stat().st_mode) for file in (alone, inside)} == {0o640}
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["alone"]


def test_links_to_folders_are_followed_and_each_folder_is_entered_once(tmp_path: Path) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    (run / "below").mkdir(parents=True)
    elsewhere.mkdir()
    for folder in (run, run / "below", elsewhere):
        (folder / "file").write_text("")
    (run / "trajectories").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(run)
    (run / "gone").symlink_to(tmp_path / "nothing")
    found = sorted(path.relative_to(run).as_posix() for path in files_below(run))
    assert found == ["below/file", "file", "gone", "trajectories/file"]
    assert list(files_below(tmp_path / "nothing")) == []
