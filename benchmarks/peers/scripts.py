"""The usual way from LIBERO trajectories to RLDS: two scripts, one after the other.

The published LIBERO datasets were made so: upstream's environment renders every state into an HDF5
file of pictures, then a TFDS builder reads that file, and encodes. Neither knows of a second core.
(Both in one process would crash where OpenGL is software.)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from benchmarks.peers import upstream as peers
from simulation.assets.resolve import AssetPack
from simulation.tasks import Task

CAMERAS = {"image": "agentview_image", "wrist_image": "robot0_eye_in_hand_image"}
"""Feature of the dataset, and group in the file of pictures -> upstream's observation."""


def render_pictures(
    trajectories: Path, pictures: Path, task: Task, assets: AssetPack, size: int
) -> None:
    """Render every state of a trajectory file, and copy what the dataset needs beside them."""
    env = peers.offscreen_env(task, assets, size)
    env.reset()
    with h5py.File(trajectories) as source, h5py.File(pictures, "w") as target:
        for name, demo in source["data"].items():
            _place_fixtures(env, demo)
            observations = [env.set_init_state(state) for state in demo["states"][()]]
            group = target.create_group(name)
            for feature, key in CAMERAS.items():
                group[feature] = np.stack([observation[key] for observation in observations])
            obs = demo["obs"]
            group["state"] = np.concatenate((obs["ee_states"], obs["gripper_states"]), axis=1)
            group["joint_state"] = obs["joint_states"][()]
            group["action"] = demo["actions"][()]
            group.attrs["language"] = task.language
    env.close()


def encode_pictures(pictures: Path, data_dir: Path, size: int) -> None:
    """Build the dataset from a file of pictures."""
    from dataset_builders import import_tfds

    tfds = import_tfds()
    from benchmarks.peers.builder import PeerLibero, PeerLiberoConfig

    tfds.disable_progress_bar()
    config = PeerLiberoConfig(name="default", pictures=str(pictures), size=size)
    PeerLibero(data_dir=data_dir, config=config).download_and_prepare()


def _place_fixtures(env: Any, demo: h5py.Group) -> None:
    """Put the fixtures where they stood; published files keep that in their `model_file`."""
    for position, quaternion, body in zip(
        demo["fixtures/positions"][()],
        demo["fixtures/quaternions"][()],
        [env.env.obj_body_id[n] for n in env.env.fixtures_dict if n in env.env.obj_body_id],
        strict=True,
    ):
        env.sim.model.body_pos[body], env.sim.model.body_quat[body] = position, quaternion
