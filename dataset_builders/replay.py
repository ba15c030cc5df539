"""Episodes simulated again from what a dataset stores: their start, and their actions."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.errors import DatasetError, InvalidStateError, SettingError, one_line
from simulation.assets.resolve import AssetPack, find_recorded_pack
from simulation.environment import Environment
from simulation.scene import Fixtures
from simulation.starts import official_index
from simulation.tasks import get_task

_MAX_ENVIRONMENTS = 2
_local = threading.local()


@dataclass(frozen=True)
class Replayed:
    """What became of an episode that was simulated again."""

    same: bool
    """Whether the goal holds after the last action just as the episode says."""
    first_success: int
    """Step after which the goal first held, from 0; -1 if it never did."""
    position_error: float
    """Largest distance of the end-effector from the stored positions, m."""
    joint_error: float
    """Largest difference of an arm joint from the stored angles, rad."""
    start_error: float
    """Largest difference of the first step's state and joints, all 15 numbers (m, rad)."""


def encode_state(state: np.ndarray) -> str:
    """Return a simulator state, float64 (1 + nq + nv,), as text, exactly."""
    return base64.b64encode(np.asarray(state).astype("<f8").tobytes()).decode()


def encode_fixtures(fixtures: Fixtures) -> str:
    """Return fixtures' poses as JSON, exactly: name -> [position (m), quaternion (w, x, y, z)]."""
    rows = zip(fixtures.names, fixtures.positions, fixtures.quaternions, strict=True)
    return json.dumps({name: [place.tolist(), turn.tolist()] for name, place, turn in rows})


def decode_start(metadata: Mapping[str, Any]) -> tuple[np.ndarray, Fixtures]:
    """Return the simulator state and the fixtures' poses that an episode's metadata hold.

    Raises:
        DatasetError: they are not what `encode_state` and `encode_fixtures` write.
    """
    try:
        content = base64.b64decode(metadata["initial_state"], validate=True)
        state = np.frombuffer(content, "<f8").astype(np.float64)
        poses = json.loads(metadata["fixtures"])
        places = np.array([pose[0] for pose in poses.values()], np.float64).reshape(-1, 3)
        turns = np.array([pose[1] for pose in poses.values()], np.float64).reshape(-1, 4)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise DatasetError(
            f"an episode's start cannot be read ({one_line(error)}): build the dataset again"
        ) from error
    if len(places) != len(poses) or len(turns) != len(poses) or not np.isfinite(state).all():
        raise DatasetError("an episode's start is not finite or not whole: build the dataset again")
    return state, Fixtures(tuple(poses), places, turns)


def replay(
    metadata: Mapping[str, Any],
    actions: np.ndarray,
    states: np.ndarray,
    joints: np.ndarray,
    assets: str | None = None,
) -> Replayed:
    """Simulate an episode again.

    Args:
        metadata: the episode's, as the dataset stores it.
        actions: as the dataset stores them, float32 (T, 7).
        states: the end-effector's states before each action, float32 (T, 8).
        joints: the arm's joints before each action, rad, float32 (T, 7).
        assets: asset pack to simulate with; by default the one that is found.

    Raises:
        DatasetError: the asset pack is not the one of the episode, or the start is damaged.
    """
    env = _environment(metadata, assets)
    _start(env, metadata)
    first, success, errors = -1, False, np.zeros(2)
    start = np.concatenate((env.proprio() - states[0], env.joints() - joints[0]))
    for t, action in enumerate(actions):
        position = np.linalg.norm(env.proprio()[:3] - states[t, :3])
        errors = np.maximum(errors, (position, np.abs(env.joints() - joints[t]).max()))
        success = env.step(np.asarray(action, np.float64))
        if success and first < 0:
            first = t
    same = success == bool(metadata["success"])
    off = float(np.abs(start).max())
    return Replayed(same, first, float(errors[0]), float(errors[1]), off)


def matching_assets(name: str, digest: str, assets: str | None, what: str) -> AssetPack:
    """Return the asset pack of a digest.

    An embedded pack in the cache folder, also an earlier version's, is found by its digest.

    Args:
        name: the pack's name, for the message.
        digest: its digest.
        assets: which pack to take; by default the one that is found.
        what: what was recorded with it, for the message.

    Raises:
        DatasetError: the pack found is not the one that the physics ran with, so the pictures
            would not show what happened.
    """
    pack = find_recorded_pack(digest, assets)
    if pack.digest != digest:
        raise DatasetError(
            f"{what} was recorded with asset pack {name!r} ({digest[:12]}), but {pack.name!r} "
            f"({pack.digest[:12]}) was found: give the recorded one with --assets or "
            "$DLR_LIBERO_ASSETS"
        )
    return pack


def _start(env: Environment, metadata: Mapping[str, Any]) -> None:
    """Bring an environment to an episode's start.

    A policy's episode begins after a reset and the settling of objects, of which the controller
    and the solver remember what no state holds; so that is done again if it leads there.
    """
    state, fixtures = decode_start(metadata)
    try:
        if metadata["policy_hash"]:
            env.reset(int(metadata["seed"]), official_index(int(metadata["init_index"])))
            env.settle()
            if np.array_equal(env.state(), state):
                return
        env.reset(0, init_state=state, fixtures=fixtures)
    except (InvalidStateError, SettingError) as error:
        raise DatasetError(f"an episode's start does not fit its task: {error}") from error


def _environment(metadata: Mapping[str, Any], assets: str | None) -> Environment:
    """Return this thread's environment of an episode's task."""
    cache: dict[tuple[str, str], Environment] = _local.__dict__.setdefault("environments", {})
    task = f"{metadata['suite']}/{metadata['task']}"
    key = (task, str(metadata["asset_digest"]))
    if key not in cache:
        pack = matching_assets(str(metadata["asset_pack"]), key[1], assets, "the dataset")
        while len(cache) >= _MAX_ENVIRONMENTS:
            cache.pop(next(iter(cache)))
        cache[key] = Environment(get_task(task), pack)
    return cache[key]
