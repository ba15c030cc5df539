"""Cloning fits, keeps patterns apart, and continues after kill -9 with the same weights."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from common.errors import DemonstrationError, SettingError
from demonstrations.demonstration import Demonstration
from generator.checkpoints import load_policy, policy_hash, read_cost
from generator.config import LearnConfig
from generator.learn import learn
from generator.policies.chunk import ChunkPolicy
from generator.policies.gaussian import GaussianPolicy
from generator.policies.policy import Exploration
from generator.rollout import evaluate, held_out_specs
from tests.generator.conftest import PointMasses, kill_when, point_mass_demonstrations

CONFIG = LearnConfig(
    steps=600, hidden=(64, 64), ema_decay=0.98, checkpoint_every=20, validate_every=100
)


def way_labels(demonstrations: list[Demonstration]) -> list[np.ndarray]:
    """Return the known ways as state labels."""
    return [np.full(len(d.actions), int(d.way[-1])) for d in demonstrations]


def run(out_dir: Path) -> GaussianPolicy:
    """Clone the point mass's demonstrations."""
    demonstrations = point_mass_demonstrations(15)
    return learn(demonstrations, way_labels(demonstrations), CONFIG, 3, 0, out_dir)[0]


def test_clones(tmp_path: Path, demonstrations: list[Demonstration]) -> None:
    policy, report = learn(demonstrations, way_labels(demonstrations), CONFIG, 3, 0, tmp_path)
    assert report["training"]["gripper_accuracy"] > 0.9
    assert report["validation"]["motion_error"] < 0.15
    specs = held_out_specs(range(10), 1_000_000, 3, 0.5)
    success = evaluate(policy, PointMasses(), specs, 80, exploration=Exploration(0))
    assert success.mean() > 0.3
    loaded, metadata = load_policy(tmp_path / "policy.safetensors")
    assert policy_hash(loaded) == policy_hash(policy) == metadata["policy_hash"]


def test_what_was_never_seen_ends_training_and_sets_the_spread(tmp_path: Path) -> None:
    """Labels with tremor are learnt by heart; the weights from before that are kept."""
    demonstrations = point_mass_demonstrations(15, noise=0.3)
    config = LearnConfig(
        steps=4000, hidden=(128, 128), validation_share=0.3, validate_every=50, patience=6
    )
    policy, report = learn(demonstrations, way_labels(demonstrations), config, 3, 0, tmp_path)
    assert report["best_step"] == report["steps"] - 300 < 3000
    assert read_cost(tmp_path)["cpu_seconds"] > 0
    likelihoods = [report[part]["negative_log_likelihood"] for part in ("training", "validation")]
    assert likelihoods[1] - likelihoods[0] < 3
    assert (policy.std[:3] > 0.2).all()


def test_chunks_are_cloned(tmp_path: Path, demonstrations: list[Demonstration]) -> None:
    config = dataclasses.replace(CONFIG, chunk=3)
    policy, report = learn(demonstrations, way_labels(demonstrations), config, 3, 0, tmp_path)
    assert isinstance(policy, ChunkPolicy) and report["validation"]["gripper_accuracy"] > 0.9
    assert report["validation"]["motion_error"] < 0.2
    with pytest.raises(SettingError, match="at least one"):
        learn(demonstrations, None, dataclasses.replace(CONFIG, chunk=0), 0, 0, tmp_path)


def test_report_says_how_many_were_held_out(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, steps=2)
    for count, held_out in ((6, 0), (15, 1)):
        demonstrations = point_mass_demonstrations(count)
        labels = way_labels(demonstrations)
        _, report = learn(demonstrations, labels, config, 3, 0, tmp_path / str(count))
        assert report["held_out"] == held_out
        assert (report["validation"] == report["training"]) == (held_out == 0)


def test_pattern_changes_the_action(tmp_path: Path) -> None:
    policy = run(tmp_path)
    demonstration = next(d for d in point_mass_demonstrations(15) if d.way == "way2")
    noise = [policy.noise(np.random.default_rng(0), Exploration(0)) for _ in range(3)]
    lifted = int(demonstration.observations[:, 6].argmax() * 0.7)
    observation = np.repeat(demonstration.observations[lifted : lifted + 1], 3, axis=0)
    actions = policy.act(observation, np.arange(3), noise).actions
    assert actions[2, 0] > actions[0, 0]


def test_continues_after_sigkill_with_equal_weights(tmp_path: Path) -> None:
    undisturbed = policy_hash(run(tmp_path / "a"))
    state = tmp_path / "b" / "training.safetensors"
    command = f"from tests.generator.test_learn import run; run(Path({str(state.parent)!r}))"
    kill_when(state.exists, command)
    assert state.exists() and not (tmp_path / "b" / "policy.safetensors").exists()
    assert policy_hash(run(tmp_path / "b")) == undisturbed


def test_bad_input(tmp_path: Path, demonstrations: list[Demonstration]) -> None:
    with pytest.raises(DemonstrationError, match="no demonstrations"):
        learn([], None, CONFIG, 0, 0, tmp_path)
    first = demonstrations[0]
    actions = first.actions.copy()
    actions[3, 2] = np.nan
    broken = Demonstration(first.observations, first.proprio, actions)
    with pytest.raises(DemonstrationError, match="NaN"):
        learn([broken], None, CONFIG, 0, 0, tmp_path)


def closed_and_open(count: int = 12, steps: int = 60) -> list[Demonstration]:
    """Return moves ahead with the gripper closed (way 0) or open (way 1): it begins open."""
    found = []
    for index in range(2 * count):
        command = 1.0 if index % 2 == 0 else -1.0
        start = np.random.default_rng(index).normal(0, 0.02)
        ahead = np.linspace(0, 1, steps) + start
        fingers = np.full(steps, 0.04 if command < 0 else 0.0)
        fingers[0] = 0.04
        observations = np.stack([ahead, fingers, -fingers], axis=1)
        proprio = np.concatenate([np.zeros((steps, 6)), observations[:, 1:]], axis=1)
        actions = np.zeros((steps, 7))
        actions[:, 0], actions[:, 6] = 0.5, command
        found.append(Demonstration(observations, proprio, actions, f"way{index % 2}"))
    return found


@pytest.mark.parametrize(("share", "closes"), [(0.0, False), (0.3, True)])
def test_a_command_is_not_read_off_the_fingers(tmp_path: Path, share: float, closes: bool) -> None:
    """Told to close, with fingers that are open yet: only the pattern says what to do."""
    demonstrations = closed_and_open()
    config = dataclasses.replace(CONFIG, other_fingers=share)
    labels = way_labels(demonstrations)
    policy, _ = learn(demonstrations, labels, config, 2, 0, tmp_path)
    noise = [policy.noise(np.random.default_rng(i), Exploration(0)) for i in range(20)]
    still_open = np.tile(np.array([0.2, 0.04, -0.04], np.float32), (20, 1))
    told = policy.act(still_open, np.zeros(20, np.int64), noise).actions[:, 6]
    assert (told > 0).mean() > 0.9 if closes else (told > 0).mean() < 0.5


def test_a_share_is_one(tmp_path: Path, demonstrations: list[Demonstration]) -> None:
    config = dataclasses.replace(CONFIG, other_fingers=1.0)
    with pytest.raises(SettingError, match="share"):
        learn(demonstrations, None, config, 0, 0, tmp_path)
