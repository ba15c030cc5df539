from __future__ import annotations

import ctypes

import mujoco
import numba
import numpy as np
import pytest

from simulation.environment import Environment
from simulation.physics.lanes import pointers
from simulation.physics.problem import CAPACITY, LIBRARY, ContactProblem, is_supported
from simulation.physics.solver import constrain, prepare
from simulation.tasks import get_task

DRAWER = get_task("KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")
LIVING_ROOM = get_task("LIVING_ROOM_SCENE5_put_the_red_mug_on_the_left_plate")
RESULTS = ("qacc", "qacc_warmstart", "qfrc_constraint", "efc_force", "efc_state", "efc_b")
_library = ctypes.CDLL(str(LIBRARY))


@numba.njit(cache=True)
def _solve(problem, repeated, final):
    p = pointers(problem)
    if not repeated:
        prepare(p)
    constrain(p, repeated, final)


def _call(name: str, env: Environment) -> None:
    getattr(_library, name)(ctypes.c_void_p(env.model._address), ctypes.c_void_p(env.data._address))


def _upstreams(env: Environment, warm: np.ndarray) -> dict[str, np.ndarray]:
    env.data.qacc_warmstart[:] = warm
    _call("mj_fwdConstraint", env)
    return {name: getattr(env.data, name).copy() for name in RESULTS}


def _assert_same(env: Environment, problem: ContactProblem, warm: np.ndarray) -> int:
    """Compare both solvers from a warm start and from its solution; return the iterations."""
    iterations = 0
    for repeated in (False, True):
        expected = _upstreams(env, warm)
        iterations = max(iterations, int(env.data.solver_niter[0]))
        env.data.qacc_warmstart[:] = warm
        _solve(problem, repeated, True)
        for name in RESULTS:
            assert np.array_equal(getattr(env.data, name), expected[name]), name
        warm = expected["qacc"]
    return iterations


@pytest.mark.parametrize("task", [DRAWER, LIVING_ROOM], ids=lambda task: task.key)
def test_every_solution_has_mujocos_bits(task, pack, actions):
    env = Environment(task, pack)
    env.reset(seed=1, init_index=2)
    problem = ContactProblem.of(env.model, env.data)
    assert problem.supported
    rng = np.random.default_rng(0)
    iterations, states = [], set()
    for action in actions[:50]:
        env.step(action)
        env.data.qvel[:] += 0.3 * rng.normal(size=env.model.nv)
        for stage in ("mj_step1", "mj_fwdActuation", "mj_fwdAcceleration"):
            _call(stage, env)
        last = env.data.qacc_warmstart.copy()
        for noise in (0.0, 1e-3, 1.0, 1e3):
            warm = last + noise * rng.normal(size=env.model.nv)
            iterations.append(_assert_same(env, problem, warm))
            states |= set(env.data.efc_state.tolist())
    assert max(iterations) > 5
    assert states == set(range(5))


def test_settings_that_it_was_not_written_for_go_to_mujocos_solver(pack, actions):
    env = Environment(DRAWER, pack)
    env.reset(seed=1, init_index=2)
    env.step(actions[0])
    for change, value in (
        ("solver", mujoco.mjtSolver.mjSOL_CG),
        ("cone", mujoco.mjtCone.mjCONE_PYRAMIDAL),
        ("jacobian", mujoco.mjtJacobian.mjJAC_SPARSE),
        ("noslip_iterations", 3),
    ):
        before = getattr(env.model.opt, change)
        setattr(env.model.opt, change, value)
        assert not is_supported(env.model)
        data = mujoco.MjData(env.model)
        data.qpos[:] = env.data.qpos
        mujoco.mj_forward(env.model, data)
        problem = ContactProblem.of(env.model, data)
        expected = data.qacc.copy()
        data.qacc_warmstart[:] = 0.0
        data.qacc[:] = 0.0
        _solve(problem, False, True)
        assert np.array_equal(data.qacc, expected)
        setattr(env.model.opt, change, before)
    assert is_supported(env.model)


def test_it_reads_mjdata_where_mujoco_keeps_it(pack, actions):
    env = Environment(DRAWER, pack)
    env.reset(seed=1, init_index=2)
    for action in actions[:20]:
        env.step(action)
    data, problem = env.data, ContactProblem.of(env.model, env.data)
    assert data.ncon > 0
    assert problem.sizes.tolist() == [data.ncon, data.ne, data.nf, data.nl, data.nefc]
    names = {
        0: data.contact.dist, 1: data.efc_type, 2: data.efc_id, 11: data.efc_J,
        15: data.efc_frictionloss, 18: data.efc_D, 19: data.efc_R, 35: data.efc_aref,
        36: data.efc_b, 37: data.efc_force, 38: data.efc_state,
    }  # fmt: skip
    for index, array in names.items():
        assert int(problem.fields[index]) == array.ctypes.data
    base = data.contact.dist.ctypes.data
    assert data.contact.dist.strides == (72 * 8,)
    assert data.contact.friction.ctypes.data == base + 14 * 8
    assert data.contact.mu.ctypes.data == base + 28 * 8
    assert data.contact.dim.ctypes.data == base + 130 * 4
    assert data.contact.geom.ctypes.data == base + 133 * 4


def test_more_rows_than_there_is_room_for_go_to_mujocos_solver():
    spheres = "".join(
        f'<body pos="{0.3 * (i % 18)} {0.3 * (i // 18)} 0.099"><freejoint/>'
        f'<geom size="0.1" condim="3"/></body>'
        for i in range(9)
    )
    count = CAPACITY // 27 + 1
    layers = "".join(
        f'<geom type="plane" size="9 9 1" pos="0 0 {-1e-5 * i}"/>' for i in range(count)
    )
    model = mujoco.MjModel.from_xml_string(
        f'<mujoco><option cone="elliptic" jacobian="dense"/><worldbody>{layers}{spheres}'
        "</worldbody></mujoco>"
    )
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    assert data.nefc > CAPACITY
    expected = data.qacc.copy()
    data.qacc_warmstart[:] = 0.0
    _solve(ContactProblem.of(model, data), False, True)
    assert np.array_equal(data.qacc, expected)


def test_a_model_whose_dofs_do_not_fill_the_last_lanes():
    bodies = "".join(
        f'<body pos="{0.15 * (i % 3)} {0.15 * (i // 3)} {0.09 + 0.001 * i}"><freejoint/>'
        f'<geom type="{kind}" size="0.1 0.1 0.1" condim="{dim}" friction="0.6 0.01 0.001"/></body>'
        for i, (kind, dim) in enumerate([("box", 3), ("sphere", 6), ("box", 4), ("sphere", 1)])
    )
    model = mujoco.MjModel.from_xml_string(
        '<mujoco><option cone="elliptic" impratio="20" jacobian="dense"/><worldbody>'
        f'<geom type="plane" size="9 9 1" condim="1"/>{bodies}<body pos="0.5 0 1">'
        '<joint name="hinge" axis="0 1 0" range="-0.1 0.1" limited="true" frictionloss="0.2"/>'
        '<geom size="0.1" pos="0.2 0 0"/></body><body pos="1 0 1"><joint name="other" axis="0 1 0" '
        'frictionloss="0.1"/><geom size="0.1" pos="0.2 0 0"/></body><body pos="1 1 1"><joint '
        'type="ball"/><geom size="0.1" pos="0.2 0 0"/></body></worldbody><equality>'
        '<joint joint1="hinge" joint2="other"/></equality></mujoco>'
    )
    assert model.nv % 4 != 0
    data = mujoco.MjData(model)
    problem = ContactProblem.of(model, data)
    rng = np.random.default_rng(0)
    data.qvel[:] = rng.normal(size=model.nv)
    seen = set()
    for _ in range(200):
        warm = data.qacc_warmstart + 0.1 * rng.normal(size=model.nv)
        data.qacc_warmstart[:] = warm
        mujoco.mj_forward(model, data)
        expected = {name: getattr(data, name).copy() for name in RESULTS}
        data.qacc_warmstart[:] = warm
        _solve(problem, False, True)
        for name in RESULTS:
            assert np.array_equal(getattr(data, name), expected[name]), name
        seen |= set(zip(data.efc_type.tolist(), data.efc_state.tolist(), strict=True))
        mujoco.mj_step(model, data)
    assert {kind for kind, _ in seen} == {0, 1, 3, 5, 7}
