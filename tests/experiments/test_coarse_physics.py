"""Coarse physics is compared with exact physics on the same episodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from experiments.coarse_physics import SUBSTEPS, _difference, _physics
from generator.config import NoiseConfig
from generator.policies.gaussian import GaussianPolicy
from generator.rollout import EpisodeSpec, rollout
from simulation.assets.resolve import resolve_assets
from simulation.environment import BatchEnvironment
from simulation.tasks import get_task

DRAWER = get_task("KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")


def test_every_physics_runs_the_same_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[EpisodeSpec]] = []

    def noting(policy: Any, environments: Any, specs: Any, *others: Any, **more: Any) -> Any:
        asked.append(list(specs))
        return rollout(policy, environments, specs, *others, **more)

    monkeypatch.setattr("generator.rollout.rollout", noting)
    torch.manual_seed(0)
    pack = resolve_assets(Path("embedded"))
    environments = BatchEnvironment(DRAWER, 2, pack, num_threads=1)
    policy = GaussianPolicy(len(environments.envs[0].policy_state_names), 2, (8,))
    short = type("Short", (), {"horizon": 5})()
    rows = _physics(policy, short, environments, 1, NoiseConfig())
    environments.close()
    assert list(rows) == [str(substeps) for substeps in SUBSTEPS]
    assert all(row["episodes"] == 2 and row["success"] == 0 for row in rows.values())
    assert all(row["steps_per_cpu_second"] > 0 for row in rows.values())
    assert len(asked) == len(SUBSTEPS) and all(specs == asked[0] for specs in asked)


def test_differences_are_paired() -> None:
    exact = np.array([True, True, False, False] * 10)
    coarse = exact.copy()
    coarse[:4] = [False, True, True, True]
    row = _difference(coarse, exact)
    assert row["difference"] == pytest.approx(1 / 40)
    assert row["low"] < 0 < row["high"] < 0.2
