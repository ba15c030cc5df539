"""What the check tries: each way of giving a picture, a state or an action against its truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from eval_harness.conformance import inputs
from eval_harness.conformance.frames import MARGIN, Frame
from eval_harness.conformance.inputs import bounds, exchange, grip_site, hypotheses, scales
from eval_harness.conformance.outputs import Errors, corrections
from eval_harness.policy import EpisodeKey, Observation, Requirements
from eval_harness.protocols import PROTOCOLS
from simulation.assets.resolve import embedded_pack
from simulation.environment import Environment
from simulation.tasks import get_task

NEEDS = Requirements(chunk=4)


def test_the_controllers_pose_is_the_gripper_sites():
    env = Environment(get_task("libero_goal/turn_on_the_stove"), embedded_pack())
    rng = np.random.default_rng(0)
    for seed in range(3):
        env.reset(seed, seed)
        for _ in range(15):
            env.step(rng.uniform(-1, 1, 7))
        site = env.data.site_xmat[env.scene.robot.site].reshape(3, 3)
        told = Rotation.from_rotvec(grip_site(env.proprio()[3:6]))
        assert (told.inv() * Rotation.from_matrix(site)).magnitude() < 1e-6


def test_one_scale_is_exchanged_for_another():
    values = np.random.default_rng(0).normal(size=(500, 3)) * [1, 5, 0.1]
    known = bounds(values)
    (low, high), (least, most) = known["quantiles"], known["min and max"]
    assert (least < low).all() and (high < most).all()
    normalised = 2 * (values - low) / (high - low) - 1  # by quantiles
    wrong = 0.5 * (normalised + 1) * (most - least) + least  # read by min and max
    undone = exchange(known["min and max"], known["quantiles"])(wrong)
    np.testing.assert_allclose(undone, values, atol=1e-12)


def frames(count: int = 60) -> list[Frame]:
    rng = np.random.default_rng(1)
    found = []
    for i in range(count):
        key = EpisodeKey("libero_goal/task", i, 0, i)
        looks = (Observation(key, 0, "wait", {}, {"proprio": rng.normal(size=8)}),)
        actions = rng.normal(size=(MARGIN + 4 + MARGIN, 7)) * 0.2
        found.append(Frame(i % 6, looks, actions.clip(-1, 1)))
    return found


def test_a_states_scales_are_undone():
    known = {h.name: h for h in scales(frames(), NEEDS)}
    states = np.stack([f.looks[0].state["proprio"] for f in frames()])
    (low, high), (least, most) = (bounds(states)[n] for n in ("quantiles", "min and max"))
    hypothesis = known["the state is scaled by min and max, in training it was by quantiles"]
    look = frames()[7].looks[0]
    given = hypothesis.change(look).state["proprio"]
    meant = 2 * (look.state["proprio"] - low) / (high - low) - 1
    np.testing.assert_allclose(2 * (given - least) / (most - least) - 1, meant, atol=1e-12)
    assert scales(frames(), replace(NEEDS, state=())) == []


@pytest.mark.parametrize(
    ("used", "meant"), [("min and max", "quantiles"), ("quantiles", "min and max")]
)
def test_actions_of_another_scale_are_corrected_exactly(used, meant):
    recorded = np.stack([f.actions for f in frames()])
    errors = Errors(recorded)
    truth = errors.at(0)
    known = bounds(truth[..., :6].reshape(-1, 6))
    wrong = truth.copy()
    wrong[..., :6] = exchange(known[meant], known[used])(truth[..., :6])
    halves = np.arange(len(recorded)) % 2 == 0
    named = {c.name: c for c in corrections(wrong, errors, halves)}
    undone = named[f"un-normalised by {used}, trained with {meant}"].apply(wrong)
    np.testing.assert_allclose(undone, truth, atol=1e-12)
    assert np.array_equal(undone[..., 6], wrong[..., 6])


def change_of(protocol: str, words: str):
    (found,) = (h for h in hypotheses(NEEDS, PROTOCOLS[protocol]) if words in h.name)
    return found


def test_crops_are_tried_by_what_the_protocol_does():
    assert change_of("openpi", "whole, in training they were cropped").check == inputs.CROP
    assert change_of("openvla_oft", "cropped, in training they were whole").check == inputs.CROP
    rows = np.linspace(0, 255, 224)
    slope = np.broadcast_to(rows[:, None, None], (224, 224, 3)).astype(np.uint8)
    o = Observation(EpisodeKey("a/b", 0, 0, 0), 0, "", dict.fromkeys(NEEDS.cameras, slope))
    cropped = change_of("openpi", "cropped").change(o)
    wide = change_of("openvla_oft", "whole").change(cropped)
    for camera in NEEDS.cameras:
        seen = cropped.images[camera].astype(float)
        assert seen.shape == slope.shape and np.ptp(seen) < 0.96 * np.ptp(slope.astype(float))
        again = wide.images[camera].astype(float)
        assert np.abs(again - slope)[12:-12, 12:-12].max() < 4


@pytest.mark.parametrize(
    ("words", "last"),
    [("fingers' width", [0.06]), ("distances from the middle", [0.04, 0.02])],
)
def test_sources_of_the_gripper(words, last):
    state = np.array([0.1, 0.2, 1.0, 3.0, 0.1, 0.2, 0.04, -0.02])
    o = Observation(EpisodeKey("a/b", 0, 0, 0), 0, "", {}, {"proprio": state})
    given = change_of("openvla_oft", words).change(o).state["proprio"]
    np.testing.assert_allclose(given, [*state[:6], *last])
