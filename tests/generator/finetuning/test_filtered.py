"""Filtered cloning keeps successes of the right pattern, and goes on after an interruption."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from generator.checkpoints import policy_hash
from generator.config import FilterConfig, GeneratorConfig, LearnConfig
from generator.finetuning import filtered
from generator.finetuning.filtered import filtered_clone
from generator.learn import learn
from generator.policies.gaussian import GaussianPolicy
from tests.generator.conftest import PointMasses, point_mass_demonstrations
from tests.generator.test_learn import way_labels

CONFIG = GeneratorConfig(
    learn=LearnConfig(steps=400, hidden=(64, 64), ema_decay=0.99),
    filtered=FilterConfig(episodes=12, wave=12),
)


class OnlySecond:
    """An encoder that finds pattern 1 in every trajectory."""

    def classify_trajectory(self, proprio: np.ndarray) -> int:
        return 1


@pytest.fixture
def clone(tmp_path: Path) -> GaussianPolicy:
    """A clone of few demonstrations."""
    demonstrations = point_mass_demonstrations(15, 0.1)
    return learn(demonstrations, way_labels(demonstrations), CONFIG.learn, 3, 0, tmp_path)[0]


def test_successes_are_cloned_too(
    clone: GaussianPolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demonstrations = point_mass_demonstrations(15, 0.1)
    labels = way_labels(demonstrations)

    def run(folder: str, encoder: Any, environments: PointMasses) -> tuple[str, dict]:
        out = tmp_path / folder
        out.mkdir(exist_ok=True)
        policy, report = filtered_clone(
            clone,
            environments,
            demonstrations,
            labels,
            encoder,
            CONFIG,
            75,
            out,
        )
        return policy_hash(policy), report

    whole = PointMasses()
    undisturbed, report = run("a", None, whole)
    gathered = report["gathered"]
    assert gathered["environment_steps"] == whole.steps and gathered["episodes"] == 36
    assert report["trajectories"] == 15 + sum(gathered["kept"]) > 20

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    start = PointMasses()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(filtered, "learn", interrupted)
        run("b", None, start)
    finish = PointMasses()
    again, same = run("b", None, finish)
    assert (again, same["gathered"]) == (undisturbed, gathered)
    assert start.steps == whole.steps and finish.steps == 0
    short = dataclasses.replace(CONFIG, filtered=FilterConfig(episodes=4, wave=12))
    monkeypatch.setattr("tests.generator.finetuning.test_filtered.CONFIG", short)
    _, only = run("c", OnlySecond(), PointMasses())
    first, second, third = only["gathered"]["kept"]
    assert first == third == 0 < second
