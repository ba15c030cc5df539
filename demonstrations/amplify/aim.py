"""Aims a clip at a new scene: its path moves with the thing that the hand works on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from demonstrations.amplify.kinds import family, is_round, split
from demonstrations.amplify.motions import Motion
from demonstrations.amplify.rotations import at_most, mix
from demonstrations.amplify.segments import Clip, Deed
from demonstrations.amplify.shapes import Box, box_of
from demonstrations.amplify.source import Frames
from simulation.environment import Environment

_ENTRY = {Deed.GRASP: 0.08, Deed.CARRY: 0.10, Deed.OPERATE: 0.10}
"""Distance from the grasp, release or handle within which the path is the source's own, m."""
_LEAVE = 0.04
"""Distance from where an object was grasped within which it is lifted as in the source, m."""
_SHORTEST = 8
"""Control steps at least over which a path goes from one thing's frame to another's."""
_SPEED = 0.011
"""Speed at which a path that the source went slower may be gone, m a control step; the
controller reaches 0.015."""
_TURN = 0.06
"""Rotation a control step at most where the hand turns more than in the source, rad."""
_TOLERANCE = 1.1
"""Factor from which on a path counts as longer than the source's."""
_LAG = 3.27
"""Control steps by which the arm follows its goal: damping over stiffness, 0.163 s, at 20 Hz."""
_SLIP = 0.35
"""Rotation in the hand at most that is made up for, rad."""


@dataclass(frozen=True)
class Held:
    """What is in the hand: its box, and whether its rotation there is made up for."""

    body: int
    """Root body in the new scene."""
    box: Box
    """Its size."""
    source_box: Box
    """Size of the object in the source."""
    same: bool
    """Whether it is of the source's kind, so that its whole pose is known."""
    turns: bool
    """Whether it matters how it is turned."""

    def anchor(self, position: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        """Return the point that is anchored: the middle, or for another kind that of the bottom."""
        return _anchor(self.box, position, rotation, self.same)

    def source_anchor(self, position: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        """Return the same point of the source's object."""
        return _anchor(self.source_box, position, rotation, self.same)


def _anchor(box: Box, position: np.ndarray, rotation: np.ndarray, middle: bool) -> np.ndarray:
    point = box.center_at(position, rotation)
    return point if middle else point - [0.0, 0.0, box.half_height(rotation)]


@dataclass(frozen=True)
class Command:
    """Where the hand is sent in one control step."""

    goal: np.ndarray
    """Position that the action asks for, m, (3,)."""
    rotation: np.ndarray
    """Rotation that it asks for, (3, 3)."""
    gripper: float
    """Positive to close."""
    hand: np.ndarray
    """Where the grip site should be just before, m, (3,)."""


class AimedClip:
    """A clip in a new scene, as one command for each of its control steps.

    The path begins as in the source relative to where the hand is, ends as in the source
    relative to the thing, and is mixed between; where that is longer, it takes longer.

    Args:
        clip: the clip.
        env: the new scene, when the clip begins.
        motion: how the clip's thing moved.
        held: what is in the hand, for a carry.
        bow: way round, added in the middle of the path, m, (3,).
        free: whether the hand keeps the rotation that it has, as it grasped otherwise than in
            the source.
    """

    def __init__(
        self,
        clip: Clip,
        env: Environment,
        motion: Motion,
        held: Held | None,
        bow: np.ndarray,
        free: bool = False,
    ) -> None:
        self._clip, self._source, self._motion, self._held = clip, clip.source, motion, held
        self._bow, self._free, self._env = bow, free, env
        site = env.scene.robot.site
        rotation = env.data.site_xmat[site].reshape(3, 3)
        self._shift = env.data.site_xpos[site] - self._source.hand[clip.start]
        self._spin = rotation @ self._source.hand_rotation[clip.start].T
        self.leave, self.entry = _mixed_part(clip)
        self.steps = self._paced()
        self._leads = self._lead()

    def __len__(self) -> int:
        """Return the number of control steps."""
        return len(self.steps)

    def index(self, step: int) -> int:
        """Return the first of the clip's commands of a source's step, or of one after."""
        return int(np.searchsorted(self.steps, step))

    def command(self, index: int) -> Command:
        """Return the command of a step, computed from how the held object lies in the hand now."""
        step = float(self.steps[index])
        source, first = self._source, min(int(step), len(self._source) - 1)
        place, rotation = self.place(step)
        turn = source.goal_rotation[first] @ source.hand_rotation[first].T
        matrix = self._motion.matrix
        turn = mix(turn, matrix @ turn @ matrix.T, self._weight(step)[0])
        gripper = float(source.gripper[first])
        return Command(place + self._leads[index], turn @ rotation, gripper, place)

    def place(self, step: float) -> tuple[np.ndarray, np.ndarray]:
        """Return where the hand should be just before a source's step: (3,), (3, 3)."""
        source, (weight, bow) = self._source, self._weight(step)
        first = min(int(step), len(source) - 1)
        hand = _mixed(source.hand, first, step - first)
        rotation = source.hand_rotation[first]
        arriving, turned = self._arriving(step, hand, rotation)
        place = (1 - weight) * (hand + self._shift) + weight * arriving + bow * self._bow
        return place, mix(self._spin @ rotation, turned, weight)

    def _weight(self, step: float) -> tuple[float, float]:
        """Return the share of the thing's frame at a step, and that of the bow."""
        share = min(max((step - self.leave) / (self.entry - self.leave), 0.0), 1.0)
        return share * share * (3 - 2 * share), math.sin(math.pi * share) ** 2

    def _arriving(
        self, step: float, hand: np.ndarray, rotation: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the hand's pose in the thing's frame, with the held object where it should be."""
        turned = self._spin @ rotation if self._free else self._motion.hand(rotation)
        held = self._held
        if held is None:
            return self._motion.point(hand), turned
        data, site = self._env.data, self._env.scene.robot.site
        now = data.site_xmat[site].reshape(3, 3)
        position, lying = data.xpos[held.body], data.xmat[held.body].reshape(3, 3)
        in_hand = now.T @ (held.anchor(position, lying) - data.site_xpos[site])
        first = min(int(step), len(self._source) - 1)
        places, turns = self._source.objects[self._clip.thing]
        if held.turns and not self._free:
            wanted = self._motion.matrix @ turns[first] @ (now.T @ lying).T
            turned = at_most(wanted @ turned.T, _SLIP) @ turned
        wished = self._motion.point(
            held.source_anchor(_mixed(places, first, step - first), turns[first])
        )
        return wished - turned @ in_hand, turned

    def _paced(self) -> np.ndarray:
        """Return the source's steps, fractions where the path is longer, one a control step."""
        clip, source = self._clip, self._source
        marks, last = [float(clip.start)], len(source) - 1
        places = [self.place(float(step)) for step in range(clip.start, clip.end + 1)]
        due = 0.0
        for number, step in enumerate(range(clip.start, clip.end)):
            (here, turned), (there, turning) = places[number], places[number + 1]
            own = float(np.linalg.norm(source.hand[step + 1] - source.hand[step]))
            own_turn = _angle(source.hand_rotation[step], source.hand_rotation[min(step + 1, last)])
            slower = max(
                1.0,
                float(np.linalg.norm(there - here)) / max(own, _SPEED),
                _angle(turned, turning) / max(own_turn, _TURN),
            )
            due += slower if slower > _TOLERANCE else 1.0
            count = max(round(due), 1)
            due -= count
            marks += [step + (k + 1) / count for k in range(count)]
        return np.array(marks[:-1])

    def _lead(self) -> np.ndarray:
        """Return how far each goal lies ahead of the hand, m, (N, 3).

        The source's own lead, and what the arm, which follows a steady goal by `_LAG` control
        steps, needs for moving otherwise than in the source.
        """
        source, steps = self._source, np.append(self.steps, float(self._clip.end))
        places = np.array([self.place(float(step))[0] for step in steps])
        matrix, leads = self._motion.matrix, []
        for number, step in enumerate(self.steps):
            first = min(int(step), len(source) - 1)
            share = float(steps[number + 1] - step)
            own = source.goal[first] - source.hand[first]
            own = own - _LAG * (source.hand[first + 1] - source.hand[first])
            weight = self._weight(float(step))[0]
            own = share * ((1 - weight) * own + weight * (matrix @ own))
            leads.append(own + _LAG * (places[number + 1] - places[number]))
        return np.array(leads).reshape(-1, 3)


def _mixed(values: np.ndarray, first: int, between: float) -> np.ndarray:
    if between == 0.0 or first + 1 >= len(values):
        return values[first]
    return (1 - between) * values[first] + between * values[first + 1]


def _angle(first: np.ndarray, second: np.ndarray) -> float:
    """Return the angle between two rotations, rad."""
    cosine = 0.5 * (float(np.sum(first * second)) - 1)
    return math.acos(min(max(cosine, -1.0), 1.0))


def _mixed_part(clip: Clip) -> tuple[int, int]:
    """Return the steps between which a clip's path goes from the hand's frame to the thing's."""
    hand, key = clip.source.hand, min(clip.key, clip.end - 1)
    away = np.linalg.norm(hand[clip.start : key + 1] - hand[key], axis=1) > _ENTRY[clip.deed]
    entry = clip.start + int(np.flatnonzero(away)[-1]) if away.any() else clip.start
    leave = clip.start
    if clip.deed is Deed.CARRY:
        gone = np.linalg.norm(hand[clip.start : key + 1] - hand[clip.start], axis=1) > _LEAVE
        leave = clip.start + int(np.argmax(gone)) if gone.any() else clip.start
    entry = min(max(entry, leave + _SHORTEST), key)
    return min(leave, max(entry - _SHORTEST, clip.start)), entry


def held_in(clip: Clip, thing: str, env: Environment) -> Held:
    """Return what a carry has in the hand."""
    body, kind = Frames(env).body(thing), split(thing)[0]
    same = kind == split(clip.thing)[0]
    turns = same and not is_round(kind) and family(kind) != "grocery"
    return Held(body, box_of(env, body), clip.source.boxes[clip.thing], same, turns)
