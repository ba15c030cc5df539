"""A policy that sees acts in the harness on the pictures that its rollouts drew."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from eval_harness.evaluation import evaluate
from eval_harness.perturbations.table import Condition, parse_condition
from eval_harness.policies import load_policy
from eval_harness.policies.generator import PROPRIO, GeneratorPolicy
from eval_harness.policy import EpisodeKey, Observation, PolicyError
from eval_harness.protocols import PROTOCOLS
from generator.checkpoints import save_policy
from generator.config import NoiseConfig
from generator.pixels.encoder import Encoder
from generator.policies.gaussian import GaussianPolicy
from generator.policies.policy import Exploration
from generator.policies.seeing import SeeingPolicy
from generator.rollout import EpisodeSpec
from simulation.assets.resolve import embedded_pack
from simulation.pictures.rendering import Renderer
from simulation.tasks import get_task

DRAWER = get_task("libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")
CAMERAS, SIZE = ("agentview", "robot0_eye_in_hand"), 48


@pytest.fixture(scope="module")
def network() -> SeeingPolicy:
    torch.manual_seed(0)
    encoder = Encoder("efficientnet_lite0", "group", len(CAMERAS), SIZE, 8, True)
    head = GaussianPolicy(encoder.output_dim + 8, 2, (16,))
    with torch.no_grad():
        for parameter in head.network.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.3)
    return SeeingPolicy.around(head, encoder, CAMERAS, np.zeros((2, 5)), False)


def test_it_sees_what_it_saw_in_rollouts(network: SeeingPolicy, tmp_path: Path) -> None:
    save_policy(tmp_path / "policy.safetensors", network, {})
    pack = embedded_pack()
    protocol = dataclasses.replace(PROTOCOLS["openvla"], horizons=dict.fromkeys(
        PROTOCOLS["openvla"].horizons, 2))  # fmt: skip
    policy = load_policy(f"generator:{tmp_path / 'policy.safetensors'}#1", protocol)
    results = evaluate(policy, protocol, [DRAWER], tmp_path / "out", 1, assets=pack)
    (result,) = results.episodes
    trajectory = results.trajectory(result)
    exploration = Exploration(NoiseConfig().std, NoiseConfig().memory)
    noise = network.noise(EpisodeSpec(result.seed, None, 1).noise(), exploration)
    with Renderer(DRAWER, pack, SIZE, SIZE) as renderer:
        for step, state in enumerate(trajectory.states):
            drawn = [renderer.render(state, trajectory.fixtures, c, SIZE, SIZE) for c in CAMERAS]
            seen = network.observe(np.stack(drawn)[None], trajectory.proprio[step][None])
            action = network.act(seen, np.array([1]), [noise]).actions[0]
            applied = np.append(action[:6], np.sign(action[6]))
            np.testing.assert_allclose(trajectory.actions[step], applied, atol=1e-6)


class Watching(GeneratorPolicy):
    """Keeps the pictures that it is shown."""

    def act(self, observations: Sequence[Observation]) -> np.ndarray:
        self.seen = [o.images["agentview"] for o in observations]
        return super().act(observations)


def first_picture(network: SeeingPolicy, out: Path, condition: Condition) -> np.ndarray:
    """Return what a policy is shown at the first official start under a condition."""
    openvla = PROTOCOLS["openvla"]
    protocol = dataclasses.replace(
        openvla, horizons=dict.fromkeys(openvla.horizons, 1), perturbations=condition
    )
    policy = Watching(network, "hash")
    evaluate(policy, protocol, [DRAWER], out, 1, assets=embedded_pack())
    return policy.seen[0].astype(float)


@pytest.mark.parametrize("axis", ["camera", "light", "background", "noise", "layout"])
def test_it_sees_what_a_perturbation_changes(
    network: SeeingPolicy, axis: str, tmp_path: Path
) -> None:
    control = first_picture(network, tmp_path / "control", ())
    changed = first_picture(network, tmp_path / "changed", parse_condition(axis, 3))
    assert changed.shape == control.shape == (SIZE, SIZE, 3)
    assert np.abs(changed - control).mean() > 1


def test_other_pictures_are_refused(network: SeeingPolicy) -> None:
    policy = GeneratorPolicy(network, "hash")
    assert policy.requirements.upright == SIZE and policy.requirements.cameras == CAMERAS
    images = {camera: np.zeros((64, 64, 3), np.uint8) for camera in CAMERAS}
    look = Observation(EpisodeKey(DRAWER.key, 0, 0, 5), 0, "", images, {PROPRIO: np.zeros(8)})
    with pytest.raises(PolicyError, match=r"pictures of \(48, 48, 3\), not of \(64, 64, 3\)"):
        policy.act([look])
