"""Chunks are scored where they are decided, carried out whole, and can be fine-tuned by PPO."""

from pathlib import Path

import numpy as np
import torch

from generator.checkpoints import load_policy, policy_hash, save_policy
from generator.config import ReinforceConfig
from generator.policies.chunk import ChunkPolicy, chunks
from generator.policies.policy import Exploration
from generator.reinforce import Finetuning, reinforce
from generator.rollout import rollout, training_specs
from tests.generator.conftest import PointMasses


def _policy(chunk: int = 4) -> ChunkPolicy:
    torch.manual_seed(0)
    return ChunkPolicy(17, 3, (32,), chunk)


def test_a_chunk_is_scored_as_its_actions_where_it_is_decided() -> None:
    policy, rng = _policy(), np.random.default_rng(0)
    observations = torch.from_numpy(rng.normal(size=(3, 17)).astype(np.float32))
    features = policy.features(observations, torch.tensor([0, 1, 2]))
    chosen = torch.from_numpy(rng.normal(size=(3, 4, 7)).astype(np.float32))
    trace = {"chosen": chosen, "length": torch.tensor([4, 0, 2])}
    found = policy.distribution(features, trace)
    output = policy.network(features).view(3, 4, 7)
    normal = torch.distributions.Normal(output[..., :6], policy.std)
    gripper = torch.distributions.Bernoulli(logits=output[..., 6])
    each = normal.log_prob(chosen[..., :6]).sum(-1)
    each = each + gripper.log_prob((chosen[..., 6] > 0).float())
    expected = torch.stack([each[0].sum(), torch.tensor(0.0), each[2, :2].sum()])
    torch.testing.assert_close(found.log_prob(trace), expected)
    torch.testing.assert_close(found.kl(found), torch.zeros(3))
    assert found.entropy()[1] == 0 and (found.entropy()[[0, 2]] != 0).all()
    some = torch.tensor([2, 0])
    part = {name: value[some] for name, value in trace.items()}
    torch.testing.assert_close(found[some].log_prob(part), expected[some])
    motion, right = found.errors(trace)
    assert motion.shape == (6, 6) and right.shape == (6,)


def test_a_chunk_is_carried_out_before_the_policy_looks_again() -> None:
    policy, rng = _policy(), np.random.default_rng(0)
    noise = [policy.noise(np.random.default_rng(i), Exploration(1.0, 0.5)) for i in range(2)]
    alone = policy.noise(np.random.default_rng(1), Exploration(1.0, 0.5))
    for step in range(9):
        seen = rng.normal(size=(2, 17)).astype(np.float32)
        decision = policy.act(seen, np.array([0, 2]), noise)
        assert decision.trace["length"].tolist() == ([4, 4] if step % 4 == 0 else [0, 0])
        single = policy.act(seen[1:], np.array([2]), [alone])
        np.testing.assert_array_equal(single.actions[0], decision.actions[1])
        if step % 4 == 0:
            begun = decision.trace["chosen"]
            np.testing.assert_allclose(decision.actions[0], begun[0, 0], atol=2.0)
        np.testing.assert_array_equal(decision.actions[:, 6], begun[:, step % 4, 6])


def test_skipped_steps_leave_the_chunk_where_it_would_be() -> None:
    policy = _policy()
    seen = np.zeros((1, 17), np.float32)
    asked, skipped = (policy.noise(np.random.default_rng(0), Exploration(0)) for _ in range(2))
    first = [policy.act(seen, np.array([0]), [asked]).actions for _ in range(4)]
    policy.act(seen, np.array([0]), [skipped])
    skipped.skip(2)
    np.testing.assert_array_equal(policy.act(seen, np.array([0]), [skipped]).actions, first[3])


def test_chunks_end_with_the_demonstration() -> None:
    actions = np.arange(5)[:, None] * np.ones((1, 7))
    found = chunks(actions, 3)
    assert found["length"].tolist() == [3, 3, 3, 2, 1]
    assert found["chosen"][:, :, 0].tolist() == [
        [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 4], [4, 4, 4],
    ]  # fmt: skip


def test_ppo_finetunes_chunks(tmp_path: Path) -> None:
    policy, environments = _policy(), PointMasses(4)
    save_policy(tmp_path / "policy.safetensors", policy, {})
    assert policy_hash(load_policy(tmp_path / "policy.safetensors")[0]) == policy_hash(policy)
    specs = training_specs(0, 3, 3, 0.5, 0)
    done = rollout(policy, environments, specs, 10, exploration=Exploration(1.0))
    assert done[0].trace["length"].tolist() == [4, 0, 0, 0, 4, 0, 0, 0, 4, 0]
    config = ReinforceConfig(
        iterations=3, episodes=2, warmup_episodes=2, critic_warmup=1, evaluation_episodes=1
    )
    settings = Finetuning(config, horizon=12)
    tuned, report = reinforce(policy, environments, None, settings, tmp_path)
    updates = [m for m in report["history"] if not m["warm_up"]]
    assert updates and isinstance(tuned, ChunkPolicy)
    assert all(np.isfinite(m["kl"]) and m["kl"] > 0 for m in updates)
