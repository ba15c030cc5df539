"""OpenVLA in the evaluation harness: batched greedy decoding, the gripper as LIBERO has it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from eval_harness.policy import ACTION_DIM, Observation, Policy, Requirements
from simulation.tasks import base_suite_of
from vla_adapters.adapter import AdapterError
from vla_adapters.openvla.actions import ActionStatistics, ActionTokenizer, environment_gripper
from vla_adapters.openvla.checkpoint import Checkpoint, digest, find, load_checkpoint
from vla_adapters.openvla.generate import generate, pad_left

CAMERA = "agentview"
"""The one camera that it looks through."""
_LENGTH_STEP = 32
"""Prompts are padded to a multiple of this, tokens: to a length that is no other row's affair."""

Row = tuple[Observation, list[int]]
"""An observation and the tokens of its prompt."""


class OpenVlaPolicy(Policy):
    """A published OpenVLA, or one of our own.

    Pictures go in as the protocol made them; `openvla`'s crops and turns them as the published
    evaluation script does. Each call of the network has the same number of rows, and a row's
    padding depends on its own prompt alone, so no answer depends on how many others there are.

    Args:
        path: folder or hub id.
        statistics: dataset whose statistics its actions are scaled by; by default the only one
            there is, or else, as in the published script, that of the task's suite or of
            `SUITE_no_noops`.
        device: where torch computes; by default a GPU if there is one.
        dtype: type of the parameters; by default bfloat16 on a GPU, float32 elsewhere.
        batch: rows of each call of the network; fewer observations are padded.
        revision: commit, branch or tag of the hub repository.

    Raises:
        AdapterError: it cannot be loaded, or has no such statistics.
    """

    kind: ClassVar[str] = "openvla"
    """Name on the command line."""
    oft: ClassVar[bool] = False
    """Whether the checkpoint is an OpenVLA-OFT's."""

    def __init__(
        self,
        path: str,
        statistics: str | None = None,
        device: str | None = None,
        dtype: torch.dtype | None = None,
        batch: int = 8,
        revision: str | None = None,
    ) -> None:
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        dtype = dtype or (torch.float32 if device == "cpu" else torch.bfloat16)
        folder = find(path, revision, self.oft)
        self._folder = folder
        self._checkpoint: Checkpoint = load_checkpoint(folder, device, dtype, oft=self.oft)
        self._device, self._dtype, self._batch = device, dtype, batch
        config = self._checkpoint.config
        self._actions = ActionTokenizer(config.vocabulary_size, config.n_action_bins)
        only = next(iter(config.norm_stats)) if len(config.norm_stats) == 1 else None
        self._key = statistics or only
        if self._key:
            ActionStatistics.from_json(config.norm_stats, self._key)
        self.requirements = Requirements(cameras=(CAMERA,), state=(), chunk=1, batch=batch)
        self._identity = {
            "kind": self.kind,
            "name": Path(path).resolve().name if Path(path).is_dir() else path,
            "sha256": digest(folder, self._checkpoint.digests),
            "statistics": self._key or "the suite's",
            "dtype": str(dtype).removeprefix("torch."),
            "batch": batch,
        }

    def act(self, observations: Sequence[Observation]) -> npt.NDArray[np.floating[Any]]:
        """Return an action for each observation, float64 (n, 1, 7); the gripper is -1 or +1."""
        actions = np.empty((len(observations), ACTION_DIM))
        for indices, rows in self._calls(observations):
            tokens = self._generate(rows)
            for index, (observation, _), row in zip(indices, rows, tokens, strict=False):
                statistics = self._statistics(observation)
                actions[index] = statistics.unnormalise(self._actions.decode(row))
        return environment_gripper(actions)[:, None]

    def identity(self) -> dict[str, Any]:
        """Return kind, digest, statistics, type and rows per call."""
        return dict(self._identity)

    def _calls(self, observations: Sequence[Observation]) -> Iterator[tuple[list[int], list[Row]]]:
        """Yield the rows of each call of the network, and which observations they are of."""
        prompts = [self._checkpoint.tokenizer.prompt(o.instruction) for o in observations]
        lengths = [padded_length(prompt) for prompt in prompts]
        for length in sorted(set(lengths)):
            alike = [i for i, own in enumerate(lengths) if own == length]
            for start in range(0, len(alike), self._batch):
                indices = alike[start : start + self._batch]
                rows = [(observations[i], prompts[i]) for i in indices]
                yield indices, rows + [rows[0]] * (self._batch - len(rows))

    def _generate(self, rows: Sequence[Row]) -> npt.NDArray[np.int64]:
        """Return the action tokens of one call's rows, (batch, 7)."""
        preprocessing, config = self._checkpoint.preprocessing, self._checkpoint.config
        pictures = np.stack([preprocessing.resize(o.images[CAMERA]) for o, _ in rows])
        texts = [prompt for _, prompt in rows]
        ids, mask = pad_left(texts, config.text.pad_token_id, padded_length(texts[0]))
        pixel_values = preprocessing.normalise(
            torch.from_numpy(pictures).to(self._device), self._dtype
        )
        model, device = self._checkpoint.model, self._device
        tokens = generate(model, pixel_values, ids.to(device), mask.to(device), ACTION_DIM)
        return tokens.cpu().numpy()

    def _statistics(self, observation: Observation) -> ActionStatistics:
        """Return what the actions for a task are scaled by."""
        known = self._checkpoint.config.norm_stats
        return ActionStatistics.from_json(known, self._dataset(observation))

    def _dataset(self, observation: Observation) -> str:
        """Return the dataset whose statistics are those of a task."""
        if self._key:
            return self._key
        known = self._checkpoint.config.norm_stats
        suite = observation.key.task.partition("/")[0]
        suite = base_suite_of(suite) or suite
        for key in (suite, f"{suite}_no_noops"):
            if key in known:
                return key
        raise AdapterError(
            f"this checkpoint has no action statistics for {suite}; choose some by "
            f"{self.kind}:PATH#NAME, of {', '.join(sorted(known)) or 'none'}"
        )


def padded_length(prompt: Sequence[int]) -> int:
    """Return the length, tokens, that a prompt is padded to."""
    return -(-len(prompt) // _LENGTH_STEP) * _LENGTH_STEP


def load(rest: str, setting: object) -> OpenVlaPolicy:
    """Return the policy of `PATH_OR_HUB_ID[#statistics]`, as `eval_harness.policies` asks for it.

    Raises:
        PolicyError: it cannot be loaded.
    """
    path, _, statistics = rest.partition("#")
    return OpenVlaPolicy(path, statistics or None)
