"""Named evaluation protocols as data; a protocol's digest says which results may be compared."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from common.errors import SettingError
from eval_harness.perturbations.table import Condition, make_condition
from simulation.pictures.transforms import (
    CentreCrop,
    Jpeg,
    Lanczos3,
    ResizeWithPad,
    Rotate180,
    Step,
    describe,
)
from simulation.starts import SEEDS
from simulation.tasks import SUITES

FORMAT_VERSION = 1
"""Part of every digest: raised when what the harness makes of a protocol changes."""
StatePart = Literal["eef_position", "axis_angle", "gripper", "joints"]
"""End-effector position (3, m, world); robosuite's axis-angle (3, rad: no antipodal flip, up to
2 pi); finger positions (2, m); arm joint angles (7, rad)."""
_SEED_STEP = 1_000_000
"""By which the fixture seeds of an evaluation's next seed lie farther on."""
_STAY_OPEN = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0)


@dataclass(frozen=True)
class Protocol:
    """How an evaluation is run; all that decides its outcome beside policy, assets and seed."""

    name: str
    """Name under which it is asked for."""
    source: str
    """Whose script it follows."""
    render_size: tuple[int, int] = (256, 256)
    """Height and width of the pictures as they are rendered, pixels."""
    picture_steps: tuple[Step, ...] = (Rotate180(),)
    """What is done to LIBERO's array before the policy sees it."""
    cameras: tuple[str, ...] = ("agentview", "robot0_eye_in_hand")
    """Cameras that the policies look through whose figures were published under it."""
    state_layout: tuple[StatePart, ...] = ("eef_position", "axis_angle", "gripper")
    """What `proprio` is made of."""
    settle_steps: int = 10
    """Control steps in which objects come to rest; what happens meanwhile does not count."""
    settle_action: tuple[float, ...] = _STAY_OPEN
    """Action of these steps, (7,)."""
    horizons: Mapping[str, int] = field(default_factory=lambda: dict(SUITES))
    """Suite -> control steps after settling by which an episode must succeed."""
    trials: int = 50
    """Episodes of each task."""
    init_states: Literal["in_order"] = "in_order"
    """Which official init state: that of the episode's number, from the first again after all."""
    environment_seed: int = 0
    """Seed of the reset of a task's first episode; see `fixture_seed`."""
    policy_seed: int = 7
    """Seed of the policy's own randomness."""
    chunk: int | None = None
    """Actions of a chunk that are executed before the policy looks again; None for all."""
    gripper: Literal["binarised", "closed_from_zero", "as_given"] = "as_given"
    """Whether the gripper's action becomes its sign, and whether 0 then closes or stays 0."""
    perturbations: Condition = ()
    """What every episode differs in from the protocol's own; those of level 0 are left out."""

    def __post_init__(self) -> None:
        """Check what no other part will check.

        Raises:
            SettingError: a number is out of range, or a suite has no horizon.
            PerturbationError: two perturbations are of one axis.
        """
        object.__setattr__(self, "perturbations", make_condition(self.perturbations))
        if self.settle_steps < 0 or self.trials < 1 or (self.chunk is not None and self.chunk < 1):
            raise SettingError("settle_steps must be at least 0, trials and chunk at least 1")
        if self.horizons.keys() != SUITES.keys() or min(self.horizons.values()) < 1:
            raise SettingError(f"horizons must name each of {', '.join(SUITES)}, 1 or more")

    def fixture_seed(self, episode: int, seed: int = 0) -> int:
        """Return the seed that draws an episode's fixture poses.

        Upstream's scripts but LeRobot's seed a task's environment once, so that episode k's
        cabinet stands where k resets before it left the generator. Here each episode is seeded on
        its own, `environment_seed + episode`: the first episode's scene is upstream's, the
        others' are drawn from the same distribution. LeRobot's rule is this one.

        Args:
            episode: number of the episode of its task.
            seed: the evaluation's own seed; 0 follows the protocol.
        """
        return self.environment_seed + episode + _SEED_STEP * seed

    def largest_seed(self, episodes: int) -> int:
        """Return the largest evaluation's seed whose fixture seeds a simulator takes.

        Args:
            episodes: episodes of each task.
        """
        return (SEEDS - 1 - self.fixture_seed(episodes - 1)) // _SEED_STEP

    def as_dict(self) -> dict[str, Any]:
        """Return the protocol as JSON can hold it."""
        content = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        content["picture_steps"] = [describe(step) for step in self.picture_steps]
        del content["perturbations"]
        if self.perturbations:
            content["perturbations"] = [one.describe() for one in self.perturbations]
        return json.loads(json.dumps({"format_version": FORMAT_VERSION, **content}))

    def digest(self) -> str:
        """Return the SHA-256 of all that decides outcomes, name and source apart."""
        content = self.as_dict()
        del content["name"], content["source"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


_OPENVLA_STEPS: tuple[Step, ...] = (Rotate180(), Jpeg(), Lanczos3(224), CentreCrop(0.9, 224))

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "openvla",
            "openvla/openvla experiments/robot/libero/run_libero_eval.py",
            picture_steps=_OPENVLA_STEPS,
            cameras=("agentview",),
            chunk=1,
            gripper="binarised",
        ),
        Protocol(
            "openvla_oft",
            "moojink/openvla-oft experiments/robot/libero/run_libero_eval.py",
            picture_steps=_OPENVLA_STEPS,
            chunk=8,
            gripper="binarised",
        ),
        Protocol(
            "openpi",
            "Physical-Intelligence/openpi examples/libero/main.py",
            picture_steps=(Rotate180(), ResizeWithPad(224)),
            environment_seed=7,
            chunk=5,
        ),
        Protocol(
            "vla_eval",
            "allenai/vla-evaluation-harness vla_eval/benchmarks/libero/benchmark.py",
            environment_seed=7,
            gripper="closed_from_zero",
        ),
        Protocol(
            "lerobot",
            "huggingface/lerobot src/lerobot/envs/libero.py, lerobot-eval",
            render_size=(360, 360),
            horizons={**SUITES, "libero_spatial": 280},
            environment_seed=1000,
            policy_seed=1000,
        ),
        Protocol(
            "libero",
            "Lifelong-Robot-Learning/LIBERO libero/lifelong/metric.py",
            render_size=(128, 128),
            picture_steps=(),
            state_layout=("gripper", "joints"),
            settle_steps=5,
            settle_action=(0.0,) * 7,
            horizons=dict.fromkeys(SUITES, 600),
            trials=20,
            policy_seed=10000,
            chunk=1,
        ),
    )
}
"""Protocols by name."""


def get_protocol(name: str) -> Protocol:
    """Return a protocol by its name.

    Raises:
        SettingError: there is none of this name.
    """
    if name not in PROTOCOLS:
        raise SettingError(f"unknown protocol {name!r}; there are {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
