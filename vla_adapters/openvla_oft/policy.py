"""OpenVLA-OFT in the evaluation harness: chunks by regression, two cameras, proprioception."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from eval_harness.policy import ACTION_DIM, Observation, Requirements
from vla_adapters.adapter import AdapterError
from vla_adapters.openvla.actions import environment_gripper
from vla_adapters.openvla.generate import pad_left
from vla_adapters.openvla.policy import OpenVlaPolicy, Row, padded_length
from vla_adapters.openvla_oft.parts import load_parts
from vla_adapters.openvla_oft.predict import predict
from vla_adapters.openvla_oft.state import StateStatistics
from vla_adapters.samples import STATE_DIM

CAMERAS = ("agentview", "robot0_eye_in_hand")
"""In the order in which the network was shown them."""
CHUNK = 8
"""Actions of an answer, as published for LIBERO; no weight depends on it."""


class OpenVlaOftPolicy(OpenVlaPolicy):
    """A published OpenVLA-OFT with its L1 regression head.

    Pictures go in as the protocol made them; `openvla_oft`'s crops and turns both cameras' as the
    published script does, and runs all of a chunk. Whether it is given the state is told by its
    projector's file; neither cameras nor chunk are told by any.

    Args:
        path: folder or hub id.
        statistics: dataset whose statistics state and actions are scaled by; see `OpenVlaPolicy`.
        device: where torch computes; by default a GPU if there is one.
        dtype: type of the parameters; by default bfloat16 on a GPU, float32 elsewhere.
        batch: rows of each call of the network; fewer observations are padded. By default 8 on a
            GPU, and one elsewhere, where a row's last bit depends on its place among others.
        revision: commit, branch or tag of the hub repository.
        cameras: how many of `CAMERAS` it was trained with.
        chunk: actions that it was trained to answer with.

    Raises:
        AdapterError: it cannot be loaded, or has no such statistics.
    """

    kind: ClassVar[str] = "openvla_oft"
    oft: ClassVar[bool] = True

    def __init__(
        self,
        path: str,
        statistics: str | None = None,
        device: str | None = None,
        dtype: torch.dtype | None = None,
        batch: int | None = None,
        revision: str | None = None,
        cameras: int = len(CAMERAS),
        chunk: int = CHUNK,
    ) -> None:
        if not 1 <= cameras <= len(CAMERAS) or chunk < 1:
            raise AdapterError("an OpenVLA-OFT has 1 or 2 cameras, and a chunk of 1 or more")
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        batch = batch or (1 if device == "cpu" else 8)
        super().__init__(path, statistics, device, dtype, batch, revision)
        config = self._checkpoint.config
        self._parts, files = load_parts(
            self._folder, config.text.hidden_size, self._device, self._dtype
        )
        self._cameras, self._chunk = CAMERAS[:cameras], chunk
        sees_state = self._parts.projector is not None
        if sees_state and self._key:
            StateStatistics.from_json(config.norm_stats, self._key)
        self.requirements = Requirements(
            cameras=self._cameras,
            state=("proprio",) if sees_state else (),
            chunk=chunk,
            batch=batch,
        )
        self._identity |= {
            "cameras": list(self._cameras),
            "chunk": chunk,
            "parts": [file.name for file in files],
        }

    def act(self, observations: Sequence[Observation]) -> npt.NDArray[np.floating[Any]]:
        """Return a chunk of actions for each, float64 (n, chunk, 7); the gripper is -1 or +1."""
        actions = np.empty((len(observations), self._chunk, ACTION_DIM))
        for indices, rows in self._calls(observations):
            chunks = self._predict(rows)
            for index, (observation, _), chunk in zip(indices, rows, chunks, strict=False):
                actions[index] = self._statistics(observation).unnormalise(chunk)
        return environment_gripper(actions)

    def _predict(self, rows: Sequence[Row]) -> npt.NDArray[np.float32]:
        """Return the normalised actions of one call's rows, (batch, chunk, 7)."""
        preprocessing, config = self._checkpoint.preprocessing, self._checkpoint.config
        shown = [preprocessing.resize(o.images[c]) for o, _ in rows for c in self._cameras]
        pixel_values = preprocessing.normalise(
            torch.from_numpy(np.stack(shown)).to(self._device), self._dtype
        )
        texts = [prompt for _, prompt in rows]
        ids, mask = pad_left(texts, config.text.pad_token_id, padded_length(texts[0]))
        state = np.zeros((len(rows), STATE_DIM), np.float32)
        if self._parts.projector is not None:
            state = np.stack([self._state(observation) for observation, _ in rows])
        actions = predict(
            self._checkpoint.model,
            self._parts,
            pixel_values.unflatten(0, (len(rows), len(self._cameras))),
            ids.to(self._device),
            mask.to(self._device),
            torch.from_numpy(state).to(self._device),
            self._chunk,
        )
        return actions.cpu().numpy()

    def _state(self, observation: Observation) -> npt.NDArray[np.float32]:
        state = observation.state["proprio"]
        if state.shape != (STATE_DIM,):
            raise AdapterError(
                f"an OpenVLA-OFT is given position, axis-angle and fingers, {STATE_DIM} numbers, "
                f"but this protocol's state has {state.shape[-1]}: use the protocol openvla_oft"
            )
        known = self._checkpoint.config.norm_stats
        return StateStatistics.from_json(known, self._dataset(observation)).normalise(state)


def load(rest: str, setting: object) -> OpenVlaOftPolicy:
    """Return the policy of `PATH_OR_HUB_ID[#statistics,cameras=N,chunk=N]`.

    Raises:
        AdapterError: it cannot be loaded, or an option is unknown.
    """
    path, _, options = rest.partition("#")
    numbers = {"cameras": len(CAMERAS), "chunk": CHUNK}
    statistics = None
    for option in filter(None, options.split(",")):
        name, given, value = option.partition("=")
        if not given and statistics is None:
            statistics = name
        elif name in numbers and value.isdecimal():
            numbers[name] = int(value)
        else:
            raise AdapterError(
                f"openvla_oft:{rest}: unknown option {option!r}; there are the name of statistics, "
                "cameras=1 or 2, and chunk=N"
            )
    return OpenVlaOftPolicy(path, statistics, cameras=numbers["cameras"], chunk=numbers["chunk"])
