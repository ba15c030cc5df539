"""What a dataset proves of itself: replays, and conventions that a machine has checked."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dataset_builders.sources import EpisodeRef

_MOST_NAMED = 20
_QUIET = 1e-4
"""Norm of a no-op's translation and rotation, at most: the rule of `libero_*_no_noops`."""
_REACTION_STEPS, _MOTION_STEPS = 4, 8
"""Control steps after which the fingers have begun to follow another command, and have gone far."""
_STILL_M = 5e-4
"""Change of the opening that tells nothing: the fingers are at their end, or hold something."""


@dataclass(frozen=True)
class Conventions:
    """What one episode's numbers show of the dataset's conventions."""

    range: float
    """Largest absolute value of an action."""
    gripper_follows: int
    """Changes of the gripper's command after which the fingers moved as -1 opens, +1 closes."""
    gripper_opposes: int
    """Changes after which they moved the other way."""
    translation: float
    """Correlation of translations with the motion that follows them; NaN if nothing moves."""
    angle: float
    """Largest norm of the axis-angle part of the state, rad."""
    noops: int
    """Steps that neither move nor change the gripper's command."""
    released: bool
    """Whether the hand is open at the end, or never closed."""


def conventions(actions: np.ndarray, states: np.ndarray) -> Conventions:
    """Return what an episode shows.

    Args:
        actions: (T, 7).
        states: (T, 8): position, axis-angle, two gripper joints.
    """
    commands = actions[:, 6]
    follows, opposes = _gripper(commands, states[:, 6] - states[:, 7])
    still = np.linalg.norm(actions[:, :6], axis=1) < _QUIET
    same = np.concatenate(([True], commands[1:] == commands[:-1]))
    return Conventions(
        range=float(np.abs(actions).max()),
        gripper_follows=follows,
        gripper_opposes=opposes,
        translation=_correlation(actions[:-1, :3], np.diff(states[:, :3], axis=0)),
        angle=float(np.linalg.norm(states[:, 3:6], axis=1).max()),
        noops=int((still & same).sum()),
        released=bool(commands[-1] < 0 or (commands < 0).all()),
    )


def convention_faults(found: Sequence[Conventions]) -> list[str]:
    """Return what is wrong with a dataset's conventions, in words; empty if nothing is.

    The state's layout is checked by replays, which compare all of it.
    """
    faults = []
    follows = sum(item.gripper_follows for item in found)
    opposes = sum(item.gripper_opposes for item in found)
    if opposes > follows:
        faults.append(
            f"the gripper's sign is turned round: after {opposes} of {follows + opposes} changes "
            "of its command the fingers moved as if +1 opened"
        )
    known = [item.translation for item in found if not math.isnan(item.translation)]
    if known and np.median(known) < 0:
        faults.append(
            f"actions do not move the end-effector their way (correlation {np.median(known):.2f}): "
            "axes or signs of the translation are not LIBERO's"
        )
    if (largest := max(item.angle for item in found)) > 2 * math.pi + 1e-3:
        faults.append(f"state[3:6] is no axis-angle: its norm reaches {largest:.2f} rad")
    return faults


def summarise(
    replays: Mapping[str, Mapping[str, Any]], found: Sequence[Conventions], episodes: int
) -> dict[str, Any]:
    """Return the certificate as JSON types.

    Args:
        replays: key of an episode -> fields of `replay.Replayed`, of those simulated again.
        found: conventions of all episodes.
        episodes: episodes in the dataset.
    """
    failed = [key for key, item in sorted(replays.items()) if not item["same"]]
    return {
        "episodes": episodes,
        "replayed": len(replays),
        "succeeded": len(replays) - len(failed),
        "failed": failed[:_MOST_NAMED],
        "largest_position_error_m": _largest(replays, "position_error"),
        "largest_joint_error_rad": _largest(replays, "joint_error"),
        "conventions": {
            "action_range": max(item.range for item in found),
            "gripper_changes_that_the_fingers_follow": sum(i.gripper_follows for i in found),
            "gripper_changes_that_they_oppose": sum(item.gripper_opposes for item in found),
            "noop_steps": sum(item.noops for item in found),
            "episodes_with_noops": sum(item.noops > 0 for item in found),
            "episodes_that_end_with_an_open_hand": sum(item.released for item in found),
        },
    }


def chosen_for_replay(refs: Iterable[EpisodeRef], share: float) -> frozenset[str]:
    """Return the keys of the episodes that are simulated again while a dataset is built.

    The first of each task, method, pattern and way, in the order of their hashes, and beyond these
    a share of all, which depends on the episodes' keys alone.
    """
    if share <= 0:
        return frozenset()
    chosen, kinds = set(), set()
    for ref in sorted(refs, key=lambda ref: ref.order):
        kind = (ref.task, ref.info.method, ref.info.pattern, ref.info.way)
        if kind not in kinds or int.from_bytes(ref.order[:8]) < share * 2**64:
            chosen.add(ref.key)
        kinds.add(kind)
    return frozenset(chosen)


def from_json(content: Mapping[str, Any]) -> Conventions:
    """Return the conventions that a part's line holds."""
    return Conventions(**{f.name: content[f.name] for f in dataclasses.fields(Conventions)})


def _gripper(commands: np.ndarray, opening: np.ndarray) -> tuple[int, int]:
    """Return how many changes of the command (T,) the fingers' opening, m (T,), follows."""
    follows = opposes = 0
    for t in np.flatnonzero(np.diff(np.sign(commands))) + 1:
        if t + _MOTION_STEPS >= len(commands) or len(set(commands[t : t + _MOTION_STEPS])) > 1:
            continue
        moved = opening[t + _MOTION_STEPS] - opening[t + _REACTION_STEPS]
        if abs(moved) > _STILL_M:
            agrees = bool(moved * commands[t] < 0)
            follows, opposes = follows + agrees, opposes + (not agrees)
    return follows, opposes


def _correlation(actions: np.ndarray, moved: np.ndarray) -> float:
    """Return the correlation of translations (T, 3) with motions (T, 3), all axes together."""
    asked, done = actions.ravel(), moved.ravel()
    if not asked.size or asked.std() == 0 or done.std() == 0:
        return math.nan
    return float(np.corrcoef(asked, done)[0, 1])


def _largest(replays: Mapping[str, Mapping[str, Any]], field: str) -> float:
    return max((float(item[field]) for item in replays.values()), default=0.0)
