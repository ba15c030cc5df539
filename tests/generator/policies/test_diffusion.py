"""Chains are scored step by step, act with everyone's noise, and can be cloned and fine-tuned."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from common.errors import CheckpointError, SettingError
from common.tensors import save_tensors
from generator.checkpoints import load_policy, policy_hash, save_policy
from generator.config import LearnConfig, ReinforceConfig
from generator.finetuning.update import Update
from generator.learn import learn
from generator.policies.denoisers import make_denoiser
from generator.policies.diffusion import DiffusionPolicy
from generator.policies.network_chunk import NetworkChunkPolicy
from generator.policies.policy import Exploration
from generator.reinforce import Finetuning, reinforce
from generator.rollout import rollout, training_specs
from tests.generator.conftest import PointMasses, kill_when, point_mass_demonstrations

SMALL: dict[str, Any] = {"levels": 20, "acting_steps": 3, "finetuned_steps": 3}


def policy(
    network: Any = "mlp", chunk: int = 4, widths: tuple[int, ...] = (32, 32), **settings: Any
) -> DiffusionPolicy:
    """Return a small policy whose network says something."""
    torch.manual_seed(0)
    made = DiffusionPolicy(17, 3, network, widths, chunk, SMALL | settings)
    for name, parameter in made.network.named_parameters():
        if name.startswith("out"):
            torch.nn.init.normal_(parameter, std=0.2)
    made.action_half.copy_(torch.tensor([0.5] * 3 + [0.1] * 3 + [1.0]))
    made.finish()
    return made


def decided(made: DiffusionPolicy, count: int = 2) -> tuple[Tensor, dict[str, Tensor]]:
    """Return features and trace of decisions at observations that are all different."""
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(count, 17)).astype(np.float32)
    z = np.arange(count) % 3
    noise = [made.noise(np.random.default_rng(i), Exploration(0.04, 0.3)) for i in range(count)]
    trace = made.act(seen, z, noise).trace
    features = made.features(torch.from_numpy(seen), torch.from_numpy(z))
    return features, {name: torch.from_numpy(part) for name, part in trace.items()}


def test_likelihood_by_hand() -> None:
    made = policy(chunk=1, widths=(32,), levels=10, acting_steps=2, finetuned_steps=2)
    made.explore(0.04)
    features, trace = decided(made)
    found = made.distribution(features, trace)
    for row in range(2):
        noisy = trace["chain"][row]
        for i, step in enumerate(made.steps):
            eps = made.network(noisy[i][None], torch.tensor([step.level]), features[row][None])
            eps = (1 - step.abar) ** 0.5 * noisy[i] + step.abar**0.5 * eps
            clean = (noisy[i] - (1 - step.abar) ** 0.5 * eps[0]) / step.abar**0.5
            clean = clean.clamp(-1.2, 1.2)
            again = (noisy[i] - step.abar**0.5 * clean) / (1 - step.abar) ** 0.5
            sigma = ((1 - step.below) / (1 - step.abar) * (1 - step.abar / step.below)) ** 0.5
            mean = step.below**0.5 * clean + (1 - step.below - sigma**2) ** 0.5 * again
            std = torch.full((7,), max(sigma, 0.1))
            if i == 1:
                std[:6] = 0.04 / made.action_half[:6]
            expected = torch.distributions.Normal(mean, std).log_prob(noisy[i + 1]).sum()
            torch.testing.assert_close(found.log_probs(trace)[row, i], expected)
    torch.testing.assert_close(found.log_prob(trace), found.log_probs(trace).sum(-1))
    torch.testing.assert_close(found.kl(found), torch.zeros(2))


@pytest.mark.parametrize("network", ["mlp", "unet"])
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_scoring_finds_the_noise_that_was_drawn(network: Any, eta: float) -> None:
    """So PPO's ratios are 1 before the first step, in any minibatch."""
    made = policy(network, eta=eta)
    made.explore(0.04)
    features, trace = decided(made, 6)
    found = made.distribution(features, trace)
    z = (trace["chain"][:, 1:] - found.mean) / found._std
    for i in range(6):
        noise = made.noise(np.random.default_rng(i), Exploration(0.04, 0.3))
        drawn = noise.draw_chain(len(made.steps), 4)[1:]
        drawn[-1, :, :6] = noise.draw_chunk(4)[0][:, :6] / 0.04
        np.testing.assert_allclose(z[i].detach(), drawn, atol=1e-3)
    some = torch.tensor([4, 1, 3])
    part = {name: value[some] for name, value in trace.items()}
    ratio = made.distribution(features[some], part).log_probs(part) - found[some].log_probs(part)
    assert ratio.abs().max() < 1e-4


def test_gradient_of_ppos_objective_by_finite_differences() -> None:
    made = policy(chunk=2, widths=(32,)).double()
    made.explore(0.04)
    features, trace = decided(made.float())
    made, features = made.double(), features.double()
    trace = {n: p.double() if p.is_floating_point() else p for n, p in trace.items()}
    old = made.distribution(features, trace).log_probs(trace).detach()
    update = Update(ReinforceConfig(), made, made, torch.nn.Linear(1, 1), "fixed", 0.9)  # type: ignore[arg-type]
    weight = dict(made.network.named_parameters())["out.weight"]

    def objective() -> Tensor:
        ratio = torch.exp(made.distribution(features, trace).log_probs(trace) - old)
        return update._surrogate(ratio, torch.tensor([1.0, -0.5], dtype=torch.float64))

    with torch.no_grad():
        weight[0, 0] += 1e-4
    (gradient,) = torch.autograd.grad(objective(), weight)
    for place in ((0, 0), (3, 5), (13, 7)):
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                weight[place] += sign * 1e-6
            values.append(objective().item())
            with torch.no_grad():
                weight[place] -= sign * 1e-6
        slope = (values[0] - values[1]) / 2e-6
        assert gradient[place].item() == pytest.approx(slope, rel=1e-4, abs=1e-8)
    assert gradient[3, 5].abs() > 1e-6


def test_steps_are_discounted_and_clipped_apart() -> None:
    update = Update(
        ReinforceConfig(clip=0.2), policy(), policy(), torch.nn.Linear(1, 1), "fixed", 0.5  # type: ignore[arg-type]
    )  # fmt: skip
    ratio = torch.tensor([[1.0, 1.5], [1.0, 1.5]])
    found = update._surrogate(ratio, torch.tensor([2.0, -2.0]))
    expected = (1.0 * 1.0 + 1.2 * 2.0 - 1.0 * 1.0 - 1.5 * 2.0) / 4
    assert found.item() == pytest.approx(expected)


def test_rows_without_a_decision_say_nothing() -> None:
    made = policy()
    features, trace = decided(made, 3)
    trace["length"][1] = 0
    found = made.distribution(features, trace)
    assert found.log_probs(trace)[1].abs().sum() == 0 and found.entropy()[1] == 0
    some = torch.tensor([2, 1])
    part = {name: value[some] for name, value in trace.items()}
    torch.testing.assert_close(found[some].log_prob(part), found.log_prob(trace)[some])
    made.explore(0.08)
    assert made.distribution(features, trace).kl(found)[1] == 0
    assert (made.distribution(features, trace).kl(found)[[0, 2]] > 0).all()


def test_motion_has_the_noise_of_every_policy() -> None:
    """What the last step adds and what is carried on is the episode's own process, to the bit."""
    made = policy()
    seen, z = np.zeros((1, 17), np.float32), np.array([0])
    still, noisy = (
        [
            made.act(seen, z, [made.noise(np.random.default_rng(s), Exploration(std, 0.3))])
            for s in range(200)
        ]
        for std in (0.0, 0.2)
    )
    added = np.stack([(b.actions - a.actions)[0, :6] for a, b in zip(still, noisy, strict=True)])
    assert abs(added.std() - 0.2) < 0.02
    gaussian = NetworkChunkPolicy(17, 3, "mlp", (32,), 4).noise(
        np.random.default_rng(0), Exploration(0.2, 0.3)
    )
    fresh, carried = gaussian.draw_chunk(4)
    np.testing.assert_allclose(added[0], fresh[0, :6] + carried[0], atol=1e-5)
    spread = np.stack([a.actions[0, :6] for a in still]).std(axis=0)
    assert (spread > 0).all()


@pytest.mark.parametrize("network", ["mlp", "unet"])
def test_an_episode_does_not_depend_on_others(network: Any) -> None:
    made = policy(network)
    rng = np.random.default_rng(0)
    seen, z = rng.normal(size=(5, 17)).astype(np.float32), np.array([0, 1, 2, 0, 1])

    def noise(which: range) -> list[Any]:
        return [made.noise(np.random.default_rng(i), Exploration(0.04, 0.3)) for i in which]

    together, alone = noise(range(5)), noise(range(3, 4))
    for _ in range(5):
        a, b = made.act(seen, z, together), made.act(seen[3:4], z[3:4], alone)
        np.testing.assert_array_equal(a.actions[3], b.actions[0])
        np.testing.assert_array_equal(a.trace["chain"][3], b.trace["chain"][0])


@pytest.mark.parametrize("network", ["mlp", "unet"])
def test_networks_see_level_and_features(network: Any) -> None:
    torch.manual_seed(0)
    made = make_denoiser(network, 5, 4, (32, 64), 10)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    noisy, level, features = torch.randn(2, 4, 7), torch.tensor([2, 2]), torch.randn(2, 5)
    found = made(noisy, level, features)
    assert found.shape == noisy.shape
    assert (made(noisy, level + 5, features) - found).abs().max() > 1e-3
    assert (made(noisy, level, features + 0.5) - found).abs().max() > 1e-3
    with torch.no_grad():
        torch.testing.assert_close(made(noisy, level, features), found)


def cloned(out_dir: Path, steps: int = 500) -> DiffusionPolicy:
    """Return a clone by denoising."""
    settings = SMALL | {"finetuned_steps": 2}
    made, report = learn(
        point_mass_demonstrations(15, 0.05),
        None,
        LearnConfig(steps=steps, chunk=4, validate_every=steps, checkpoint_every=100),
        0,
        0,
        out_dir,
        lambda size, patterns: DiffusionPolicy(size, patterns, "unet", (32, 64), 4, settings),
    )
    assert report["best_step"] == steps
    assert isinstance(made, DiffusionPolicy)
    return made


def test_denoising_clones_actions(tmp_path: Path) -> None:
    brief, made = cloned(tmp_path / "a", 20), cloned(tmp_path / "b")
    data = point_mass_demonstrations(15, 0.05)[0]
    features = made.features(
        torch.from_numpy(data.observations.astype(np.float32)), torch.zeros(len(data.actions))
    )
    chosen = np.stack([data.actions[i : i + 4] for i in range(len(data.actions) - 3)])
    trace = {
        "chosen": torch.from_numpy(chosen.astype(np.float32)),
        "length": torch.full((len(chosen),), 4),
    }
    before, after = (p.losses(features[: len(chosen)], trace) for p in (brief, made))
    assert after["denoising_error"] < 0.5 * before["denoising_error"]
    assert after["motion_error"] < 0.7 * before["motion_error"] < 0.5
    assert after["gripper_accuracy"] > 0.9
    assert made.early is not None
    for name, tensor in made.early.state_dict().items():
        assert torch.equal(tensor, made.network.state_dict()[name])


def tuned(out_dir: Path) -> str:
    """Fine-tune a clone shortly; return the result's hash."""
    made = policy(finetuned_steps=2)
    config = ReinforceConfig(
        iterations=5, episodes=2, warmup_episodes=2, critic_warmup=1, evaluation_episodes=1
    )
    settings = Finetuning(config, horizon=12, steps=600, annealing="cosine", denoising_gamma=0.99)
    result, report = reinforce(made, PointMasses(4), None, settings, out_dir)
    updates = [m for m in report["history"] if not m["warm_up"]]
    assert updates and all(np.isfinite(m["kl"]) and m["kl"] > 0 for m in updates)
    rates = [m["learning_rate"] for m in updates]
    assert rates == sorted(rates, reverse=True) and rates[0] > rates[-1]
    assert isinstance(result, DiffusionPolicy) and result.early is not None
    kept, trained = made.network.state_dict(), result.network.state_dict()
    assert all(torch.equal(kept[n], result.early.state_dict()[n]) for n in kept)
    assert not all(torch.equal(kept[n], trained[n]) for n in kept)
    return policy_hash(result)


def test_a_killed_finetuning_ends_with_the_same_policy(tmp_path: Path) -> None:
    code = (
        f"from tests.generator.policies.test_diffusion import tuned; tuned(Path({str(tmp_path)!r}))"
    )
    state = tmp_path / "training.safetensors"
    kill_when(state.exists, code)
    assert state.exists()
    digest = tuned(tmp_path)
    assert digest == tuned(tmp_path / "undisturbed")
    assert policy_hash(load_policy(tmp_path / "policy.safetensors")[0]) == digest


def test_ddpm_acts_along_all_levels() -> None:
    made = policy(sampler="ddpm", levels=8, finetuned_steps=2)
    done = rollout(made, PointMasses(3), training_specs(0, 3, 3, 0.5, 0), 9)
    assert len(made.steps) == 8 and done[0].trace["chain"].shape[1:] == (3, 4, 7)
    assert done[0].trace["length"].tolist() == [4, 0, 0, 0, 4, 0, 0, 0, 4]


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"one step at least, with some noise, not 0 with 0\.1"):
        policy(finetuned_steps=0)
    with pytest.raises(SettingError, match="one of 3 actions"):
        policy("unet", 3)
    with pytest.raises(SettingError, match="one at least"):
        policy("mlp", widths=())
    path = tmp_path / "policy.safetensors"
    save_tensors(path, "pattern_encoder", {}, {})
    with pytest.raises(CheckpointError, match="holds 'pattern_encoder', but 'policy' is needed"):
        load_policy(path)
    save_policy(path, policy(), {})
    content = policy().state_dict()
    wrong = {"kind": "gaussian", "architecture": policy().architecture(), "policy_hash": ""}
    save_tensors(path, "policy", content, wrong)
    with pytest.raises(CheckpointError, match="of another version, or not ours"):
        load_policy(path)
