"""What flows from the reader to the models: samples, their shape, and the data's statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CAMERAS = ("image", "wrist_image")
"""Pictures of a step by the data's names: LIBERO's agentview and robot0_eye_in_hand."""
STATE_DIM = 8
"""End-effector position (3, m, world), axis-angle (3, rad), finger positions (2, m)."""
ACTION_DIM = 7
"""Translation (3), rotation (3), gripper (1), each in [-1, 1]; gripper -1 opens, +1 closes."""


@dataclass(frozen=True)
class Sample:
    """One step of an episode with the actions that follow."""

    images: Mapping[str, npt.NDArray[np.uint8]]
    """Camera of `CAMERAS` -> picture (H, W, 3), RGB, turned by 180 degrees against LIBERO's
    array as the data stores it, which is how the protocols of the harness turn it."""
    state: npt.NDArray[np.float32]
    """State of the robot, (8,)."""
    actions: npt.NDArray[np.float32]
    """This step's action and those after it, (chunk, 7); after the end the last one again."""
    is_pad: npt.NDArray[np.bool_]
    """Which of the actions lie after the end of the episode, (chunk,)."""
    instruction: str
    """The task's language."""
    episode: int
    """Number of the episode in the dataset, from 0."""
    step: int
    """Number of the step in the episode, from 0."""


@dataclass(frozen=True)
class Moments:
    """Statistics of one vector over all steps of the data, each of its length, float64."""

    mean: npt.NDArray[np.float64]
    std: npt.NDArray[np.float64]
    min: npt.NDArray[np.float64]
    max: npt.NDArray[np.float64]
    q01: npt.NDArray[np.float64]
    q99: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Statistics:
    """What normalisation needs to know of a dataset; computed once and stored beside it."""

    action: Moments
    """Of the actions, (7,), the environment's gripper convention."""
    state: Moments
    """Of the robot's state, (8,)."""
    openness: Moments
    """Of OpenVLA's gripper action, (1,): 1 - clip(gripper, 0, 1), so 1 opens and 0 closes."""
    transitions: int
    """Steps."""
    trajectories: int
    """Episodes."""
    dataset: str
    """Name of the dataset, which is the key of these statistics in a checkpoint."""
    digest: str
    """Digest of the data that they were computed from."""
