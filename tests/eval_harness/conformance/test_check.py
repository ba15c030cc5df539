"""The conformance check finds each fault that is planted, and none in a sound policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from common.errors import SettingError
from demonstrations.config import DemonstrationConfig
from demonstrations.make import make_demonstrations
from eval_harness.conformance.check import CheckConfig, Report, check
from eval_harness.conformance.frames import collect_frames
from eval_harness.policies.random import RandomPolicy
from eval_harness.policies.replay import RecordedActions, ReplayPolicy
from eval_harness.policy import Policy
from eval_harness.protocols import PROTOCOLS, Protocol
from simulation.assets.resolve import AssetPack, embedded_pack
from simulation.tasks import get_task
from tests.eval_harness.cloning import NEEDS, ClonedPolicy, Faulty, with_pictures

pytestmark = pytest.mark.slow

DRAWER = get_task("libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")
CONFIG = CheckConfig(demonstrations=9, frames=90)
STEPS = 1200


@dataclass(frozen=True)
class Ground:
    """What all checks share."""

    recordings: Mapping[str, Sequence[RecordedActions]]
    protocol: Protocol
    assets: AssetPack
    frames: list

    def check(self, policy: Policy) -> Report:
        return check(policy, self.recordings, self.protocol, self.assets, CONFIG)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    folder, pack = tmp_path_factory.mktemp("demonstrations"), embedded_pack()
    make_demonstrations(DRAWER, folder / "drawer.hdf5", DemonstrationConfig(3), pack).close()
    recordings = ReplayPolicy.of_folder(folder, pack).recordings
    protocol = replace(PROTOCOLS["openvla_oft"], render_size=(64, 64))
    protocol = replace(protocol, picture_steps=protocol.picture_steps[:1], gripper="as_given")
    return Ground(
        recordings, protocol, pack, collect_frames(recordings, protocol, NEEDS, 9, 360, pack)
    )


@pytest.fixture(scope="module")
def sound(ground: Ground) -> ClonedPolicy:
    return ClonedPolicy(ground.frames, STEPS)


def faults(report: Report) -> set[str]:
    return {line.name for line in report.checks if line.status == "FAULT"}


def test_a_sound_policy_passes(ground: Ground, sound: ClonedPolicy) -> None:
    report = ground.check(sound)
    assert report.passed and not faults(report)
    assert report.agreement > 0.6 and report.frames == 90


def scaled(actions: np.ndarray) -> np.ndarray:
    """Return actions un-normalised with another robot's statistics."""
    return actions * [2.5, 0.3, 1.8, 3.0, 0.4, 2.0, 1.0] + [0.3, -0.2, 0.4, 0.1, 0.1, -0.3, 0.0]


@pytest.mark.parametrize(
    ("fault", "found", "words"),
    [
        ({"do": lambda a: a * [1, 1, 1, 1, 1, 1, -1]}, "gripper", "sign is flipped"),
        ({"do": scaled}, "action statistics", "wrong statistics"),
        ({"do": lambda a: a[..., [1, 2, 0, 3, 4, 5, 6]]}, "action dimensions", "out of order"),
        ({"do": lambda a: a[:, ::-1]}, "chunk order and delay", "backwards"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_planted_fault_is_named(
    ground: Ground, sound: ClonedPolicy, fault: dict, found: str, words: str
) -> None:
    report = ground.check(Faulty(sound, **fault))
    assert not report.passed and faults(report) == {found}
    (line,) = (line for line in report.checks if line.name == found)
    assert words in line.detail and line.advice
    assert report.corrected > report.agreement


@pytest.fixture(scope="module")
def looking(ground: Ground) -> ClonedPolicy:
    """Return a policy that has nothing to go by but pictures."""
    return ClonedPolicy(ground.frames, STEPS, np.zeros_like)


@pytest.mark.parametrize(
    ("see", "found", "words"),
    [
        (with_pictures(lambda p: p[::-1]), "picture orientation", "flipped up-down"),
        (with_pictures(lambda p: p[:, ::-1]), "picture orientation", "mirrored"),
        (with_pictures(lambda p: p[::-1, ::-1]), "picture orientation", "180"),
        (with_pictures(lambda p: p[..., ::-1]), "colour channels", "red and blue"),
    ],
    ids=["flipped", "mirrored", "turned", "colours"],
)
def test_a_fault_in_the_pictures_is_named(
    ground: Ground, looking: ClonedPolicy, see: Callable, found: str, words: str
) -> None:
    report = ground.check(Faulty(looking, see))
    assert faults(report) == {found, "looks at the state (proprio)"}
    (line,) = (line for line in report.checks if line.name == found)
    assert words in line.detail and line.advice


def fingers_first(state: np.ndarray) -> np.ndarray:
    return np.concatenate((state[6:], state[:6]))


def within_pi(state: np.ndarray) -> np.ndarray:
    rotation = Rotation.from_rotvec(state[3:6]).as_rotvec()
    return np.concatenate((state[:3], rotation, state[6:]))


@pytest.mark.parametrize(
    ("layout", "words"),
    [(fingers_first, "fingers, position, axis-angle"), (within_pi, "within pi")],
    ids=["order", "antipodal"],
)
def test_a_state_in_another_layout_is_named(ground: Ground, layout, words: str) -> None:
    expects = ClonedPolicy(ground.frames, STEPS, layout)
    assert ground.check(expects).passed
    expects._layout = np.copy  # what it was trained to be given is no longer made for it
    report = ground.check(expects)
    assert faults(report) == {"state layout"}
    (line,) = (line for line in report.checks if line.name == "state layout")
    assert words in line.detail


def test_what_has_not_learned_is_unsure_and_not_blamed(ground: Ground, sound: ClonedPolicy) -> None:
    random = np.random.default_rng(0)
    report = ground.check(Faulty(sound, do=lambda a: random.uniform(-1, 1, a.shape)))
    assert not report.passed and not faults(report)
    assert report.checks[0].status == "UNSURE" and "no known fault" in report.checks[0].detail


def test_too_little_to_tell_is_refused(ground: Ground, sound: ClonedPolicy) -> None:
    with pytest.raises(SettingError, match="at least 2 demonstrations and 24 frames"):
        CheckConfig(frames=5)
    one = {task: found[:1] for task, found in ground.recordings.items()}
    with pytest.raises(SettingError, match="at least 2 demonstrations"):
        check(sound, one, ground.protocol, ground.assets)
    with pytest.raises(SettingError, match="looks at nothing"):
        ground.check(RandomPolicy(4))
