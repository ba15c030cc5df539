"""Which attempts a collection makes, whatever the size of its waves; attempts are made once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from generator.config import CollectConfig, NoiseConfig
from generator.run_folder import RunFolder
from generator.work import attempts
from generator.work.attempts import AttemptsItem, Collection
from generator.work.outcomes import Attempts, CollectionError, grouped


def collect(config: CollectConfig, succeeds: np.ndarray, wave: int | None) -> dict[int, bool]:
    """Make attempts in waves until a collection has its episodes."""
    ledger = Attempts(config)
    while some := ledger.next_wave(wave):
        assert len(some) == len(set(some)) and not set(some) & ledger.outcomes.keys()
        ledger.outcomes |= {attempt: bool(succeeds[attempt]) for attempt in some}
    return ledger.outcomes


@pytest.mark.parametrize("seed", range(5))
def test_waves_of_any_size_keep_the_first_successes_of_each_group(seed: int) -> None:
    config = CollectConfig(episodes=30, groups=3, maximum_attempts=20)
    succeeds = np.random.default_rng(seed).random(600) < 0.5
    wanted = []
    for group in range(3):
        attempts = np.arange(group, 600, 3)
        wanted += attempts[succeeds[attempts]][:10].tolist()
    for wave in (None, 1, 7, 48):
        made = collect(config, succeeds, wave)
        assert sorted(attempt for attempt, ok in made.items() if ok) == sorted(wanted)


@pytest.mark.parametrize("wave", [None, 48])
def test_a_hopeless_group_is_an_error_unless_less_will_do(wave: int | None) -> None:
    succeeds = np.arange(600) % 3 > 0
    config = CollectConfig(episodes=30, groups=3)
    with pytest.raises(CollectionError, match="pattern 0 succeeded in 0 of"):
        collect(config, succeeds, wave)
    some = collect(CollectConfig(episodes=30, groups=3, require_all=False), succeeds, wave)
    assert sum(some.values()) == 20 and len(some) == 20 + 50


def test_groups_fit_the_policy() -> None:
    assert grouped(CollectConfig(), 4).groups == 4
    with pytest.raises(CollectionError, match="ask for 4 groups and a multiple of 4 episodes"):
        grouped(CollectConfig(groups=3), 4)


def test_what_changes_an_attempt_changes_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    collection = Collection(RunFolder(Path("run")), "libero_90/some_task", "dlr", 0)
    item = AttemptsItem(collection, "a1", NoiseConfig(), (0, 1), "kept")
    assert (
        item.path.parent == Path("kept") and item.path.name == replace(item, folder="x").path.name
    )
    paths = {
        item.path,
        replace(item, noise=NoiseConfig(std=0.0)).path,
        replace(item, policy_hash="b2").path,
        replace(item, collection=replace(collection, asset_digest="c3")).path,
    }
    monkeypatch.setattr(attempts, "simulator_versions", lambda: {"mujoco": "4"})
    assert len(paths | {item.path}) == 5
