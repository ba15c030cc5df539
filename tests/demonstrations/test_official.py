"""Official demonstrations come whole from the hub or from a folder, whatever befalls them."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import (
    BusyError,
    DatasetError,
    DemonstrationError,
    StorageError,
    TrajectoryError,
    UnknownTaskError,
)
from common.locks import lock_folder
from demonstrations.official import (
    REPOSITORY,
    REVISION,
    Supply,
    choose_tasks,
    official_file,
    official_folder,
    official_name,
)
from simulation.environment import Environment
from simulation.recordings.recordings import open_recordings
from simulation.recordings.trajectories import Episode
from simulation.tasks import get_task, list_tasks
from tests.demonstrations.official_files import write_official
from tests.hub import LoopbackHub, loopback_hub

STOVE = get_task("libero_goal/turn_on_the_stove")
BOWL = get_task("libero_goal/put_the_bowl_on_the_plate")
FILES = {f"{task.suite}/{official_name(task)}": task.name.encode() * 999 for task in (STOVE, BOWL)}


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1024)
    with loopback_hub(REPOSITORY, REVISION, dict(FILES)) as server:
        yield server


class Told(list[str]):
    """Lines that were said."""

    def supply(self, hub: LoopbackHub | None = None, folder: Path | None = None) -> Supply:
        return Supply(folder, self.append, hub.endpoint if hub else "http://127.0.0.1:1")


def test_suites_and_tasks_are_chosen_once_each() -> None:
    assert choose_tasks(["libero_goal", "turn_on_the_stove"]) == list_tasks("libero_goal")
    assert choose_tasks([BOWL.key, STOVE.key]) == [BOWL, STOVE]
    with pytest.raises(UnknownTaskError, match="unknown LIBERO task 'libero_gaol'"):
        choose_tasks(["libero_gaol"])
    names = {official_name(task) for task in list_tasks()}
    assert all(name.endswith("_demo.hdf5") for name in names) and len(names) >= 90


def test_download_once_and_whole(hub: LoopbackHub) -> None:
    assert official_file(STOVE) is None
    told = Told()
    paths = told.supply(hub).download([STOVE, BOWL])
    assert [path.read_bytes() for path in paths] == list(FILES.values())
    assert official_file(STOVE) == paths[0] == official_folder("libero_goal") / paths[0].name
    assert sorted(os.listdir(paths[0].parent)) == ["SHA256SUMS", *sorted(p.name for p in paths)]
    sums = (paths[0].parent / "SHA256SUMS").read_text()
    assert f"{hashlib.sha256(FILES[f'libero_goal/{paths[0].name}']).hexdigest()}  " in sums
    assert told[0] == "0 of 2 files are here and whole"
    assert "CC BY 4.0" in told[1] and "2 files, into" in told[1]
    again = Told()
    assert again.supply().download([STOVE, BOWL]) == paths
    assert again == ["2 of 2 files are here and whole"]


def test_a_killed_download_goes_on_and_a_damaged_file_is_mended(hub: LoopbackHub) -> None:
    hub.cuts = [9000, *[0] * 9]
    with pytest.raises(DatasetError, match="goes on where it stopped, and `--from PATH`"):
        Told().supply(hub).download([STOVE, BOWL])
    assert official_file(STOVE) is None and official_file(BOWL) is None
    hub.cuts, hub.ranges = [], []
    stove, bowl = Told().supply(hub).download([STOVE, BOWL])
    assert hub.ranges[0].startswith("bytes=") and hub.ranges[1] == ""
    bowl.write_bytes(b"x" + bowl.read_bytes()[1:])
    told = Told()
    told.supply(hub).download([STOVE, BOWL])
    assert told[0] == "1 of 2 files are here and whole"
    assert [stove.read_bytes(), bowl.read_bytes()] == list(FILES.values())


def test_a_file_that_no_sum_was_noted_of_is_not_fetched_again(hub: LoopbackHub) -> None:
    (path,) = Told().supply(hub).download([STOVE])
    (path.parent / "SHA256SUMS").unlink()
    hub.ranges = []
    Told().supply(hub).download([STOVE])
    assert not hub.ranges and (path.parent / "SHA256SUMS").is_file()


def test_a_wrong_sha256_stops_no_other_file(hub: LoopbackHub) -> None:
    hub.wrong = {f"libero_goal/{official_name(STOVE)}"}
    with pytest.raises(DatasetError, match=r"^1 of 2 files did not come: .*turn_on_the_stove_demo"):
        Told().supply(hub).download([STOVE, BOWL])
    assert official_file(STOVE) is None and official_file(BOWL) is not None


def test_no_room_is_told_before_anything_is_fetched(
    hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(StorageError, match="make room, fetch fewer tasks, or give `--folder`"):
        Told().supply(hub).download([STOVE])
    assert not hub.ranges


def test_one_process_a_suite(hub: LoopbackHub) -> None:
    with lock_folder(official_folder("libero_goal")), pytest.raises(BusyError):
        Told().supply(hub).download([STOVE])
    assert not hub.ranges


def test_without_a_network_one_line_says_what_to_do() -> None:
    with pytest.raises(DatasetError, match="cannot ask the hub") as caught:
        Told().supply().download([STOVE])
    assert "\n" not in str(caught.value) and "--from PATH" in str(caught.value)


@pytest.mark.parametrize("below", ["", "libero_90"])
@pytest.mark.parametrize("copy", [False, True])
def test_files_that_are_here_are_linked_or_copied(
    below: str, copy: bool, drawer: Environment, successes: list[Episode], tmp_path: Path
) -> None:
    (tmp_path / "here" / below).mkdir(parents=True)
    written = write_official(tmp_path / "here" / below, drawer, successes)
    told = Told()
    (path,) = told.supply().take(list_tasks("libero_90"), tmp_path / "here", copy)
    assert told == [f"1 of 90 files taken from {tmp_path / 'here'}"]
    assert path == official_file(drawer.task) and path.is_symlink() != copy
    assert path.read_bytes() == written.read_bytes()
    with open_recordings(path, drawer.task, drawer.scene.assets) as file:
        assert len(file) == 2
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(TrajectoryError, match="does not match SHA256SUMS"):
        open_recordings(path, drawer.task, drawer.scene.assets)


def test_a_copy_takes_the_place_of_a_link(
    drawer: Environment, successes: list[Episode], tmp_path: Path
) -> None:
    written = write_official(tmp_path, drawer, successes)
    content = written.read_bytes()
    for copy in (False, True, True):
        (path,) = Told().supply().take([drawer.task], written, copy)
        assert path.is_symlink() != copy
    written.unlink()
    assert path.read_bytes() == content


def test_one_file_can_be_named_and_one_in_place_stays(
    drawer: Environment, successes: list[Episode], tmp_path: Path
) -> None:
    folder = official_folder("libero_90", tmp_path / "all")
    folder.mkdir(parents=True)
    written = write_official(folder, drawer, successes)
    supply = Told().supply(folder=tmp_path / "all")
    assert supply.take([drawer.task], written) == [written]
    assert written.is_file() and not written.is_symlink()
    assert written.name in (folder / "SHA256SUMS").read_text()


def test_what_is_not_whole_is_not_taken_and_the_others_are(
    drawer: Environment, successes: list[Episode], tmp_path: Path
) -> None:
    other = get_task(
        "libero_90/KITCHEN_SCENE10_put_the_black_bowl_in_the_top_drawer_of_the_cabinet"
    )
    here = tmp_path / "here"
    here.mkdir()
    content = write_official(here, drawer, successes).read_bytes()
    (here / official_name(other)).write_bytes(content[: len(content) // 2])
    (here / official_name(STOVE)).write_bytes(content)
    told = Told()
    with pytest.raises(
        DemonstrationError, match=r"^2 of 3 files were not taken: .*KITCHEN_SCENE10_put"
    ):
        told.supply().take([other, drawer.task, STOVE], here)
    assert "is damaged or not what it should be" in told[0]
    assert official_file(drawer.task) is not None
    assert official_file(other) is None and official_file(STOVE) is None


def test_a_path_without_files_is_told(tmp_path: Path) -> None:
    with pytest.raises(DemonstrationError, match=r"there is no .*x: check the path"):
        Told().supply().take([STOVE], tmp_path / "x")
    with pytest.raises(DemonstrationError, match="has none of the 2 files, such as turn_on"):
        Told().supply().take([STOVE, BOWL], tmp_path)
