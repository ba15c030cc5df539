"""Records of what was measured: they come back as they were written, or with one clear error."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.ways import Accuracy, Distinctness
from common.errors import DemonstrationError
from common.json_files import write_sealed
from common.machine import describe_machine
from demonstrations.measured import (
    Measured,
    MeasuredWay,
    measured_path,
    pack_label,
    read_all_measured,
    read_measured,
    summarise,
    write_measured,
)
from simulation.assets.resolve import embedded_pack
from simulation.recordings.episode import Episode, EpisodeInfo
from simulation.recordings.trajectories import simulator_versions
from simulation.scene import Fixtures
from simulation.tasks import get_task

TASK = get_task("libero_goal/turn_on_the_stove")
RECORD = Measured(
    task=TASK.key,
    pack="embedded",
    source="scripted",
    ways=(MeasuredWay("twist", 20, 12, 80.5), MeasuredWay("push", 20, 11, 100.0),
          MeasuredWay("pull", 20, 0, None)),
    seconds=3.0,
    human_length=91,
    distinctness=Distinctness(Accuracy(20, 23), Accuracy(9, 23), Accuracy(23, 23)),
    seed=7,
    asset_digest="ab",
    versions=simulator_versions(),
    machine=describe_machine(),
)  # fmt: skip


def test_a_record_comes_back(tmp_path: Path) -> None:
    path = measured_path(tmp_path, "embedded", "scripted", TASK)
    assert path.relative_to(tmp_path) == Path("embedded/scripted", f"{TASK.key}.json")
    plain = replace(RECORD, human_length=None, distinctness=None, source="amplified")
    write_measured(path, RECORD)
    write_measured(measured_path(tmp_path, "embedded", "amplified", TASK), plain)
    assert read_all_measured(tmp_path) == [plain, RECORD]
    assert RECORD.counting == 1  # 12 of 20 are enough, 11 are not
    assert RECORD.mean_length == pytest.approx((12 * 80.5 + 11 * 100) / 23)
    assert replace(RECORD, ways=RECORD.ways[2:]).mean_length is None
    low, high = RECORD.ways[0].interval
    assert low < 0.6 < high


def test_other_files_are_one_error(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(DemonstrationError, match="dlr demos measure"):
        read_all_measured(tmp_path)
    write_measured(path, RECORD)
    content = json.loads(path.read_text())
    path.write_text(path.read_text().replace("12", "13"))
    with pytest.raises(DemonstrationError, match="does not match its sha256"):
        read_measured(path)
    del content["sha256"]
    changes: tuple[dict[str, object], ...] = (
        {"ways": 3},
        {"ways": [{"name": "a"}]},
        {"seed": "x"},
        {"pack": "other"},
        {"ways": []},
        {"extra": 1},
        {"distinctness": {"yaw": {"correct": 1, "total": 2}}},
    )
    for changed in changes:
        write_sealed(path, {**content, **changed})
        with pytest.raises(DemonstrationError):
            read_measured(path)


def test_a_record_of_impossible_counts_is_refused() -> None:
    with pytest.raises(DemonstrationError, match="more successes than attempts"):
        replace(RECORD, ways=(MeasuredWay("a", 3, 4, 1.0),))


def test_packs_have_one_label_in_every_version() -> None:
    assert pack_label(embedded_pack().name) == "embedded"
    with pytest.raises(DemonstrationError, match="--assets"):
        pack_label("local")


def episode(way: str, success: bool, steps: int, rng: np.random.Generator) -> Episode:
    """Return an episode of numbers, whose hand goes to a side of its own in each way."""
    proprio = np.zeros((steps + 1, 8))
    proprio[:, 0] = np.linspace(0, {"left": -0.2, "right": 0.2}.get(way, 0.0), steps + 1)
    proprio[:, :3] += rng.normal(0, 0.005, 3)
    proprio[:, 3] = np.pi
    return Episode(
        states=np.zeros((steps, 3)),
        actions=np.zeros((steps, 7)),
        proprio=proprio[:-1],
        joints=np.zeros((steps, 7)),
        final_state=np.zeros(3),
        final_proprio=proprio[-1],
        fixtures=Fixtures((), np.zeros((0, 3)), np.zeros((0, 4))),
        info=EpisodeInfo(0, way=way, method="scripted", success=success),
    )


def test_attempts_are_summarised_and_ways_that_fail_not_judged() -> None:
    rng = np.random.default_rng(0)
    plan = [("left", True, 30), ("right", True, 40), ("lame", False, 90)]
    attempts = [episode(*kind, rng) for kind in plan for _ in range(5)]
    attempts.append(episode("left", False, 200, rng))
    ways, distinctness = summarise(attempts)
    assert ways == (
        MeasuredWay("left", 6, 5, 30.0),
        MeasuredWay("right", 5, 5, 40.0),
        MeasuredWay("lame", 5, 0, None),
    )
    assert distinctness is not None
    assert distinctness.positions == Accuracy(10, 10)
    assert summarise(attempts[:5])[1] is None
