"""`dlr tasks` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.main import main
from demonstrations.skills.table import SKILLS

DRAWER = "libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet"


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    main(["tasks", *arguments])
    return capsys.readouterr().out.splitlines()


def test_a_part_of_a_name_or_instruction_finds_tasks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SKILLS, "turnon", ())
    assert len(shown(capsys, "kitchen_scene10")) == 6
    lines = shown(capsys, "close the top drawer", "--suite", "libero_90")
    assert len(lines) == 3
    assert lines[0] == f"{DRAWER}  close(wooden_cabinet_1_top_region)  scripted"
    stove = shown(capsys, "turn on the stove", "--suite", "libero_90")
    assert stove[0].split("  ")[1:] == ["turnon(flat_stove_1)", "-"]
    assert " and on(" in stove[1]


def test_one_task_is_shown_in_full(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{DRAWER.split('/')[1]}.json").touch()
    lines = shown(capsys, DRAWER, "--human-demos", str(tmp_path))
    found = {line[:14].strip(): line[15:] for line in lines}
    assert found["language"] == "close the top drawer of the cabinet"
    assert (found["horizon"], found["init states"]) == ("400", "50")
    assert found["goal"] == "close(wooden_cabinet_1_top_region)"
    assert found["demonstrations"] == "scripted, human"
    monkeypatch.setitem(SKILLS, "turnon", ())
    assert "none known here" in "\n".join(shown(capsys, "libero_goal/turn_on_the_stove"))


def test_recordings_in_a_folder_of_the_suite_s_name_are_found(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    suite, name = DRAWER.split("/")
    (tmp_path / suite).mkdir()
    (tmp_path / suite / f"{name}_demo.hdf5").touch()
    (line,) = [n for n in shown(capsys, DRAWER, "--human-demos", str(tmp_path)) if "scripted" in n]
    assert line.endswith("scripted, human")


def test_json_says_all(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SKILLS, "turnon", ())
    found = json.loads("\n".join(shown(capsys, "--json")))
    assert len(found) == 130
    assert found[0]["goal"] == [["on", "akita_black_bowl_1", "plate_1"]]
    scripted = {task["task"] for task in found if "scripted" in task["demonstrations"]}
    assert DRAWER in scripted and len(scripted) < 130


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("qqq",), "no task has 'qqq'"),
        (("turn_on_the_stove_", "--suite", "libero_goal"), "no task in libero_goal has"),
        (("libero_goal/turn_on_the_stove", "--suite", "libero_10"), "is in another suite"),
        (("--suite", "libero"), "unknown suite 'libero'"),
        (("--human-demos", "/no/such/folder"), "there is no folder /no/such/folder"),
    ],
)
def test_what_is_not_found_is_said(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["tasks", *arguments])
    assert caught.value.code == 2
    assert words in capsys.readouterr().err.splitlines()[-1]
