"""Thin parts are read from the boxes of a model: a pan's handle, a pot's handle and knob."""

from __future__ import annotations

import numpy as np
import pytest

from demonstrations.affordances import hand
from demonstrations.affordances.geometry import bounds, clearance, geoms, obstacle_geoms, pose
from demonstrations.affordances.parts import Part, find_parts, hand_clearance
from simulation.environment import Environment
from simulation.tasks import get_task

PAN, POT = "chefmate_8_frypan_1", "moka_pot_1"


@pytest.fixture(scope="module")
def env() -> Environment:
    env = Environment(get_task("libero_90/KITCHEN_SCENE3_put_the_moka_pot_on_the_stove"))
    env.reset(0, 0)
    env.settle()
    return env


def reach(env: Environment, name: str, part: Part) -> float:
    """Return a part's horizontal distance from the object's origin, m."""
    return float(np.linalg.norm((part.grasp.position - pose(env, name)[0])[:2]))


def test_a_pans_handle_is_grasped_across_and_its_wall_is_the_rim(env: Environment) -> None:
    parts = find_parts(env, PAN)
    handle = [part for part in parts if reach(env, PAN, part) > 0.15]
    along = pose(env, PAN)[1][:, 0]
    turns = [abs(float(hand.closing_axis(part.grasp.yaw) @ along)) for part in handle]
    assert min(turns) < 0.02
    assert all(0.01 < part.width < 0.03 for part in handle)
    assert any(0.06 < reach(env, PAN, part) < 0.1 and part.width < 0.012 for part in parts)


def test_a_moka_pot_has_a_knob_and_a_handle_that_is_met_from_both_sides(env: Environment) -> None:
    parts = find_parts(env, POT)
    low, high = bounds(env, POT)
    knob = max(parts, key=lambda part: part.height)
    assert knob.height == pytest.approx(high[2] - low[2], abs=0.003)
    assert knob.width < 0.014 and reach(env, POT, knob) < 0.01
    handle = [part for part in parts if reach(env, POT, part) > 0.06]
    assert {bool(part.grasp.yaw > 0) for part in handle} == {True, False}


def test_the_open_hand_meets_nothing_where_a_part_is_free(env: Environment) -> None:
    own, others = geoms(env, POT), obstacle_geoms(env, (POT,))
    for part in find_parts(env, POT):
        points = hand.points(part.grasp.position, part.grasp.yaw)
        assert clearance(env, points, own) > 0
        assert part.free <= clearance(env, points, others) + 1e-9


def test_a_thin_edge_between_the_hands_points_counts(env: Environment) -> None:
    edge = geoms(env, POT)[-1:]
    at = env.data.geom_xpos[edge[0]] + np.array([0.0, 0.0, -0.07])
    sideways = np.array([0.0, 1.0, 0.0])
    for shift in np.linspace(-0.08, 0.08, 9):
        assert hand_clearance(env, at + shift * sideways, 0.0, edge) == 0.0
    assert hand_clearance(env, at + 0.3 * sideways, 0.0, edge) > 0.1
