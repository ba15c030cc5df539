"""What an episode of the dataset holds: each feature's type, shape and meaning, in one table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.errors import DatasetError

STEPS, METADATA = "steps", "episode_metadata"
"""The two halves of an episode."""
OBSERVATION = "observation/"
"""Beginning of the names of what a step observes."""


@dataclass(frozen=True)
class Feature:
    """One feature."""

    dtype: Any
    """Type of its numbers; `str` for text, `bytes` for a JPEG."""
    shape: tuple[int, ...]
    """Shape of one value; of a picture's, once it is decoded."""
    doc: str
    """What it is, with units and frames."""


STEP: Mapping[str, Feature] = {
    "observation/state": Feature(
        np.float32, (8,), "End-effector position (m, world), axis-angle (rad), gripper joints (m)."
    ),
    "observation/joint_state": Feature(np.float32, (7,), "Joint angles of the arm (rad)."),
    "action": Feature(
        np.float32,
        (7,),
        "Translation (x 0.05 m), rotation (x 0.5 rad), gripper (-1 opens, +1 closes), in [-1, 1]; "
        "valid on the last step too.",
    ),
    "discount": Feature(np.float32, (), "Always 1."),
    "reward": Feature(np.float32, (), "1 on the last step of a success, else 0."),
    "is_first": Feature(np.bool_, (), "First step of the episode."),
    "is_last": Feature(np.bool_, (), "Last step of the episode."),
    "is_terminal": Feature(
        np.bool_, (), "The action of this step reached the goal; false on a timeout."
    ),
    "language_instruction": Feature(str, (), "The task in words."),
}
"""Name -> feature of a step, the pictures excepted."""

EPISODE: Mapping[str, Feature] = {
    "file_path": Feature(str, (), "Trajectory file, relative to the folder that was built."),
    "trajectory_index": Feature(np.int32, (), "Index of the episode in its file."),
    "method": Feature(str, (), "Recipe that made the policy: dlr, o2o_rl; or scripted, human."),
    "pattern": Feature(np.int32, (), "Behaviour pattern z; -1 if the policy has none."),
    "way": Feature(str, (), "The demonstrator's way, for scripted demonstrations; else empty."),
    "task": Feature(str, (), "LIBERO task."),
    "suite": Feature(str, (), "LIBERO suite."),
    "seed": Feature(np.int64, (), "Seed of the episode."),
    "init_index": Feature(np.int32, (), "Official init state, 0 to 49; -1 for a fresh reset."),
    "policy_hash": Feature(str, (), "sha256 of the policy's checkpoint."),
    "success": Feature(np.bool_, (), "The task's predicate held at the end."),
    "initial_state": Feature(
        str,
        (),
        "Simulator state before the first action: time, qpos, qvel as little-endian float64, in "
        "base64. From it the actions lead through the episode again.",
    ),
    "fixtures": Feature(
        str, (), "Poses of the fixtures as JSON: name -> [position (m), quaternion (w, x, y, z)]."
    ),
    "asset_pack": Feature(str, (), "LIBERO asset pack of physics and pictures."),
    "asset_digest": Feature(str, (), "Digest of that pack."),
    "mujoco_version": Feature(str, (), "MuJoCo that ran the episode."),
    "robosuite_version": Feature(str, (), "robosuite that ran the episode."),
    "hf_libero_version": Feature(str, (), "hf-libero that ran the episode."),
    "generator_version": Feature(str, (), "dlr-vla that ran the episode."),
    "content_digest": Feature(str, (), "sha256 of all other content of this episode."),
}
"""Name -> feature of an episode's metadata: scalars and text, which dlimp can broadcast."""


def check_cameras(cameras: Iterable[str]) -> None:
    """Look at the names of the features that are to hold pictures.

    Raises:
        DatasetError: one is of a feature of another kind.
    """
    for name in cameras:
        if OBSERVATION + name in STEP:
            raise DatasetError(f"the feature {name!r} holds numbers: name the pictures otherwise")


def picture(camera: str, resolution: int) -> Feature:
    """Return the feature of a camera's pictures, of `resolution` pixels squared."""
    return Feature(
        bytes,
        (resolution, resolution, 3),
        f"Camera {camera}, rotated by 180 degrees from the simulator's raw picture (OpenVLA's "
        "convention); picture[:, ::-1] is upright and unmirrored.",
    )


def all_features(cameras: Mapping[str, str], resolution: int) -> dict[str, Feature]:
    """Return name -> feature of a whole episode, named as TFDS stores them: `steps/action`.

    Args:
        cameras: observation feature -> camera.
        resolution: height and width of the pictures in pixels.
    """
    pictures = {OBSERVATION + name: picture(camera, resolution) for name, camera in cameras.items()}
    return {
        **{f"{STEPS}/{name}": feature for name, feature in (pictures | dict(STEP)).items()},
        **{f"{METADATA}/{name}": feature for name, feature in EPISODE.items()},
    }
