"""Measuring a demonstrator: failures count, starts are the same for each way, records are kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from common.errors import DemonstrationError
from demonstrations import measure
from demonstrations.config import DemonstrationConfig
from demonstrations.measure import MeasureItem, attempts, measure_item
from demonstrations.measured import measured_path, read_measured
from demonstrations.scripted import Scripted
from demonstrations.skills.table import SKILLS
from simulation.assets.embedded import write_embedded_pack
from simulation.assets.resolve import embedded_pack, resolve_assets
from simulation.environment import Environment
from simulation.tasks import get_task
from tests.demonstrations.half_lame import HalfLame

DRAWER = get_task("libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")


def test_every_attempt_counts_and_a_record_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SKILLS, "close", (HalfLame(),))
    item = MeasureItem(DRAWER.key, tmp_path, DemonstrationConfig(seed=3), 2, embedded_pack())
    episodes = attempts(Scripted(DRAWER), Environment(DRAWER, embedded_pack()), item)
    assert [episode.info.way for episode in episodes] == ["left", "left", "lame", "lame"]
    assert [episode.info.init_index for episode in episodes] == [0, -1, 0, -1]
    for left, lame in zip(episodes[:2], episodes[2:], strict=True):
        np.testing.assert_array_equal(left.states[0], lame.states[0])
    line = measure_item(item)
    path = measured_path(tmp_path, "embedded", "scripted", DRAWER)
    found = read_measured(path)
    assert [(way.name, way.tried) for way in found.ways] == [("left", 2), ("lame", 2)]
    won = sum(episode.info.success for episode in episodes[:2])
    assert [way.succeeded for way in found.ways] == [won, 0]
    assert line == f"left {won}/2, lame 0/2" and found.distinctness is None
    written = path.stat().st_mtime_ns
    assert measure_item(item) == line and path.stat().st_mtime_ns == written


def test_other_recordings_are_measured_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SKILLS, "close", (HalfLame(),))
    amplifier = Scripted(DRAWER)
    monkeypatch.setattr(amplifier, "source", "amplified")
    monkeypatch.setattr(measure, "find_demonstrator", lambda *_: amplifier)
    monkeypatch.setattr(measure, "_human_length", lambda *_: None)
    config = DemonstrationConfig(source="amplified", human_demos=str(tmp_path / "people"))
    item = MeasureItem(DRAWER.key, tmp_path / "out", config, 1, embedded_pack())
    path = measured_path(tmp_path / "out", "embedded", "amplified", DRAWER)
    (tmp_path / "people").mkdir()
    written = []
    for text in ('{"actions": 1}', '{"actions": 1}', '{"actions": 2}'):
        (tmp_path / "people" / "some.json").write_text(text)
        measure_item(item)
        written.append(path.stat().st_mtime_ns)
    assert written[0] == written[1] < written[2]


def test_a_person_s_length_is_measured_once_there_is_a_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SKILLS, "close", (HalfLame(),))
    env, people = Environment(DRAWER, embedded_pack()), tmp_path / "people"
    env.reset(0, 0)
    recording = {"init_state": env.state().tolist(), "actions": [[0.0] * 7] * 9}
    people.mkdir()
    (people / f"{DRAWER.name}.json").write_text(json.dumps(recording))
    path, found = measured_path(tmp_path, "embedded", "scripted", DRAWER), []
    for human_demos in ("", str(people), str(people)):
        config = DemonstrationConfig(human_demos=human_demos)
        measure_item(MeasureItem(DRAWER.key, tmp_path, config, 1, embedded_pack()))
        found.append((read_measured(path).human_length, path.stat().st_mtime_ns))
    assert [length for length, _ in found] == [None, 9, 9]
    assert found[0][1] < found[1][1] == found[2][1]


def test_only_the_two_packs_are_measured(tmp_path: Path) -> None:
    write_embedded_pack(tmp_path / "own")
    (tmp_path / "own" / "added.txt").touch()
    item = MeasureItem(
        DRAWER.key, tmp_path, DemonstrationConfig(), 2, resolve_assets(tmp_path / "own")
    )
    with pytest.raises(DemonstrationError, match="measured with libero or embedded"):
        measure_item(item)
