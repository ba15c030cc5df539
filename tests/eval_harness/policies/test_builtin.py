"""The built-in policies: what they need, what they answer, and what they refuse."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from common.errors import CheckpointError, TrajectoryError
from demonstrations.config import DemonstrationConfig
from demonstrations.make import make_demonstrations
from demonstrations.skills.table import SKILLS
from eval_harness.evaluation import evaluate
from eval_harness.plan import Start, make_items
from eval_harness.policies import load_policy
from eval_harness.policies.generator import STATE, GeneratorPolicy
from eval_harness.policies.replay import RecordedActions, ReplayPolicy
from eval_harness.policy import EpisodeKey, Observation, PolicyError
from eval_harness.protocols import PROTOCOLS
from eval_harness.runner import RunConfig
from generator.checkpoints import load_policy as load_network
from generator.checkpoints import save_policy
from generator.config import ChainConfig, NoiseConfig
from generator.policies.diffusion import DiffusionPolicy
from generator.policies.gaussian import GaussianPolicy
from generator.policies.policy import Exploration
from generator.rollout import EpisodeSpec
from simulation.assets.resolve import embedded_pack
from simulation.environment import Environment
from simulation.tasks import get_task

DRAWER = get_task("libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")
PROTOCOL = PROTOCOLS["openvla"]


def look(episode: int, step: int = 0, **state: np.ndarray) -> Observation:
    return Observation(EpisodeKey(DRAWER.key, episode, episode, 5 + episode), step, "", {}, state)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("nonsense", "unknown policy 'nonsense'"),
        ("replay:", "lacks what follows"),
        ("openpi://", "lacks what follows"),
        ("replay:/no/such/folder", "no folder"),
        ("random:many", "chunk"),
        ("lerobot:/no/such/folder", "there is no folder /no/such/folder: check the path"),
        ("runs/no/such", "there is no folder runs/no/such"),
        ("./pi0", "there is no folder ./pi0"),
    ],
)
def test_wrong_names_are_refused(spec: str, words: str) -> None:
    with pytest.raises(PolicyError, match=words):
        load_policy(spec, PROTOCOL)


def test_random_depends_on_episode_and_step_alone() -> None:
    policy = load_policy("random:3", PROTOCOL)
    both = policy.act([look(0), look(1)])
    assert both.shape == (2, 3, 7) and np.abs(both).max() <= 1
    assert np.array_equal(policy.act([look(1)])[0], both[1])
    assert not np.array_equal(both[0], both[1])
    assert not np.array_equal(policy.act([look(0, 3)])[0], both[0])
    assert policy.identity() != load_policy("random", PROTOCOL).identity()


def test_scripted_demonstrator_succeeds_and_its_trajectories_replay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SKILLS, "turnon", ())
    pack = embedded_pack()
    policy = load_policy("scripted", PROTOCOL, assets=pack)
    results = evaluate(policy, PROTOCOL, [DRAWER], tmp_path / "a", 3, assets=pack)
    assert [result.success for result in results.episodes] == [True] * 3
    with pytest.raises(PolicyError, match="no script for libero_goal/turn_on_the_stove"):
        policy.act([Observation(EpisodeKey("libero_goal/turn_on_the_stove", 0, 0, 0), 0, "")])


def test_after_its_end_a_recording_stays_as_it_is() -> None:
    actions = np.random.default_rng(0).uniform(-1, 1, (25, 7))
    filled = RecordedActions(Start(), actions).chunk(5, 40)
    assert filled.shape == (40, 7)
    np.testing.assert_array_equal(filled[:20], actions[5:])
    np.testing.assert_array_equal(filled[20:, :6], 0)
    np.testing.assert_array_equal(filled[20:, 6], actions[-1, 6])


def test_a_stored_trajectory_is_replayed_to_the_bit(tmp_path: Path) -> None:
    pack, path = embedded_pack(), tmp_path / "demos" / "drawer.hdf5"
    config = DemonstrationConfig(episodes_per_way=1)
    with make_demonstrations(DRAWER, path, config, pack) as file:
        episodes = list(file)
    policy = load_policy(f"replay:{tmp_path / 'demos'}", PROTOCOL, assets=pack)
    assert isinstance(policy, ReplayPolicy) and policy.tasks == (DRAWER.key,)
    results = evaluate(policy, PROTOCOL, [DRAWER], tmp_path / "out", assets=pack)
    assert len(results.episodes) == len(episodes) > 1
    for result, episode in zip(results.episodes, episodes, strict=True):
        assert result.success and result.steps == len(episode)
        assert np.array_equal(results.trajectory(result).states, episode.states)
    with pytest.raises(PolicyError, match="none for episode"):
        make_items(PROTOCOL, [DRAWER], 99, find_start=policy.start)


def test_a_damaged_recording_is_named(tmp_path: Path) -> None:
    for content in ('{"actions": [[1, 2]], "init_state": [0]}', '{"actions": ', '{"actions": 1}'):
        (tmp_path / f"{DRAWER.name}.json").write_text(content)
        with pytest.raises(TrajectoryError, match=DRAWER.name):
            ReplayPolicy.of_folder(tmp_path)
    (tmp_path / f"{DRAWER.name}.json").write_text(json.dumps({"other": 1}))
    with pytest.raises(PolicyError, match="no demonstration"):
        ReplayPolicy.of_folder(tmp_path)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Return a policy of the drawer's task with two patterns, its weights drawn at random."""
    torch.manual_seed(0)
    size = len(Environment(DRAWER, embedded_pack()).policy_state())
    network = GaussianPolicy(size, 2, (16,))
    with torch.no_grad():
        for parameter in network.network.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.3)
    save_policy(tmp_path / "policy.safetensors", network, {})
    return tmp_path / "policy.safetensors"


def test_a_generator_policy_runs_with_its_pattern(checkpoint: Path, tmp_path: Path) -> None:
    protocol = dataclasses.replace(PROTOCOL, horizons=dict.fromkeys(PROTOCOL.horizons, 5))
    actions = {}
    for pattern in ("", "#0", "#1"):
        policy = load_policy(f"generator:{checkpoint}{pattern}", protocol)
        results = evaluate(
            policy, protocol, [DRAWER], tmp_path / f"out{pattern}", 2,
            config=RunConfig(environments=2), assets=embedded_pack(),
        )  # fmt: skip
        actions[pattern] = [results.trajectory(r).actions for r in results.episodes]
    assert np.array_equal(actions[""][0], actions["#0"][0])
    assert np.array_equal(actions[""][1], actions["#1"][1])
    assert not np.array_equal(actions["#0"][0], actions["#1"][0])


def test_a_generator_policy_refuses_what_does_not_fit(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="2 patterns, but not 2"):
        GeneratorPolicy.load(f"{checkpoint}#2")
    with pytest.raises(PolicyError, match="a pattern is a number"):
        GeneratorPolicy.load(f"{checkpoint}#one")
    with pytest.raises(CheckpointError, match="no checkpoint"):
        GeneratorPolicy.load(str(tmp_path / "missing"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="is a folder without"):
        GeneratorPolicy.load(str(tmp_path / "empty"))
    policy = GeneratorPolicy.load(str(checkpoint.parent))  # the stage's folder
    with pytest.raises(PolicyError, match="trained on another task"):
        policy.act([look(0, 0, **{STATE: np.zeros(3)})])


def test_a_generator_policy_acts_as_in_the_rollouts_that_training_reports(checkpoint: Path) -> None:
    network, _ = load_network(checkpoint)
    policy = GeneratorPolicy.load(f"{checkpoint}#1")
    scene = np.zeros(network.architecture()["observation_dim"])
    exploration = Exploration(NoiseConfig().std, NoiseConfig().memory)
    noise = [network.noise(EpisodeSpec(5, None, 1).noise(), exploration)]
    wanted = [network.act(scene[None], np.array([1]), noise).actions for _ in range(4)]
    acted = [policy.act([look(0, step, **{STATE: scene})])[0] for step in (0, 1, 2, 3)]
    np.testing.assert_array_equal(acted, wanted)
    again = [policy.act([look(0, step, **{STATE: scene})])[0] for step in (3, 1, 2)]
    np.testing.assert_array_equal(again, [wanted[step] for step in (3, 1, 2)])
    policy.end([look(0).key])
    assert not policy._streams


def test_a_generator_policys_noise_is_an_option(checkpoint: Path) -> None:
    network, _ = load_network(checkpoint)
    state = {STATE: np.zeros(network.architecture()["observation_dim"])}
    mean, usual = (GeneratorPolicy.load(f"{checkpoint}#1{o}") for o in (",noise=0", ""))
    steps = [look(0, step, **state) for step in range(3)]
    assert len({tuple(row) for row in mean.act(steps)[:, 0, :6]}) == 1
    assert len({tuple(row) for row in usual.act(steps)[:, 0, :6]}) == 3
    assert (mean.identity()["noise"], usual.identity()["noise"]) == (0, NoiseConfig().std)
    assert GeneratorPolicy.load(f"{checkpoint}#noise=.25").identity()["noise"] == 0.25
    for options, words in (("noise=-1", "from 0 on"), ("loud=1", "loud is no option")):
        with pytest.raises(PolicyError, match=words):
            GeneratorPolicy.load(f"{checkpoint}#{options}")


def test_a_diffusion_policy_acts_as_in_its_rollouts(tmp_path: Path) -> None:
    network = DiffusionPolicy(9, 3, "unet", (32,), 4, asdict(ChainConfig()))
    path = tmp_path / "policy.safetensors"
    save_policy(path, network, {})
    policy, scene = GeneratorPolicy.load(f"{path}#1"), np.ones(9)
    exploration = Exploration(NoiseConfig().std, NoiseConfig().memory)
    noise = [network.noise(EpisodeSpec(5, None, 1).noise(), exploration)]
    wanted = [network.act(scene[None], np.array([1]), noise).actions for _ in range(6)]
    acted = [policy.act([look(0, step, **{STATE: scene})])[0] for step in range(6)]
    np.testing.assert_array_equal(acted, wanted)
    assert set(np.abs([row[0, 6] for row in wanted])) == {1.0}
