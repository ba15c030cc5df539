"""Any LeRobot checkpoint as a policy: LeRobot's networks and processors, batched, deterministic."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lerobot.processor import RenameObservationsProcessorStep
from lerobot.utils.constants import ACTION, OBS_ENV_STATE, OBS_STATE

from eval_harness.policy import (
    ACTION_DIM,
    EpisodeKey,
    Observation,
    Policy,
    PolicyError,
    Requirements,
)
from vla_adapters.lerobot.loading import load_checkpoint, no_remote_code
from vla_adapters.lerobot.row_noise import GlobalNoise, RowNoise, noise_seed, seeded

CAMERAS = {
    "agentview": ("image", "camera1", "base_0_rgb", "agentview", "agentview_image", "front"),
    "robot0_eye_in_hand": (
        "image2",
        "camera2",
        "left_wrist_0_rgb",
        "wrist_image",
        "robot0_eye_in_hand_image",
        "wrist",
    ),
}
"""LIBERO's cameras and what LeRobot's datasets and policies call them; its own names first."""
ABSENT_CAMERAS = ("empty_camera", "right_wrist_0_rgb", "camera3")
"""Beginnings of names of pictures that LIBERO has not, and that policies do without."""

Batch = dict[str, Any]
"""LeRobot's batch: feature -> tensor with the batch first, or list of strings."""


@dataclass
class _Memory:
    """What a policy that looks back remembers of an episode."""

    frames: deque[dict[str, torch.Tensor]] = field(default_factory=deque)
    """Its last observations, as the network takes them."""
    actions: deque[npt.NDArray[np.float32]] = field(default_factory=deque)
    """Actions of the present chunk that are still to come, (7,) each."""
    step: int = -1
    """Control step of the last observation."""


class LeRobotPolicy(Policy):
    """A LeRobot `PreTrainedPolicy` with its own processors.

    Pictures go in as the protocol turned them (LeRobot's LIBERO convention, which its protocol
    follows, is rotated by 180 degrees), as floats in [0, 1]; `observation.state` is the
    protocol's `proprio`. Each call of the network has the same number of rows, so that no row
    depends on how many others there are. A policy's noise is drawn row by row from the episode
    and the step; where it is drawn otherwise than by rows, observations are processed one at a
    time. A policy that looks back (`n_obs_steps` > 1) keeps a memory for each episode, must be
    shown every step, and answers with single actions, as its `select_action` does.

    Args:
        path: folder of the checkpoint (`pretrained_model`), or hub id.
        device: where torch computes; by default a GPU if there is one.
        batch: rows of each call of the network; fewer observations are padded.
        chunk: actions to return per query; by default the checkpoint's `n_action_steps`.
        cameras: feature -> camera, for features that `CAMERAS` does not know.
        revision: commit, branch or tag of the hub repository.

    Raises:
        PolicyError: it cannot be loaded, or needs what LIBERO has not.
    """

    def __init__(
        self,
        path: str,
        device: str | None = None,
        batch: int = 8,
        chunk: int | None = None,
        cameras: Mapping[str, str] | None = None,
        revision: str | None = None,
    ) -> None:
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        loaded = load_checkpoint(path, device, revision)
        self._policy: Any = loaded.policy
        self._pre, self._post = loaded.preprocessor, loaded.postprocessor
        self._config: Any = loaded.policy.config
        self._batch, self._one_by_one = batch, False
        self._memories: dict[EpisodeKey, _Memory] = {}
        queues = getattr(self._policy, "_queues", None) or {}
        self._queued = tuple(key for key in queues if key != ACTION)
        self._chunk = chunk or int(getattr(self._config, "n_action_steps", 0) or self._longest())
        self._check()
        if self._config.type == "pi0_fast":
            # LeRobot reads tokens as actions over this many steps; they were made over the chunk's
            self._config.n_action_steps = self._config.chunk_size
        self._pictures = self._map_cameras(cameras or {})
        self._stateful = bool(self._queued) and self._config.n_obs_steps > 1
        self.requirements = Requirements(
            cameras=tuple(dict.fromkeys(self._pictures.values())),
            state=("proprio",) if self._config.robot_state_feature else (),
            chunk=1 if self._stateful else self._chunk,
            batch=batch,
            stateful=self._stateful,
        )
        self._identity = {
            "kind": "lerobot",
            "name": Path(path).resolve().name if Path(path).is_dir() else path,
            "type": self._config.type,
            "sha256": loaded.sha256,
            "chunk": self._chunk,
            "batch": batch,
            "cameras": self._pictures,
        }

    def act(self, observations: Sequence[Observation]) -> npt.NDArray[np.floating[Any]]:
        """Return a chunk of actions for each observation, float32 (n, chunk, 7)."""
        parts = [
            observations[start : start + self._batch]
            for start in range(0, len(observations), self._batch)
        ]
        act = self._act_stateful if self._stateful else self._act_stateless
        with _as_policy_error(), no_remote_code(), torch.inference_mode(), self._precision():
            return np.concatenate([act(part) for part in parts])

    def reset(self, keys: Sequence[EpisodeKey]) -> None:
        """Forget these episodes."""
        for key in keys:
            self._memories.pop(key, None)

    def end(self, keys: Sequence[EpisodeKey]) -> None:
        """Forget these episodes."""
        self.reset(keys)

    def identity(self) -> dict[str, Any]:
        """Return kind, type, digest, chunk, rows per call and cameras."""
        return dict(self._identity)

    def _act_stateless(self, observations: Sequence[Observation]) -> npt.NDArray[np.float32]:
        batch = self._preprocess(observations)
        if self._queued:
            batch = {key: value[:, None] for key, value in self._queue(batch).items()}
        return self._predict(batch, observations)

    def _act_stateful(self, observations: Sequence[Observation]) -> npt.NDArray[np.float32]:
        """Remember the observations, and ask the network where a chunk has come to its end."""
        memories = [self._recall(observation) for observation in observations]
        frames = self._queue(self._preprocess(observations))
        for row, memory in enumerate(memories):
            frame = {key: value[row].clone() for key, value in frames.items()}
            missing = max(1, self._config.n_obs_steps - len(memory.frames))
            memory.frames.extend([frame] * missing)
            while len(memory.frames) > self._config.n_obs_steps:
                memory.frames.popleft()
        due = [row for row, memory in enumerate(memories) if not memory.actions]
        if due:
            histories = [memories[row].frames for row in due]
            batch = {
                key: torch.stack(
                    [torch.stack([f[key] for f in h]) for h in _padded(histories, self._batch)]
                )
                for key in self._queued
            }
            chunks = self._predict(batch, [observations[row] for row in due])
            for row, chunk in zip(due, chunks, strict=True):
                memories[row].actions.extend(chunk)
        return np.stack([memory.actions.popleft() for memory in memories])[:, None]

    def _recall(self, observation: Observation) -> _Memory:
        """Return the memory of an episode, a new one at its first step."""
        memory = self._memories.setdefault(observation.key, _Memory())
        if observation.step != memory.step + 1:
            raise PolicyError(
                f"this policy looks back and must see every step, but step {observation.step} of "
                f"episode {observation.key.episode} follows {memory.step}"
            )
        memory.step = observation.step
        return memory

    def _preprocess(self, observations: Sequence[Observation]) -> Batch:
        """Return LeRobot's batch after its preprocessor, padded to the full number of rows."""
        rows = _padded(observations, self._batch)
        batch: Batch = {"task": [o.instruction for o in rows]}
        for feature, camera in self._pictures.items():
            pictures = torch.from_numpy(np.stack([o.images[camera] for o in rows]))
            batch[feature] = pictures.permute(0, 3, 1, 2).contiguous().float() / 255
        if self.requirements.state:
            state = np.stack([o.state["proprio"] for o in rows])
            batch[self._source(OBS_STATE)] = torch.from_numpy(state).float()
        return self._pre(batch)

    def _queue(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return what the policy's own `select_action` would keep of the observations."""
        self._policy.reset()
        queues = self._policy._queues
        idle = torch.zeros(self._batch, ACTION_DIM, device=self._config.device)
        queues[ACTION].append(idle)  # so that it only remembers, and predicts nothing
        self._policy.select_action(dict(batch))
        return {key: queues[key][-1] for key in self._queued}

    def _predict(
        self, batch: Batch, observations: Sequence[Observation]
    ) -> npt.NDArray[np.float32]:
        """Return the environment's actions for a full batch, (n, chunk, 7)."""
        seeds = [noise_seed(o) for o in observations]
        actions: torch.Tensor | None = None
        if not self._one_by_one:
            unseen = GlobalNoise()
            with RowNoise(_padded(seeds, self._batch)):
                actions = self._network(batch)
            self._one_by_one = unseen.used()
        if self._one_by_one:
            single = []
            for row, seed in enumerate(seeds):
                with seeded(seed):
                    single.append(self._network(_row(batch, row)))
            actions = torch.cat(single)
        assert actions is not None
        if actions.shape[1] < self._chunk or actions.shape[2] != ACTION_DIM:
            raise PolicyError(
                f"the network gives chunks of shape {tuple(actions.shape[1:])}, but "
                f"({self._chunk}, {ACTION_DIM}) is wanted"
            )
        steps = [self._post(actions[:, i]) for i in range(self._chunk)]
        chunk = torch.stack(steps, dim=1)[: len(observations)]
        return chunk.float().cpu().numpy()

    def _network(self, batch: Batch) -> torch.Tensor:
        """Return the network's normalised actions, (rows, time, action)."""
        self._policy.reset()
        if self._queued:
            for key, value in batch.items():
                self._policy._queues[key].extend(value.unbind(1))
            batch = {key: value[:, -1] for key, value in batch.items()}
        return self._policy.predict_action_chunk(dict(batch))

    def _check(self) -> None:
        config = self._config
        if getattr(config, "temporal_ensemble_coeff", None) is not None:
            raise PolicyError("set `temporal_ensemble_coeff` to null: chunks are run as they are")
        if OBS_ENV_STATE in config.input_features:
            raise PolicyError("this policy wants `observation.environment_state`; LIBERO has none")
        if config.type == "tdmpc":
            raise PolicyError("TD-MPC plans single steps, and gives no chunks")
        if self._batch < 1 or not 1 <= self._chunk <= self._longest():
            raise PolicyError(
                f"batch {self._batch} and chunk {self._chunk} are impossible: at least 1 each, "
                f"and a chunk of at most {self._longest()}"
            )

    def _longest(self) -> int:
        """Return the most actions that the network predicts at a time."""
        names = ("chunk_size", "action_chunk_size", "n_action_steps")
        return int(next(v for n in names if (v := getattr(self._config, n, None)) is not None))

    def _map_cameras(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return the name under which LeRobot's pipeline takes each picture -> camera."""
        known = {name: camera for camera, names in CAMERAS.items() for name in names}
        cameras = {}
        for feature in self._config.image_features:
            source = self._source(feature)
            names = [name.rsplit(".", 1)[-1] for name in (source, feature)]
            camera = next((known[n] for n in names if n in known), None)
            camera = given.get(source, given.get(feature, camera))
            if camera:
                cameras[source] = camera
            elif not names[-1].startswith(ABSENT_CAMERAS):
                raise PolicyError(
                    f"which camera is {feature}? Name it in `cameras`; known are "
                    f"{', '.join(sorted(known))}"
                )
        return cameras

    def _source(self, feature: str) -> str:
        """Return what the preprocessor's own renaming calls a feature before it."""
        for step in self._pre.steps:
            if isinstance(step, RenameObservationsProcessorStep):
                inverse = {new: old for old, new in step.rename_map.items()}
                return inverse.get(feature, feature)
        return feature

    def _precision(self) -> Any:
        if self._config.use_amp:
            return torch.autocast(torch.device(self._config.device).type)
        return nullcontext()


def _padded[T](items: Sequence[T], length: int) -> list[T]:
    """Return the items, and the first one again until there are `length`."""
    return [*items, *[items[0]] * (length - len(items))]


def _row(batch: Batch, row: int) -> Batch:
    """Return a batch of one row."""
    whole = (torch.Tensor, list)
    return {k: v[row : row + 1] if isinstance(v, whole) else v for k, v in batch.items()}


@contextmanager
def _as_policy_error() -> Iterator[None]:
    """Report what goes wrong inside LeRobot as this policy's error."""
    try:
        yield
    except (RuntimeError, ValueError, KeyError, TypeError, IndexError, AssertionError) as error:
        if isinstance(error, PolicyError):
            raise
        raise PolicyError(f"LeRobot's policy failed: {error!r}") from error


def load(rest: str, setting: object) -> LeRobotPolicy:
    """Return the policy of a folder or hub id, as `eval_harness.policies` asks for it.

    Raises:
        PolicyError: it cannot be loaded.
    """
    return LeRobotPolicy(rest)
