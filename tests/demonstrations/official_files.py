"""Files of demonstrations just as LIBERO writes those that it publishes."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from simulation.environment import Environment
from simulation.recordings.trajectories import Episode

LEFT_OUT = 5
"""Steps at the beginning of a recording that LIBERO does not publish."""
PICTURES = ("agentview_rgb", "eye_in_hand_rgb")


def published_mjcf(env: Environment, episode: Episode) -> str:
    """Return upstream's MJCF with the fixtures where an episode has them."""
    root = ElementTree.fromstring(env.scene._upstream.model.get_xml())
    bodies = {body.get("name"): body for body in root.iter("body")}
    poses = zip(episode.fixtures.positions, episode.fixtures.quaternions, strict=True)
    for index, (position, quaternion) in zip(env.scene.fixture_bodies, poses, strict=True):
        body = bodies[env.model.body(int(index)).name]
        body.set("pos", " ".join(map(repr, position.tolist())))
        body.set("quat", " ".join(map(repr, quaternion.tolist())))
    return ElementTree.tostring(root, encoding="unicode")


def write_official(
    path: Path,
    env: Environment,
    episodes: Sequence[Episode],
    attributes: Mapping[str, Any] | None = None,
    pixels: int = 2,
) -> Path:
    """Write episodes in the layout of the published files; return the file.

    Args:
        path: the file, or the folder that gets one of the published name.
        env: an environment of the task.
        episodes: its demonstrations, whose first steps are left out as LIBERO does.
        attributes: of `data`, in place of those that LIBERO writes.
        pixels: height and width of the pictures; LIBERO's have 128.
    """
    path = path / f"{env.task.name}_demo.hdf5" if path.is_dir() else path
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        for index, episode in enumerate(episodes):
            _write_demonstration(data.create_group(f"demo_{index}"), env, episode, pixels)
        total = sum(len(episode) - LEFT_OUT for episode in episodes)
        counts = {"num_demos": len(episodes), "total": total}
        data.attrs.update(_attributes(env) | counts | dict(attributes or {}))
    return path


def _write_demonstration(
    group: h5py.Group, env: Environment, episode: Episode, pixels: int
) -> None:
    states, actions = episode.states[LEFT_OUT:], episode.actions[LEFT_OUT:]
    after = episode.path[LEFT_OUT + 1 :]
    steps = len(actions)
    observed = {
        "gripper_states": after[:, 6:],
        "joint_states": episode.joints[LEFT_OUT:],
        "ee_states": after[:, :6],
        "ee_pos": after[:, :3],
        "ee_ori": after[:, 3:6],
    }
    observed |= {name: np.zeros((steps, pixels, pixels, 3), np.uint8) for name in PICTURES}
    ends = np.zeros(steps, np.uint8)
    ends[-1] = 1
    for name, array in observed.items():
        group.create_dataset(f"obs/{name}", data=array)
    content = {"actions": actions, "states": states, "rewards": ends, "dones": ends}
    content["robot_states"] = np.concatenate((after[:, 6:], after[:, :6], after[:, :1]), axis=1)
    for name, array in content.items():
        group.create_dataset(name, data=array)
    group.attrs["num_samples"] = steps
    group.attrs["model_file"] = published_mjcf(env, episode)
    group.attrs["init_state"] = states[0]


def _attributes(env: Environment) -> dict[str, Any]:
    bddl = f"libero/libero/bddl_files/{env.task.suite}/{env.task.name}.bddl"
    return {
        "env_name": "Libero_Kitchen_Tabletop_Manipulation",
        "problem_info": json.dumps(
            {
                "problem_name": "libero_kitchen_tabletop_manipulation",
                "domain_name": "robosuite",
                "language_instruction": env.task.language,
            }
        ),
        "macros_image_convention": "opengl",
        "bddl_file_name": bddl,
        "env_args": environment_settings(),
        "tag": "libero-v1",
    }


def environment_settings(**changes: Any) -> str:
    """Return the `env_args` of a published file with some of its settings changed."""
    settings = {
        "robots": ["Panda"],
        "controller_configs": {"type": "OSC_POSE", "input_max": 1, "input_min": -1},
        "bddl_file_name": "chiliocosm/bddl_files/libero_100/some_other_name.bddl",
        "control_freq": 20,
        "camera_heights": 128,
        "camera_widths": 128,
    }
    arguments = {"type": 1, "env_name": "Libero_Kitchen", "problem_name": "libero_kitchen"}
    return json.dumps(arguments | {"env_kwargs": settings | changes})
