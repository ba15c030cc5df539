"""What a training is measured by: the right files, and O2O-RL's figure before DLR's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.study_items import MeasureItem, _shown
from experiments.study_tests import BASELINE, DLR
from generator.config import CollectConfig
from generator.run_folder import LEARN, RunFolder
from simulation.assets.resolve import AssetPack
from simulation.recordings.trajectories import Episode, EpisodeInfo, TrajectoryWriter
from simulation.scene import Fixtures
from simulation.tasks import get_task

TASK = get_task("KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")
PACK = AssetPack("none", Path(), "0" * 64)
COLLECT = CollectConfig(groups=1)


def episode(number: int, end: tuple[float, float], way: str = "") -> Episode:
    """Return a success from start `number` whose hand goes straight to a place."""
    path = np.zeros((21, 8))
    path[:, :2] = np.linspace(0, 1, 21)[:, None] * end
    path[:, 3] = np.pi
    return Episode(
        states=np.zeros((20, 10)),
        actions=np.zeros((20, 7)),
        proprio=path[:-1],
        joints=np.zeros((20, 7)),
        final_state=np.zeros(10),
        final_proprio=path[-1],
        fixtures=Fixtures(("cabinet",), np.zeros((1, 3)), np.array([[1.0, 0, 0, 0]])),
        info=EpisodeInfo(seed=number, init_index=number, success=True, method="x", way=way),
    )


def write(path: Path, episodes: Sequence[Episode]) -> None:
    with TrajectoryWriter(path, TASK, PACK, {"collect": asdict(COLLECT)}) as writer:
        for index, one in enumerate(episodes):
            writer.add(index, one)
        writer.finish().close()


def ends(reach: float, count: int) -> list[Episode]:
    """Return successes from the first starts that end on either side, so far apart."""
    return [episode(n, (0.1, reach * (-1) ** n * (1 + 0.01 * n))) for n in range(count)]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run of demonstrations and both recipes, whose episodes differ in spread and number."""
    run = RunFolder(tmp_path / "run")
    shown = [episode(n, (0.1, 0.1 * (-1) ** n), "ab"[n % 2]) for n in range(8)]
    write(run.demonstrations(TASK), shown)
    write(run.trajectories(TASK, BASELINE, 0), ends(0.01, 6))
    write(run.learned(TASK, DLR, 0), ends(0.05, 4))
    write(run.trajectories(TASK, DLR, 0), ends(0.1, 7))
    return run


def item(run: RunFolder) -> MeasureItem:
    return MeasureItem(run, TASK.key, DLR, 0, COLLECT, PACK, run.root / "results", "abc")


def test_contrasts_are_the_baseline_s_first_on_shared_starts(run: RunFolder) -> None:
    found = item(run)._contrasts(TASK)
    sides = [
        np.array([one.final_proprio[:3] for one in ends(reach, 6)]).var(axis=0, ddof=1).sum()
        for reach in (0.01, 0.1)
    ]
    assert found["endpoint_variance_positions"] == pytest.approx(sides, rel=1e-6)
    assert sides[0] < sides[1] / 50
    run.trajectories(TASK, BASELINE, 0).unlink()
    assert item(run)._contrasts(TASK) == {}


def test_stages_are_measured_by_what_was_collected_after_them(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_out = {LEARN: 0.5, "filter": 0.6, "reinforce": 0.9}
    records: dict[str, dict[str, Any]] = {
        name: {"report": {"held_out_success": [{"success": rate, "episodes": 50}]}}
        for name, rate in held_out.items()
    }
    monkeypatch.setattr(MeasureItem, "_records", lambda *_: records)
    monkeypatch.setattr(MeasureItem, "_costs", lambda *_: {"learn": 3.0})
    monkeypatch.setattr(MeasureItem, "_provenance", lambda *_: {})
    found = item(run)._measure()
    rates = {name: stage.success[0].rate for name, stage in found.stages.items()}
    assert rates == held_out and found.final == "reinforce"
    learned, final = (found.stages[name].measured for name in (LEARN, "reinforce"))
    assert learned is not None and final is not None
    assert (learned.episodes, final.episodes) == (4, 7)
    key = "endpoint_variance_positions"
    assert learned.figures[key] < final.figures[key]
    assert found.demonstrations.episodes == 8
    assert found.seconds == 3.0 and found.contrasts[key][0] < found.contrasts[key][1]


@pytest.mark.parametrize(("given", "told"), [("/some/where/people", "people"), ("official",) * 2])
def test_a_result_does_not_say_where_people_s_recordings_lay(
    given: str, told: str, tmp_path: Path
) -> None:
    with TrajectoryWriter(tmp_path / "a.hdf5", TASK, PACK, {"human_demos": given}) as writer:
        writer.add(0, episode(0, (0.1, 0.1)))
        writer.finish().close()
    assert _shown(tmp_path / "a.hdf5")[1] == {"human_demos": told}
