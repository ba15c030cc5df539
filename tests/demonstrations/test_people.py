"""People's files of a task: found, replayed, and an audit of what became of each."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cli.main import main
from common.errors import DemonstrationError, TrajectoryError
from common.json_files import write_sealed
from demonstrations import make, people
from demonstrations.audit import Audit, Row, audit_path, find_audits, read_audit, write_audit
from demonstrations.config import DemonstrationConfig
from demonstrations.make import make_demonstrations
from demonstrations.noops import Replayed, replay_person
from demonstrations.official import Supply, official_name
from demonstrations.people import find_people, replay_people
from simulation.environment import Environment
from simulation.recordings.recordings import Recording
from simulation.recordings.trajectories import Episode
from tests.demonstrations.official_files import LEFT_OUT, write_official


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def spoilt(episode: Episode) -> Episode:
    """A demonstration in which nothing happens: it neither succeeds nor ever did."""
    still = np.repeat(episode.states[:1], len(episode), axis=0)
    return replace(episode, actions=episode.actions * 0.0, states=still)


@pytest.fixture
def official(
    drawer: Environment, successes: list[Episode], tmp_path: Path
) -> tuple[Path, list[Episode]]:
    """A folder with a file of four: two succeed, one with pauses, one fails, one but in states."""
    lost = replace(successes[1], actions=successes[1].actions * ([-1.0] * 6 + [1.0]))
    lost.actions[-2:] = successes[1].actions[-2:]
    waiting = successes[0].actions.copy()
    waiting[LEFT_OUT : LEFT_OUT + 2, :6] = 0.0
    episodes = [successes[0], spoilt(successes[0]), lost, replace(successes[0], actions=waiting)]
    folder = tmp_path / "here"
    folder.mkdir()
    write_official(folder, drawer, episodes)
    return folder, episodes


def test_an_audit_says_what_became_of_each(
    official: tuple[Path, list[Episode]], drawer: Environment, tmp_path: Path
) -> None:
    folder, episodes = official
    config = DemonstrationConfig(episodes_per_way=0, human_demos=str(folder))
    path = tmp_path / "made" / f"{drawer.task.name}.hdf5"
    with make_demonstrations(drawer.task, path, config, drawer.scene.assets) as file:
        kept = list(file)
    audit = read_audit(audit_path(path))
    rows = audit.rows
    assert [row.kept for row in rows] == ["replayed", "left out", "recorded", "filtered"]
    assert [row.index for row in rows] == [0, 1, 2, 3] and not audit.unread
    assert [row.recorded for row in rows] == [len(episode) - LEFT_OUT for episode in episodes]
    assert [row.steps for row in rows if row.steps] == [len(episode) for episode in kept]
    assert (rows[3].noops, rows[3].dropped) == (2, 2) and rows[1].noops == rows[1].recorded
    assert audit.task == drawer.task.key and audit.drop_noops and len(kept) == 3
    lines = audit.lines()
    assert lines[0] == f"{drawer.task.key} (embedded-v1): 3 of 4 demonstrations kept"
    assert any("left out     1" in line and line.endswith(": 1") for line in lines)
    assert any("recorded     1" in line and line.endswith(": 2") for line in lines)


def test_a_killed_run_replays_nothing_again(
    official: tuple[Path, list[Episode]],
    successes: list[Episode],
    drawer: Environment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = {"init_state": successes[1].states[0].tolist(), "actions": successes[1].actions.tolist()}
    (official[0] / f"{drawer.task.name}.json").write_text(json.dumps(one))
    config = DemonstrationConfig(episodes_per_way=0, human_demos=str(official[0]))
    left = [0]

    def mortal(env: Environment, recording: Recording, drop_noops: bool) -> Replayed:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return replay_person(env, recording, drop_noops)

    def make(name: str, most: int) -> int:
        """Make a file, or die after so many replays; return how many there were."""
        left[0] = most
        path = tmp_path / name / "a.hdf5"
        make_demonstrations(drawer.task, path, config, drawer.scene.assets).close()
        return most - left[0]

    monkeypatch.setattr(people, "replay_person", mortal)
    assert make("undisturbed", 99) == 5
    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            make("killed", 1)
    parts = tmp_path / "killed" / "a.hdf5.parts"
    (parts / "person_01000000.json").write_text("{")
    (parts / "episode_02000002.part").unlink()
    shutil.copy(parts / "episode_02000000.part", parts / "episode_02000001.part")  # left out
    assert make("killed", 99) == 3
    for file in (tmp_path / "undisturbed").iterdir():
        assert (tmp_path / "killed" / file.name).read_bytes() == file.read_bytes()
    assert sorted(p.name for p in (tmp_path / "killed").iterdir()) == ["a.audit.json", "a.hdf5"]


def test_an_audit_stays_and_goes_with_its_file(
    official: tuple[Path, list[Episode]],
    drawer: Environment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, episodes = official
    path, assets = tmp_path / "made" / "a.hdf5", drawer.scene.assets
    config = DemonstrationConfig(episodes_per_way=0, human_demos=str(folder))
    make_demonstrations(drawer.task, path, config, assets).close()
    kept = {file: file.read_bytes() for file in (path, audit_path(path))}
    bad = tmp_path / "bad"
    bad.mkdir()
    write_official(bad, drawer, [spoilt(episodes[0])])
    other = replace(config, human_demos=str(bad))
    for _ in range(2):
        with pytest.raises(DemonstrationError, match="no human demonstration of"):
            make_demonstrations(drawer.task, path, other, assets)
    assert {file: file.read_bytes() for file in kept} == kept
    (failed,) = (audit for audit in find_audits(path.parent) if audit != audit_path(path))
    assert read_audit(failed).count("left out") == len(read_audit(failed).rows) == 1
    scripted = DemonstrationConfig(episodes_per_way=1, source="scripted")
    with monkeypatch.context() as patched:
        patched.setattr(make, "_put_audit", None)  # ends before the file is replaced
        with pytest.raises(TypeError):
            make_demonstrations(drawer.task, path, scripted, assets)
    assert {file: file.read_bytes() for file in kept} == kept
    make_demonstrations(drawer.task, path, scripted, assets).close()
    aside = [file.with_name(f"{file.name}.set_aside_1") for file in kept]
    assert [file.read_bytes() for file in aside] == list(kept.values())
    assert not audit_path(path).exists()


def test_no_ops_may_stay(
    official: tuple[Path, list[Episode]], drawer: Environment, tmp_path: Path
) -> None:
    files = find_people(drawer.task, official[0])
    audit = tmp_path / "a.audit.json"
    found = [
        r.episode for r in replay_people(drawer.task, files, drawer.scene.assets, False, audit)
    ]
    assert [row.kept for row in read_audit(audit).rows][3] == "replayed"
    assert not read_audit(audit).drop_noops
    assert found[-1] is not None and not found[-1].actions[:2, :6].any()


def test_a_damaged_file_is_left_out_and_the_others_go_on(
    official: tuple[Path, list[Episode]], drawer: Environment, tmp_path: Path
) -> None:
    folder, _ = official
    (folder / f"{drawer.task.name}.json").write_text("{")
    files, assets = find_people(drawer.task, folder), drawer.scene.assets
    assert len(files) == 2
    audit = tmp_path / "a.audit.json"
    replays = list(replay_people(drawer.task, files, assets, True, audit))
    assert [replay.episode is not None for replay in replays] == [True, False, True, True]
    (fault,) = read_audit(audit).unread
    assert f"{drawer.task.name}.json is not a demonstration" in fault
    assert read_audit(audit).lines()[-1] == f"  not read: {fault}"
    (folder / official_name(drawer.task)).write_bytes(b"")
    with pytest.raises(TrajectoryError, match="is not a demonstration"):
        list(replay_people(drawer.task, files, assets, True, audit))


def test_official_ones_are_found_by_name_alone(
    official: tuple[Path, list[Episode]],
    drawer: Environment,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(DemonstrationError, match=f"`dlr demos download {drawer.task.key}` fetches"):
        find_people(drawer.task, "official")
    Supply(None, print).take([drawer.task], official[0])
    Supply(tmp_path / "all", print).take([drawer.task], official[0])
    assert len(find_people(drawer.task, "official")) == 1
    assert len(find_people(drawer.task, tmp_path / "all")) == 1
    run = str(tmp_path / "run")
    options = ["--run", run, "--episodes-per-way", "0", "--human-demos", "official"]
    main(["demonstrate", drawer.task.key, *options])
    shown = capsys.readouterr().out
    assert "3 of 4 demonstrations kept" in shown and "\n3 demonstrations\n" in shown
    main(["demos", "audit", run])
    assert capsys.readouterr().out.strip() in shown
    main(["tasks", drawer.task.key])
    assert "scripted, official" in capsys.readouterr().out


def test_damaged_audits_are_one_error(tmp_path: Path) -> None:
    path = tmp_path / "a.audit.json"
    row = Row("a.json", 0, 10, 2, 1, 9, "filtered")
    audit = Audit(
        "libero_90/x", "libero", True, (row, replace(row, source="b", kept="unfiltered")), ()
    )
    write_audit(path, audit)
    assert read_audit(path) == audit and find_audits(tmp_path) == [path]
    assert find_audits(path) == [path]
    content = path.read_text()
    for text in ("{", content.replace("10", "11"), content[:-30]):
        path.write_text(text)
        with pytest.raises(DemonstrationError, match="`dlr demonstrate` writes it again"):
            read_audit(path)
    for wrong in ({"task": "x"}, json.loads(content) | {"rows": [{"source": 1}]}):
        wrong.pop("sha256", None)
        write_sealed(path, wrong)
        with pytest.raises(DemonstrationError, match="is not an audit of demonstrations"):
            read_audit(path)
    (tmp_path / "made").mkdir()
    with pytest.raises(DemonstrationError, match="has no audit"):
        find_audits(tmp_path / "made")
