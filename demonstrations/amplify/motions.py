"""How things moved from a demonstration to a new scene, and where that takes the hand."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from demonstrations.amplify.kinds import family, is_round, split
from demonstrations.amplify.rotations import about_vertical, yaw_between
from demonstrations.amplify.segments import Clip, joint_frame, joint_pose
from demonstrations.amplify.shapes import Box, box_of, region_half, support_height
from demonstrations.amplify.source import Frames
from simulation.environment import Environment

_FLIP = 0.6 * math.pi
"""Turn of a thing from which on the hand, whose fingers are alike, takes it the other way round."""
_DEEPEST = 0.012
"""Height of the grip site over what an object stands on at least, m."""
_DEPTH = 0.022
"""Distance of the grip site below an object's top at most, m; deeper ones stick to the palm."""
_INWARD = 0.04
"""Distance at most by which a release is moved toward the middle of a region, m."""
_HALF_TURN = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Motion:
    """How a clip's things move from the source to the new scene, and with them its path."""

    turn: float
    """About the vertical, rad."""
    source: np.ndarray
    """Fixed point in the source, m, (3,)."""
    new: np.ndarray
    """Where it comes to lie, m, (3,)."""
    matrix: np.ndarray = field(init=False)
    """The turn as a matrix, (3, 3)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "matrix", about_vertical(self.turn))

    def shifted(self, nudge: tuple[float, float]) -> Motion:
        """Return the motion with everything shifted sideways, m."""
        return Motion(self.turn, self.source, self.new + np.array([*nudge, 0.0]))

    def point(self, point: np.ndarray) -> np.ndarray:
        """Return where a point comes to lie, m, (3,)."""
        return self.matrix @ (point - self.source) + self.new

    def hand(self, rotation: np.ndarray) -> np.ndarray:
        """Return how a hand comes to be turned, (3, 3)."""
        turned = self.matrix @ rotation
        return turned @ _HALF_TURN if abs(self.turn) > _FLIP else turned


def grasp_motion(clip: Clip, thing: str, env: Environment, turn: float) -> Motion:
    """Return how a grasp moves with its object.

    An object of another kind is taken by its middle, or, where the source took a rim, by its rim;
    the fingers close along its narrow side.

    Args:
        clip: the grasp.
        thing: object that is grasped now.
        env: the new scene.
        turn: angle, rad, by which the hand is to be turned besides.
    """
    scene, kind = Frames(env), split(thing)[0]
    position, rotation = scene.of(thing)
    round_ = is_round(kind)
    if kind == split(clip.thing)[0]:
        angle = 0.0 if round_ else yaw_between(clip.rotation, rotation)
        return Motion(angle + turn, clip.position, position)
    box, source_box = box_of(env, scene.body(thing)), clip.source.boxes[clip.thing]
    center = box.center_at(position, rotation)
    places, turns = clip.source.objects[clip.thing]
    grasped, lying = places[clip.key], turns[clip.key]
    source_center = source_box.center_at(grasped, lying)
    site = clip.source.hand[clip.key]
    top = center[2] + box.half_height(rotation)
    source_top = source_center[2] + source_box.half_height(lying)
    if family(kind) == "grocery":
        angle = _across(box, rotation, clip.closing)
        floor = center[2] - box.half_height(rotation) + _DEEPEST
        grip = max(floor, top - min(source_top - site[2], _DEPTH))
        return Motion(
            angle + turn,
            np.array([*source_center[:2], site[2]]),
            np.array([*center[:2], grip]),
        )
    angle = 0.0 if round_ else yaw_between(lying, rotation)
    offset = lying.T @ (site - source_center)
    ratio = box.half / source_box.half
    grown = rotation @ (ratio * offset) if not round_ else ratio * (site - source_center)
    grown[2] = 0.0
    flat = about_vertical(angle + turn) @ (site - source_center)
    new = np.array([*(center[:2] + grown[:2] - flat[:2]), top])
    return Motion(angle + turn, np.array([*source_center[:2], source_top]), new)


def _across(box: Box, rotation: np.ndarray, closing: float) -> float:
    """Return the least turn, rad, after which the fingers close along an object's narrow side."""
    narrow, wide, direction = box.widths(rotation)
    period = math.pi if wide > 1.15 * narrow else 0.5 * math.pi
    return (direction - closing + 0.5 * period) % period - 0.5 * period


def carry_motion(clip: Clip, thing: str, target: str, env: Environment) -> Motion:
    """Return how a carry moves with its target.

    Another kind of target, or another part, is aimed at in its middle, at its own height.
    """
    scene = Frames(env)
    position, rotation = scene.of(target)
    (kind, part), (source_kind, source_part) = split(target), split(clip.frame)
    alike = family(kind) == family(source_kind)
    angle = 0.0
    if alike and not is_round(kind) and not is_round(split(thing)[0]):
        angle = yaw_between(clip.rotation, rotation)
    if alike and part == source_part and family(kind) != "table":
        if kind != "plate" and not is_round(kind):
            angle = yaw_between(clip.rotation, rotation)
        motion = Motion(angle, clip.position, position)
        inward = _inward(clip, motion, thing, target, env)
        return Motion(angle, clip.position, position + inward)
    released = clip.source.objects[clip.thing]
    box = clip.source.boxes[clip.thing]
    center = box.center_at(released[0][clip.end], released[1][clip.end])
    above = clip.predicate == "on" or family(kind) == "table"
    height = support_height(env, position, scene.body(thing), from_above=above)
    return Motion(angle, np.array([*center[:2], clip.support]), np.array([*position[:2], height]))


def _inward(clip: Clip, motion: Motion, thing: str, target: str, env: Environment) -> np.ndarray:
    """Return by how much a release into a region is moved toward its middle, m, (3,).

    So that all of the object lies over the region; not along directions in which it is longer
    than the region.
    """
    half = region_half(env, target)
    if clip.predicate != "in" or half is None:
        return np.zeros(3)
    places, turns = clip.source.objects[clip.thing]
    box = box_of(env, Frames(env).body(thing))
    rotation = motion.matrix @ turns[clip.end]
    source_box = clip.source.boxes[clip.thing]
    offset = motion.point(source_box.center_at(places[clip.end], turns[clip.end])) - motion.new
    room = half - np.abs(rotation) @ box.half
    wanted = np.clip(offset, -np.maximum(room, 0.0), np.maximum(room, 0.0)) - offset
    inward = np.where(room > 0.0, np.clip(wanted, -_INWARD, _INWARD), 0.0)
    return np.array([inward[0], inward[1], 0.0])


def operate_motion(clip: Clip, thing: str, env: Environment) -> Motion:
    """Return how an operation moves with its drawer, door or knob."""
    scene = Frames(env)
    position, rotation = joint_pose(scene, joint_frame(scene, thing))
    return Motion(yaw_between(clip.rotation, rotation), clip.position, position)


def drift(clip: Clip, motion: Motion) -> np.ndarray:
    """Return how the hand moved after a release until the fingers closed again, m, (n, 3)."""
    closed = np.flatnonzero(clip.source.gripper[clip.end :] > 0)
    last = clip.end + int(closed[0]) if len(closed) else len(clip.source)
    moved = clip.source.hand[clip.end + 1 : last + 1] - clip.source.hand[clip.end]
    return moved @ motion.matrix.T
