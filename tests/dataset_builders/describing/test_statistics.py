"""Statistics beside the data are those that the trainers compute themselves, in their forms."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dataset_builders.describing.statistics import (
    ACTION,
    FILES,
    STATE,
    WIDTH,
    decode_numbers,
    encode_numbers,
    openness,
    write_statistics,
)


@pytest.fixture
def episodes() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    found = [rng.normal(size=(n, WIDTH)).astype(np.float32) for n in (5, 40, 17)]
    for numbers in found:
        numbers[:, 6] = np.sign(numbers[:, 6])
    return found


def test_numbers_survive_as_text(episodes: list[np.ndarray]) -> None:
    numbers = episodes[0]
    parts = [numbers[:, ACTION], numbers[:, STATE], numbers[:, STATE.stop :]]
    assert np.array_equal(decode_numbers(encode_numbers(parts)), numbers)


def test_forms_hold_what_their_trainers_compute(episodes: list[np.ndarray], tmp_path: Path) -> None:
    found = write_statistics(tmp_path, "libero_rl_dlr", iter(episodes))
    assert (found["transitions"], found["trajectories"]) == (62, 3)
    openvla, openpi, lerobot = (json.loads((tmp_path / name).read_text()) for name in FILES)
    rows = np.concatenate(episodes)
    actions, states = rows[:, ACTION].copy(), rows[:, STATE]
    assert np.allclose(openpi["norm_stats"]["actions"]["q99"], np.quantile(actions, 0.99, axis=0))
    assert np.allclose(openpi["norm_stats"]["state"]["std"], states.std(axis=0), atol=1e-6)
    assert np.allclose(lerobot["observation.state"]["min"], states.min(axis=0))
    assert lerobot["action"]["count"] == [62]
    actions[:, 6] = openness(actions[:, 6])  # as OpenVLA's transform does before it counts
    told = openvla["libero_rl_dlr"]
    assert np.allclose(told["action"]["mean"], actions.mean(axis=0), atol=1e-6)
    assert np.allclose(told["action"]["q01"], np.quantile(actions, 0.01, axis=0))
    assert told["action"]["mask"] == [True] * 6 + [False]
    assert (told["num_transitions"], told["num_trajectories"]) == (62, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
