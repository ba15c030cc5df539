"""Conditions from their names, and what an unknown axis or level is told."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from eval_harness.perturbations.base import PerturbationError
from eval_harness.perturbations.camera import Camera
from eval_harness.perturbations.light import Light
from eval_harness.perturbations.noise import Noise
from eval_harness.perturbations.table import (
    AXES,
    Condition,
    make_condition,
    parse_axes,
    parse_condition,
    parse_levels,
    read_condition,
)
from eval_harness.protocols import PROTOCOLS
from simulation.tasks import list_tasks


def test_names_and_levels() -> None:
    assert parse_axes("light, noise+camera") == ["light", "camera+noise"]
    assert parse_axes("all") == list(AXES)
    assert parse_levels("0-5") == [0, 1, 2, 3, 4, 5] and parse_levels("3") == [0, 3]
    assert parse_condition("noise+camera", 2) == (Camera(2), Noise(2))
    assert make_condition([Light(1), Camera(0)]) == (Light(1),)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: parse_axes("camera,wind"), "unknown axis 'wind'; there are camera"),
        (lambda: parse_levels("0-6"), "levels are 0 .control. to 5, not 6"),
        (lambda: parse_levels("0-" + "9" * 30), "to 5, not 9999"),
        (lambda: parse_levels("3-1,2"), "from low to high, not as 3-1"),
        (lambda: parse_levels("much"), "given as 0-5"),
        (lambda: Camera(6), "camera has levels 0"),
        (lambda: parse_condition("camera+camera", 1), "twice"),
    ],
)
def test_bad_input_is_one_error(call, reason: str) -> None:
    with pytest.raises(PerturbationError, match=reason):
        call()


def test_digest_tells_conditions_apart_and_control_is_the_protocol() -> None:
    own = PROTOCOLS["openpi"]

    def digest(*perturbations) -> str:
        return dataclasses.replace(own, perturbations=perturbations).digest()

    assert digest(Camera(0), Noise(0)) == own.digest()
    conditions: list[Condition] = [(kind(level),) for kind in AXES.values() for level in (1, 4)]
    conditions += [(Camera(2), Light(2)), (Camera(1, azimuth=10.0),)]
    digests = {digest(*condition) for condition in conditions}
    assert len(digests) == len(conditions) and own.digest() not in digests
    assert digest(Light(2), Camera(2)) == digest(Camera(2), Light(2))


def test_condition_is_read_back_from_a_protocol_s_json() -> None:
    condition = (Camera(3), Noise(2, fog=0.5))
    protocol = dataclasses.replace(PROTOCOLS["openpi"], perturbations=condition)
    assert read_condition(protocol.as_dict()) == condition
    assert read_condition(PROTOCOLS["openpi"].as_dict()) == ()
    broken = {"perturbations": [{"axis": "camera", "version": 99, "level": 1}]}
    with pytest.raises(PerturbationError, match="version 99"):
        read_condition(broken)


def test_draws_differ_by_task_and_seed_and_levels_lie_on_a_line() -> None:
    task, other = list_tasks("libero_goal")[:2]
    moves = [Camera(level).draw(task, 5) for level in range(1, 6)]
    turns = np.array([move.azimuth for move in moves])
    assert np.all(np.diff(np.abs(turns)) > 0) and len(set(np.sign(turns))) == 1
    assert Camera(2).draw(task, 5) == Camera(2).draw(task, 5)
    assert Camera(2).draw(task, 6) != Camera(2).draw(task, 5) != Camera(2).draw(other, 5)
