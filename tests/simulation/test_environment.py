from __future__ import annotations

import numpy as np
import pytest
from robosuite.utils.transform_utils import quat2axisangle

from common.errors import InvalidActionError, InvalidStateError, SettingError
from simulation.environment import BatchEnvironment, Environment
from simulation.scene import Fixtures
from simulation.tasks import get_task

DRAWER = get_task("KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")
BOWL = get_task("KITCHEN_SCENE5_put_the_black_bowl_on_the_plate")
SPATIAL = get_task(
    "libero_spatial/pick_up_the_black_bowl_between_the_plate_and_the_ramekin_and_place_it_on_the_"
    "plate"
)
ON_A_CABINET = get_task(
    "libero_spatial/pick_up_the_black_bowl_on_the_cookie_box_and_place_it_on_the_plate"
)


def _fixture_poses(upstream) -> np.ndarray:
    """Return positions and quaternions of upstream's fixtures, (F, 7)."""
    model, body = upstream.env.sim.model, upstream.env.obj_body_id
    names = [name for name in upstream.env.fixtures_dict if name in body]
    return np.array(
        [np.concatenate((model.body_pos[body[n]], model.body_quat[body[n]])) for n in names]
    )


def test_robot_state_is_that_at_the_end_of_the_step(pack, upstream, actions):
    theirs, ours = upstream(DRAWER, pack), Environment(DRAWER, pack)
    theirs.seed(3)
    theirs.reset()
    theirs.set_init_state(DRAWER.init_states()[7])
    ours.reset(seed=3, init_index=7)
    for action in actions[:5]:
        theirs.step(action)
        ours.step(action)
    observation = theirs.env._get_observations(force_update=True)
    robot = np.concatenate(
        (
            observation["robot0_eef_pos"],
            quat2axisangle(observation["robot0_eef_quat"].copy()),
            observation["robot0_gripper_qpos"],
        )
    )
    np.testing.assert_allclose(ours.proprio(), robot, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(ours.joints(), theirs.env.robots[0]._joint_positions)


def test_poses_after_a_step_are_a_simulator_step_older_than_joints(pack, actions):
    """As docs/simulation.md says; what is set or reset has both of one moment."""
    env, twin = Environment(DRAWER, pack), Environment(DRAWER, pack)
    env.reset(seed=3, init_index=7)
    twin.reset(seed=3, init_state=env.state(), fixtures=env.fixtures())
    np.testing.assert_array_equal(env.proprio(), twin.proprio())
    for action in actions[:5]:
        env.step(action)
        twin.set_state(env.state())
        np.testing.assert_array_equal(env.proprio()[6:], twin.proprio()[6:])
        np.testing.assert_array_equal(env.joints(), twin.joints())
        distance = np.linalg.norm(env.proprio()[:3] - twin.proprio()[:3])
        assert 1e-5 < distance < 1e-3
        names = env.policy_state_names
        hand = [names.index(f"eef_pos_{axis}") for axis in "xyz"]
        arm = [names.index(f"arm_joint_{i}") for i in range(7)]
        late, present = env.policy_state(), twin.policy_state()
        assert distance == np.linalg.norm(late[hand] - present[hand])
        np.testing.assert_array_equal(late[arm], present[arm])


def test_the_first_goal_is_upstreams_stale_one(pack, upstream):
    action = np.full(7, 0.5)
    theirs, stale, fresh = upstream(BOWL, pack), Environment(BOWL, pack), Environment(BOWL, pack)
    theirs.seed(3)
    theirs.reset()
    theirs.set_init_state(BOWL.init_states()[7])
    for env in (stale, fresh):
        env.reset(seed=3, init_index=7)
    fresh._controller.stale[0] = 0
    theirs.step(action)
    stale.step(action)
    fresh.step(action)
    goal = theirs.env.robots[0].controller.goal_pos
    np.testing.assert_array_equal(stale._controller.goal_position, goal)
    assert np.abs(fresh._controller.goal_position - goal).max() > 1e-3
    assert np.abs(fresh.state() - theirs.get_sim_state()).max() > 1e-4


@pytest.mark.parametrize("task", [BOWL, ON_A_CABINET], ids=lambda task: task.key)
def test_placements_follow_the_seed_as_upstreams_do(task, pack, upstream):
    """On a cabinet, too: where it is before the draw decides where the bowl on it is."""
    ours, poses = Environment(task, pack), []
    for seed in (0, 1):
        theirs = upstream(task, pack)
        theirs.seed(seed)
        theirs.reset()
        ours.reset(seed=seed)
        fixtures = ours.fixtures()
        poses.append(np.concatenate((fixtures.positions, fixtures.quaternions), axis=1))
        np.testing.assert_array_equal(poses[-1], _fixture_poses(theirs))
        np.testing.assert_array_equal(ours.data.qpos, theirs.env.sim.data.qpos)
    assert not np.array_equal(poses[0], poses[1])


def test_a_fresh_start_goes_on_as_upstreams_does(pack, upstream):
    """With this seed another warm start of the contact solver would show within a step."""
    theirs, ours = upstream(DRAWER, pack), Environment(DRAWER, pack)
    theirs.seed(883071)
    theirs.reset()
    ours.reset(seed=883071)
    for _ in range(3):
        theirs.step(np.zeros(7))
        ours.step(np.zeros(7))
        np.testing.assert_array_equal(ours.state(), theirs.get_sim_state())


def _rollout(env: Environment, actions: np.ndarray) -> np.ndarray:
    states = [env.state()]
    for action in actions:
        env.step(action)
        states.append(env.state())
    return np.array(states)


@pytest.mark.parametrize("index", [None, 4])
def test_an_episode_depends_on_seed_and_actions_alone(pack, actions, index):
    used, new = Environment(BOWL, pack), Environment(BOWL, pack)
    used.reset(seed=8, init_index=1)
    _rollout(used, actions[100:130])
    used.reset(seed=2)
    used.step(actions[0])
    for env in (used, new):
        env.reset(seed=5, init_index=index)
    assert np.array_equal(_rollout(used, actions[:30]), _rollout(new, actions[:30]))
    assert np.array_equal(used.policy_state(), new.policy_state())


def test_a_stored_state_and_fixtures_start_the_same_episode(pack, actions):
    first, second = Environment(BOWL, pack), Environment(BOWL, pack)
    first.reset(seed=5, init_index=2)
    second.reset(seed=5, init_state=first.state(), fixtures=first.fixtures())
    assert np.array_equal(_rollout(first, actions[:20]), _rollout(second, actions[:20]))


def test_batches_do_not_depend_on_the_number_of_threads(pack, actions):
    single = Environment(BOWL, pack)
    slots, seeds, indices = [0, 1, 2], [7, 8, 9], [None, 0, 3]
    results = []
    for threads in (1, 2, 5):
        batch = BatchEnvironment(BOWL, 3, pack, num_threads=threads)
        batch.reset(slots, seeds, indices)
        for k in range(15):
            success = batch.step(slots, actions[3 * k : 3 * k + 3])
        assert success.shape == (3,) and success.dtype == bool
        results.append([batch.envs[slot].state() for slot in slots])
        assert batch.policy_state(slots).shape == (3, len(batch.envs[0].policy_state_names))
        assert batch.proprio(slots[:2]).shape == (2, 8)
        batch.close()
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])
    for slot in slots:
        single.reset(seeds[slot], indices[slot])
        single.settle()
        states = _rollout(single, actions[slot:45:3])
        np.testing.assert_array_equal(states[-1], results[0][slot])


@pytest.mark.parametrize(
    "bad",
    [
        np.full(7, np.nan),
        np.array([0, 0, 0, 0, 0, 0, np.inf]),
        np.zeros(6),
        np.zeros((1, 7)),
    ],
)
def test_a_bad_action_leaves_the_episode_unchanged(pack, actions, bad):
    disturbed, other = Environment(DRAWER, pack), Environment(DRAWER, pack)
    batch = BatchEnvironment(DRAWER, 2, pack, num_threads=2)
    for env in (disturbed, other):
        env.reset(seed=1, init_index=0)
        env.step(actions[0])
    with pytest.raises(InvalidActionError):
        disturbed.step(bad)
    assert np.array_equal(_rollout(disturbed, actions[:5]), _rollout(other, actions[:5]))
    batch.reset([0, 1], [1, 1], [0, 0])
    before = batch.envs[0].state()
    with pytest.raises(InvalidActionError):
        batch.step([0, 1], [actions[0], bad])  # type: ignore[arg-type]
    assert np.array_equal(batch.envs[0].state(), before)
    batch.close()


@pytest.mark.parametrize(
    "arguments",
    [
        {"init_index": 50},
        {"init_index": -1},
        {"init_state": np.zeros(5)},
        {"init_state": BOWL.init_states()[0]},
        {"init_state": np.full(84, np.nan)},
        {"fixtures": Fixtures(("teapot_1",), np.zeros((1, 3)), np.zeros((1, 4)))},
    ],
    ids=["index", "negative", "size", "task", "nan", "fixtures"],
)
def test_a_bad_reset_leaves_the_episode_unchanged(pack, actions, arguments):
    disturbed, other = Environment(DRAWER, pack), Environment(DRAWER, pack)
    for env in (disturbed, other):
        env.reset(seed=1, init_index=0)
        env.step(actions[0])
    with pytest.raises(InvalidStateError):
        disturbed.reset(seed=2, **arguments)
    with pytest.raises(InvalidStateError):
        disturbed.set_state(np.zeros(3))
    assert (disturbed.seed, disturbed.init_index) == (1, 0)
    assert np.array_equal(_rollout(disturbed, actions[:5]), _rollout(other, actions[:5]))


def test_the_global_generator_is_left_alone(pack, actions):
    before = np.random.get_state(legacy=False)  # noqa: NPY002
    env = Environment(SPATIAL, pack)
    env.reset(seed=123)
    env.step(actions[0])
    after = np.random.get_state(legacy=False)  # noqa: NPY002
    np.testing.assert_equal(after, before)


def test_the_policys_state_is_named_and_finite(pack):
    env = Environment(BOWL, pack)
    env.reset(seed=0, init_index=0)
    values = dict(zip(env.policy_state_names, env.policy_state(), strict=True))
    assert len(values) == len(env.policy_state_names)
    assert np.isfinite(list(values.values())).all()
    bowl = env.object_position("akita_black_bowl_1")
    for axis, letter in enumerate("xyz"):
        assert values[f"akita_black_bowl_1_pos_{letter}"] == bowl[axis]
        difference = bowl[axis] - env.proprio()[axis]
        assert np.isclose(values[f"akita_black_bowl_1_to_eef_{letter}"], difference)
    with pytest.raises(KeyError, match="teapot"):
        env.object_position("teapot")


def test_an_episode_is_resumed_in_its_midst(pack, actions):
    env = Environment(DRAWER, pack)
    env.reset(seed=3, init_index=7)
    env.settle()
    env.restart()
    states = [env.state()]
    for action in actions[:30]:
        env.step(action)
        states.append(env.state())
    for resume, nearest in ((True, 0.0), (False, 1e-3)):
        start = env.fixtures()
        if resume:
            env.resume(3, states[20], start, actions[:20, -1])
        else:
            env.reset(3, init_state=states[20], fixtures=start)
        env.step(actions[20])
        off = np.abs(env.state()[1:10] - states[21][1:10]).max()
        assert off < 1e-9 if resume else off > nearest


def test_coarse_physics_is_near_and_leaves_exact_physics_alone(pack, actions):
    """Half as many simulator steps move the hand alike; afterwards all is exact to the bit."""
    batch, exact = BatchEnvironment(DRAWER, 1, pack), Environment(DRAWER, pack)
    exact.reset(seed=3, init_index=7)
    exact.settle()
    with batch.coarse(12):
        batch.reset([0], [3], [7])
        for action in actions[:20]:
            batch.step([0], action[None])
            exact.step(action)
        moved = exact.proprio()
        assert batch.envs[0].data.time == pytest.approx(exact.data.time)
        assert np.abs(batch.proprio([0])[0, :3] - moved[:3]).max() < 2e-3
        np.testing.assert_allclose(batch.proprio([0])[0, 6:], moved[6:], atol=1e-3)
        assert not np.array_equal(batch.proprio([0])[0], moved)
    batch.reset([0], [3], [7])
    for action in actions[:20]:
        batch.step([0], action[None])
    np.testing.assert_array_equal(batch.proprio([0])[0], moved)


@pytest.mark.parametrize("substeps", [9, 26])
def test_too_few_or_too_many_simulator_steps(pack, substeps):
    batch = BatchEnvironment(DRAWER, 1, pack)
    with pytest.raises(SettingError, match="10 to 25 simulator steps"), batch.coarse(substeps):
        pass
    assert batch.envs[0].model.opt.timestep == 0.002


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "7", None])
def test_a_seed_that_upstream_could_not_take_is_one_clear_error(pack, seed):
    env = Environment(BOWL, pack)
    env.reset(seed=5)
    before = env.state()
    with pytest.raises(SettingError, match="seed"):
        env.reset(seed)
    assert env.seed == 5 and np.array_equal(env.state(), before)


def test_a_seed_may_be_numpys(pack):
    env = Environment(BOWL, pack)
    env.reset(np.uint32(2**32 - 1))
    assert type(env.seed) is int and env.seed == 2**32 - 1
