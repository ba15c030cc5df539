"""Frames of demonstrations as the harness would show them, beside the actions taken there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from eval_harness.asking import check_chunks
from eval_harness.episode import RunningEpisode, Seats
from eval_harness.plan import make_item
from eval_harness.policies.replay import RecordedActions
from eval_harness.policy import (
    ACTION_DIM,
    EpisodeKey,
    Observation,
    Policy,
    PolicyError,
    Requirements,
)
from eval_harness.protocols import Protocol
from eval_harness.timing import Clock
from simulation.assets.resolve import AssetPack
from simulation.pictures.renderers import Renderers
from simulation.tasks import get_task

MARGIN = 3
"""Actions that are kept before and after a frame's own, to tell whether a policy is late."""
LONGEST = 16
"""Actions of a chunk that are compared, at most."""
_WINDOW = 8
"""Consecutive steps shown to a policy that looks back."""

Change = Callable[[Observation], Observation]
"""What may be done to an observation before a policy sees it."""
Actions = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Frame:
    """One place in a demonstration."""

    demonstration: int
    """Number of the demonstration."""
    looks: tuple[Observation, ...]
    """What is shown: one observation, or consecutive ones to a policy that looks back."""
    actions: Actions
    """Recorded actions from `MARGIN` steps before the first look to as many after the last that is
    compared, (MARGIN + length + MARGIN, 7); NaN where there are none."""


def collect_frames(
    recordings: Mapping[str, Sequence[RecordedActions]],
    protocol: Protocol,
    needs: Requirements,
    demonstrations: int,
    frames: int,
    assets: AssetPack,
) -> list[Frame]:
    """Replay demonstrations through the harness and keep evenly spaced frames of each.

    Args:
        recordings: task key -> its demonstrations.
        protocol: how pictures and states are given.
        needs: the policy's requirements.
        demonstrations: how many to replay, of all tasks by turns.
        frames: how many frames to keep of all together, at least one a demonstration.
        assets: asset pack.
    """
    longest = max(len(found) for found in recordings.values())
    turns = [(t, i) for i in range(longest) for t in recordings if i < len(recordings[t])]
    chosen = turns[:demonstrations]
    renderers = Renderers(assets, protocol.render_size, most=2)
    seats = Seats(assets, most_free=1)
    kept: list[Frame] = []
    try:
        for number, (task, index) in enumerate(sorted(chosen)):
            count = frames * (number + 1) // len(chosen) - frames * number // len(chosen)
            episode = _Replay(task, recordings[task][index], protocol, needs, index)
            for looks, actions in episode.frames(max(count, 1), seats, renderers):
                kept.append(_as_episode(Frame(number, looks, actions), len(kept)))
    finally:
        renderers.close()
    return kept


def ask(policy: Policy, frames: Sequence[Frame], change: Change) -> Actions:
    """Return a policy's actions at changed frames, (frames, length, 7).

    Every frame is an episode of its own, with the same key whatever the change, so that a
    policy's noise is the same too.

    Raises:
        PolicyError: it fails, or gives no numbers.
    """
    needs, keys = policy.requirements, [frame.looks[0].key for frame in frames]
    parts: list[Actions] = []
    try:
        policy.reset(keys)
        for start in range(0, len(frames), needs.batch):
            batch = frames[start : start + needs.batch]
            looks = [
                check_chunks(policy.act(seen), len(seen), needs.chunk)
                for step in range(len(batch[0].looks))
                if (seen := [change(frame.looks[step]) for frame in batch])
            ]
            parts.append(
                looks[0] if len(looks) == 1 else np.concatenate([c[:, :1] for c in looks], 1)
            )
        policy.end(keys)
    except PolicyError:
        raise
    except Exception as error:
        raise PolicyError(f"the policy failed: {type(error).__name__}: {error}") from error
    actions = np.concatenate(parts)[:, :LONGEST]
    if not np.isfinite(actions).all():
        raise PolicyError("the policy's actions contain NaN or infinity")
    return actions


class _Replay:
    """One demonstration, replayed from its start."""

    def __init__(
        self,
        task: str,
        recording: RecordedActions,
        protocol: Protocol,
        needs: Requirements,
        index: int,
    ) -> None:
        self._actions = recording.actions
        item = make_item(protocol, get_task(task), index, start=recording.start)
        horizon = len(recording.actions) + 1
        self._episode = RunningEpisode(replace(item, horizon=horizon), protocol, needs, Clock())
        self._looks = _WINDOW if needs.stateful else 1
        self._length = _WINDOW if needs.stateful else min(needs.chunk, LONGEST)

    def frames(
        self, count: int, seats: Seats, renderers: Renderers
    ) -> Iterator[tuple[tuple[Observation, ...], Actions]]:
        """Yield looks and actions at `count` places."""
        total = len(self._actions)
        places = np.linspace(0, max(total - self._looks, 0), count + 1)[:-1].astype(int)
        wanted = {int(p) + k for p in places for k in range(self._looks)}
        seen: dict[int, Observation] = {}
        self._episode.advance(seats)  # to the start
        for step in range(total):
            if step in wanted:
                seen[step] = self._episode.observe(renderers)
            self._episode.accept(self._actions[step : step + 1])
            self._episode.advance(seats)
        self._episode.finish(seats)
        for place in sorted({int(p) for p in places}):
            looks = tuple(seen[s] for s in range(place, place + self._looks) if s in seen)
            if len(looks) == self._looks:
                yield looks, self._around(place)

    def _around(self, place: int) -> Actions:
        """Return the actions about a frame, NaN outside the demonstration."""
        around = np.full((MARGIN + self._length + MARGIN, ACTION_DIM), np.nan)
        for row, step in enumerate(range(place - MARGIN, place + self._length + MARGIN)):
            if 0 <= step < len(self._actions):
                around[row] = self._actions[step]
        return around


def _as_episode(frame: Frame, number: int) -> Frame:
    """Make a frame an episode of its own."""
    key = frame.looks[0].key
    own = EpisodeKey(key.task, number, key.init_index, number)
    return replace(
        frame, looks=tuple(replace(o, key=own, step=k) for k, o in enumerate(frame.looks))
    )
