"""PPO improves a weak clone, keeps patterns, and continues after kill -9 with the same weights."""

import copy
import dataclasses
import functools
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from common.errors import CheckpointError, SettingError
from generator.checkpoints import load_policy, policy_hash
from generator.config import EvaluationConfig, LearnConfig, NoiseConfig, ReinforceConfig
from generator.finetuning.batch import advantages_and_returns, make_batch, normalise_per_pattern
from generator.finetuning.critic import Critic
from generator.finetuning.learner import Learner
from generator.finetuning.replay import Replay
from generator.learn import learn
from generator.policies.gaussian import GaussianPolicy
from generator.reinforce import Finetuning, reinforce
from generator.rollout import Environments, Rollout, held_out_specs, rollout, training_specs
from simulation.starts import EVALUATION_SEED
from tests.generator.conftest import PointMasses, kill_when, point_mass_demonstrations
from tests.generator.test_learn import way_labels

SHORT = ReinforceConfig(
    critic_hidden=(128, 128),
    iterations=4,
    episodes=4,
    warmup_episodes=2,
    critic_warmup=1,
    evaluate_every=2,
    evaluation_episodes=4,
    epochs=3,
)


def clone() -> GaussianPolicy:
    """Return a weak clone of few demonstrations."""
    return copy.deepcopy(_cloned())


@functools.cache
def _cloned() -> GaussianPolicy:
    demonstrations = point_mass_demonstrations(15, 0.1)
    config = LearnConfig(steps=500, hidden=(128, 128), ema_decay=0.99)
    labels = way_labels(demonstrations)
    with tempfile.TemporaryDirectory() as folder:
        return learn(demonstrations, labels, config, 3, 0, Path(folder))[0]


def short_run(out_dir: Path) -> str:
    """Train shortly and return the result's hash."""
    policy = clone()
    return policy_hash(
        reinforce(policy, PointMasses(), None, Finetuning(SHORT, horizon=75), out_dir)[0]
    )


def test_gae_against_the_definition() -> None:
    rng = np.random.default_rng(0)
    values, gamma, lam = rng.random(7), 0.9, 0.8
    rewards = np.array([0, 0, 0, 1, 0, 0, 0])
    advantages, returns = advantages_and_returns(values, rewards, [4, 3], gamma, lam)
    following = np.array([values[1], values[2], values[3], 0, values[5], values[6], 0])
    deltas = rewards + gamma * following - values
    expected = [
        sum((gamma * lam) ** i * d for i, d in enumerate(deltas[t : 4 if t < 4 else 7]))
        for t in range(7)
    ]
    np.testing.assert_allclose(advantages, expected)
    np.testing.assert_allclose(returns, advantages + values)
    _, sparse = advantages_and_returns(np.zeros(4), rewards[:4], [4], gamma, 1.0)
    np.testing.assert_allclose(sparse, gamma ** np.arange(3, -1, -1))


def test_lambda_counts_decisions() -> None:
    """With chunks, decisions have the advantages that they would have as steps of their own."""
    rng = np.random.default_rng(0)
    values, gamma, lam = rng.random(8), 0.9, 0.8
    rewards = np.array([0, 0.5, 0, 0, 1, 0, 0, 1])
    decided = np.array([1, 0, 0, 1, 0, 1, 0, 0], dtype=bool)  # of episodes of 5 and 3 steps
    found, _ = advantages_and_returns(values, rewards, [5, 3], gamma, lam, decided)
    second = rewards[3] + gamma * rewards[4] - values[3]
    first = gamma * rewards[1] + gamma**3 * values[3] - values[0] + gamma**3 * lam * second
    np.testing.assert_allclose(found[decided], [first, second, gamma**2 - values[5]])


def test_advantages_are_normalised_within_patterns() -> None:
    patterns = torch.tensor([0] * 50 + [1] * 50)
    advantages = torch.cat([torch.randn(50) * 3 + 1, torch.full((50,), 0.4)])
    normal = normalise_per_pattern(advantages, patterns, 0.05)
    assert abs(normal[:50].mean()) < 1e-5 and abs(normal[:50].std() - 1) < 0.05
    assert normal[50:].abs().max() < 1e-5


def test_improves_a_weak_clone(tmp_path: Path) -> None:
    policy = clone()
    before = policy_hash(policy)
    config = ReinforceConfig(
        iterations=14, evaluate_every=7, episodes=12, critic_hidden=(128, 128), desired_kl=0.05
    )
    _, report = reinforce(policy, PointMasses(), None, Finetuning(config, horizon=75), tmp_path)
    assert policy_hash(policy) == before
    history = report["history"]
    success = [m["success"] for m in history]
    assert np.mean(success[-4:]) > np.mean(success[:3]) + 0.03
    assert {"leakage/0"}.isdisjoint(history[0]) and history[-1]["kl_to_initial/2"] > 0
    assert [m["warm_up"] for m in history[:4]] == [1, 1, 1, 0]
    assert history[2]["kl_to_initial/0"] == 0 and history[2]["explained_variance"] > 0
    updates = [m for m in history if not m["warm_up"]]
    assert max(m["kl"] for m in updates) < 0.08 and min(m["kl"] for m in updates) > 0.01
    steps = report["environment_steps"]
    assert steps["total"] == steps["training"] + steps["evaluation"]
    assert steps["total"] == sum(m["environment_steps"] for m in history)
    cost = json.loads((tmp_path / "cost.json").read_text())
    assert 0 < cost["cpu_share_of_update"] < 1 and cost["cpu_minutes"] > 0
    assert report["stopped"] in ("solved", "iterations used up")
    assert list((tmp_path / "tensorboard").glob("events*"))
    assert "tensorflow" not in sys.modules


def test_no_warm_up_comes_after_an_update_of_the_actor(tmp_path: Path) -> None:
    config = dataclasses.replace(SHORT, critic_warmup=2, iterations=9)
    settings, environments, policy = Finetuning(config, horizon=75), PointMasses(), clone()
    learner = Learner(policy, None, settings)
    for explained in (-1.0, 0.5, -1.0):  # told, in the place of what the critic explains
        learner.iterate(environments)["explained_variance"] = explained
    assert [m["warm_up"] for m in learner.history] == [1, 1, 0]
    learner.save(tmp_path / "state")
    again = Learner(policy, None, settings)
    again.load(tmp_path / "state")
    for each in (learner, again):
        assert each.warm and each.iterate(PointMasses())["warm_up"] == 0
    assert policy_hash(again.policy) == policy_hash(learner.policy)


class LuckyStarts(PointMasses):
    """The starts of the usual evaluation begin at the goal, as if no training were needed."""

    def reset(
        self, slots: Sequence[int], seeds: Sequence[int], init_indices: Sequence[int | None]
    ) -> None:
        """Begin, with the item at the goal where it is one of those starts."""
        super().reset(slots, seeds, init_indices)
        for slot, seed in zip(slots, seeds, strict=True):
            if 0 <= seed - EVALUATION_SEED < SHORT.evaluation_episodes:
                self.envs[slot].item = self.envs[slot].goal.copy()


def test_the_target_is_not_reached_by_lucky_starts(tmp_path: Path) -> None:
    policy, evaluation = clone(), EvaluationConfig(fresh_share=1.0)
    for target, stopped in ((0.9, "iterations used up"), (0.5, "solved")):
        config = dataclasses.replace(SHORT, target_success=target)
        settings = Finetuning(config, horizon=75, evaluation=evaluation)
        _, report = reinforce(policy, LuckyStarts(), None, settings, tmp_path / str(target))
        assert all(report["history"][-1][f"held_out_success/{z}"] == 1 for z in range(3))
        assert report["stopped"] == stopped


def test_trainings_episodes_speak_for_the_policy_that_is_kept(tmp_path: Path) -> None:
    config = dataclasses.replace(SHORT, target_success=1.1, iterations=7)
    settings = Finetuning(config, horizon=75, evaluation=EvaluationConfig(fresh_share=1.0))
    policy = clone()
    _, report = reinforce(policy, LuckyStarts(), None, settings, tmp_path)
    first, *others = report["history"]
    n, warm, many = config.evaluation_episodes, config.warmup_episodes, config.episodes
    seen = [[(n + warm * first[f"success/{z}"]) / (n + warm) for z in range(3)]]
    for pair in (others[:2], others[2:4], others[4:]):
        assert all(pair[1][f"held_out_success/{z}"] == 1 for z in range(3))
        trained = [many * sum(m[f"success/{z}"] for m in pair) for z in range(3)]
        seen.append([(n + successes) / (n + 2 * many) for successes in trained])
    assert len({tuple(rates) for rates in seen}) > 1
    assert report["best"] == pytest.approx(max(seen, key=lambda rates: (min(rates), sum(rates))))


class Told(Learner):
    """Its evaluations say what they are told: lengths of 20 episodes a pattern, 0 a failure."""

    told: Sequence[Sequence[int]]

    def _run_held_out(self, environments: Environments, starts: range) -> list[Rollout]:
        lengths = np.array(self.told).T.ravel()
        specs = held_out_specs(starts, EVALUATION_SEED, 3, 1.0)
        taken = [np.zeros((max(n, 9), 1)) for n in lengths]
        return [
            Rollout(spec, steps, steps, steps, {}, bool(n))
            for n, spec, steps in zip(lengths, specs, taken, strict=True)
        ]


def test_what_shortens_episodes_may_cost_no_success(tmp_path: Path) -> None:
    config = dataclasses.replace(SHORT, evaluation_episodes=20)
    learner = Told(clone(), None, Finetuning(config, horizon=75, shorten=True))
    all_of_them, one_fails = [50] * 20, [0] + [20] * 19
    for told, kept in (
        ([all_of_them] * 3, 50.0),
        ([all_of_them, one_fails, all_of_them], 50.0),
        ([[40] * 20] * 3, 40.0),
    ):
        learner.told = told
        learner._evaluate(PointMasses())
        assert learner.best_length == kept and learner.best_success == [1.0] * 3


@pytest.mark.parametrize(("steps", "least"), [(0, 0), (2000, 0), (6000, 1)])
def test_no_warm_up_is_begun_that_no_update_follows(steps: int, least: int, tmp_path: Path) -> None:
    """An evaluation and one warm-up tell what the rest would take; without steps, not even they."""
    config = dataclasses.replace(SHORT, iterations=99, patience=99, critic_warmup=3)
    environments = PointMasses()
    settings = Finetuning(config, horizon=75, steps=steps, shorten=True)
    policy = clone()
    tuned, report = reinforce(policy, environments, None, settings, tmp_path)
    assert report["updates"] >= least
    assert environments.steps <= steps and report["environment_steps"]["total"] <= steps
    if not least:
        assert report["stopped"] == "no update fits into the steps" and not report["updates"]
        assert len(report["history"]) == (1 if steps else 0)
        before = dict(policy.named_parameters())
        for name, value in tuned.named_parameters():
            assert "std" in name or torch.equal(value, before[name])


def test_options_and_the_budget_of_steps(tmp_path: Path) -> None:
    policy = clone()
    demonstrations = point_mass_demonstrations(15, 0.1)
    config = dataclasses.replace(
        SHORT, demonstration_starts=0.5, replay=0.1, residual=True, iterations=99, patience=99
    )
    settings = Finetuning(
        config,
        horizon=75,
        steps=6000,
        shorten=True,
        demonstrations=demonstrations,
        labels=[int(d.way[-1]) for d in demonstrations],
    )
    environments = PointMasses()
    tuned, report = reinforce(policy, environments, None, settings, tmp_path)
    assert report["stopped"] == "steps used up" and environments.steps <= 6000
    assert report["environment_steps"]["total"] == environments.steps > 4000
    nearer, whole = (
        np.mean([m[f"{name}/{z}"] for m in report["history"] for z in range(3)])
        for name in ("success_from_demonstrations", "success")
    )
    assert report["history"][-1]["reach/0"] > 0.25 and nearer > whole
    assert policy_hash(load_policy(tmp_path / "policy.safetensors")[0]) == policy_hash(tuned)
    trained, frozen = tuned.state_dict(), policy.state_dict()
    assert all(torch.equal(trained[n], frozen[n]) for n in frozen if n != "raw_log_std")
    with pytest.raises(SettingError, match="every pattern"):
        reinforce(policy, environments, None, Finetuning(config, horizon=75), tmp_path / "x")
    silent = Finetuning(SHORT, noise=NoiseConfig(std=0.001), horizon=75)
    with pytest.raises(SettingError, match="cannot learn with noise of the std"):
        reinforce(policy, environments, None, silent, tmp_path / "x")


def test_replay_holds_successes_of_the_last_iterations() -> None:
    torch.manual_seed(0)
    policy, replay = GaussianPolicy(17, 3, (8,)), Replay(2)
    for first in (0, 3, 6):
        done = rollout(policy, PointMasses(), training_specs(first, 3, 3, 0.5, 0), 5)
        won = [dataclasses.replace(e, success=i == 1) for i, e in enumerate(done)]
        replay.keep(make_batch(policy, won))
        last = won[1]
    drawn = replay.sample(200, torch.Generator().manual_seed(0))
    assert drawn is not None
    features, trace = drawn
    assert len(torch.unique(features, dim=0)) == 10
    known = {tuple(row) for row in last.trace["chosen"].tolist()}
    assert len(known & {tuple(row) for row in trace["chosen"].tolist()}) == 5
    again = Replay(2)
    again.load(replay.tensors())
    torch.testing.assert_close(
        again.sample(9, torch.Generator().manual_seed(1)),
        replay.sample(9, torch.Generator().manual_seed(1)),
    )
    assert Replay(0).sample(3, torch.Generator()) is None


def test_continues_after_sigkill_with_equal_weights(tmp_path: Path) -> None:
    undisturbed = short_run(tmp_path / "a")
    state = tmp_path / "b" / "training.safetensors"
    command = "from tests.generator.test_reinforce import short_run; "
    kill_when(state.exists, command + f"short_run(Path({str(state.parent)!r}))")
    assert state.exists() and not (tmp_path / "b" / "policy.safetensors").exists()
    assert short_run(tmp_path / "b") == undisturbed


def test_a_hopeless_policy_is_given_up(tmp_path: Path) -> None:
    """Evaluations that are all alike are no better ones: nothing reaches a goal in five steps."""
    config = dataclasses.replace(SHORT, iterations=99, evaluate_every=1, patience=2)
    settings = Finetuning(config, horizon=5)
    _, report = reinforce(GaussianPolicy(17, 3, (8,)), PointMasses(), None, settings, tmp_path)
    assert report["stopped"] == "no better evaluation" and len(report["history"]) < 9


def test_refuses_another_policys_checkpoint(tmp_path: Path) -> None:
    policy = clone()
    state = tmp_path / "training.safetensors"
    one = Finetuning(ReinforceConfig(iterations=1, episodes=1, evaluation_episodes=1), horizon=75)
    Learner(policy, None, one).save(state)
    policy.explore(0.15)
    with pytest.raises(CheckpointError, match="another cloned policy"):
        reinforce(policy, PointMasses(), None, one, tmp_path)


def test_seeds_train_on_different_episodes() -> None:
    first, second = (training_specs(0, 12, 3, 0.5, seed) for seed in (0, 1))
    assert {s.seed for s in first}.isdisjoint(s.seed for s in second)
    assert max(s.seed for s in training_specs(2000, 72, 3, 0.5, 99)) < EVALUATION_SEED
    with pytest.raises(SettingError, match="0 to 99"):
        training_specs(0, 12, 3, 0.5, 100)


def test_critic_stays_within_the_rewards_range() -> None:
    torch.manual_seed(0)
    critic, features, time = Critic(4, (16,), (-0.5, 1.0)), torch.randn(9, 4) * 50, torch.rand(9)
    optimizer = torch.optim.Adam(critic.parameters(), 0.05)
    for _ in range(60):
        optimizer.zero_grad()
        critic.loss(features, time, torch.full((9,), -0.4)).backward()
        optimizer.step()
    values = critic.values(features, time)
    assert (values > -0.5).all() and (values - -0.4).abs().max() < 0.1
