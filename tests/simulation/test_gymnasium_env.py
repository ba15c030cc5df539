from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from common.errors import InvalidActionError, InvalidStateError, RenderError, SettingError
from simulation.environment import Environment
from simulation.gymnasium_env import ENV_ID, LiberoEnv, LiberoVectorEnv
from simulation.observations import Observer
from simulation.pictures.rendering import choose_backend
from simulation.tasks import get_task

KEY = "libero_90/KITCHEN_SCENE5_put_the_black_bowl_on_the_plate"
TASK = get_task(KEY)
HOLD = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0])


def _make(**settings: Any) -> LiberoEnv:
    return gymnasium.make(ENV_ID, task=KEY, **settings).unwrapped  # type: ignore[return-value]


def _dropped_bowl() -> np.ndarray:
    """Return a state in which the bowl will fall onto the plate, which is the goal."""
    env = Environment(TASK)
    env.reset(seed=0, init_index=0)
    state = env.state()
    bowl = next(o.body for o in env.scene.objects if o.name == "akita_black_bowl_1")
    address = 1 + env.model.jnt_qposadr[env.model.body_jntadr[bowl]]
    state[address : address + 3] = env.object_position("plate_1") + np.array([0.0, 0.0, 0.2])
    return state


def _has_opengl() -> bool:
    try:
        choose_backend()
    except RenderError:
        return False
    return True


def test_gymnasium_imports_the_module_that_an_id_names():
    code = f"import gymnasium; env = gymnasium.make('simulation.gymnasium_env:{ENV_ID}', "
    code += f"task='{KEY}'); print(env.spec.id, env.action_space.shape)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert output.stdout.strip() == f"{ENV_ID} (7,)", output.stderr


@pytest.mark.parametrize("observation", ["proprio", ("proprio", "joint", "privileged")])
def test_gymnasiums_own_checks_pass(observation):
    env = gymnasium.make(ENV_ID, task=KEY, observation=observation)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*Box observation space m.* value is .*inf.*")
        check_env(env.unwrapped, skip_render_check=True)
    env.close()


def test_reset_and_step_give_what_the_simulator_gives(actions):
    env = _make(observation=("proprio", "joint", "privileged"), init_index=3)
    twin = Environment(TASK)
    observer = Observer(twin)
    observation, info = env.reset(seed=11)
    twin.reset(seed=11, init_index=3)
    twin.settle()
    assert info == {"seed": 11, "init_index": 3}
    for action in actions[:5]:
        assert isinstance(observation, dict)
        np.testing.assert_array_equal(observation["proprio"], observer.proprio())
        np.testing.assert_array_equal(observation["joint"], observer.joint())
        np.testing.assert_array_equal(observation["privileged"], observer.privileged())
        observation, reward, terminated, truncated, info = env.step(action)
        twin.step(action)
        assert (reward, terminated, truncated, info) == (0.0, False, False, {"success": False})
    np.testing.assert_array_equal(env.env.state(), twin.state())


def test_success_terminates_and_the_horizon_truncates():
    env = _make(horizon=4, settle_steps=0)
    env.reset(seed=0, options={"init_index": 0})
    ends = [env.step(HOLD)[1:4] for _ in range(4)]
    assert ends == [(0.0, False, False)] * 3 + [(0.0, False, True)]
    env = _make(settle_steps=0)
    env.reset(seed=0, options={"init_state": _dropped_bowl()})
    rewards: list[float] = []
    while 1.0 not in rewards and len(rewards) < 60:
        _, reward, terminated, truncated, info = env.step(HOLD)
        assert reward == float(terminated) and info["success"] == terminated and not truncated
        rewards.append(reward)
    assert rewards[0] == 0.0 and rewards[-1] == 1.0


def test_resets_are_a_function_of_the_seed():
    first, second = _make(init_index="random"), _make(init_index="random")
    infos = []
    for env in (first, second):
        infos.append([env.reset(seed=7)[1], env.reset()[1], env.reset()[1]])
    assert infos[0] == infos[1]
    assert len({info["seed"] for info in infos[0]}) == 3
    assert all(0 <= info["init_index"] < 50 for info in infos[0])
    assert first.reset(seed=7)[1] == infos[0][0]


@pytest.mark.parametrize(
    "settings",
    [
        {"observation": "sound"},
        {"observation": ()},
        {"init_index": "first"},
        {"init_index": 3.5},
        {"settle_steps": -1},
        {"horizon": 0},
        {"cameras": ()},
    ],
)
def test_a_bad_setting_is_one_clear_error(settings):
    with pytest.raises(SettingError):
        LiberoEnv(task=KEY, **settings)


def test_cameras_may_be_the_name_of_one():
    env = LiberoEnv(task=KEY, observation="pixels", cameras="agentview")
    space: Any = env.observation_space
    assert list(space) == ["agentview_image"]


def test_bad_arguments_are_one_clear_error():
    env = _make()
    env.reset(seed=0)
    for options in ({"init_index": 50}, {"init_state": np.zeros(4)}):
        with pytest.raises(InvalidStateError):
            env.reset(seed=0, options=options)
    with pytest.raises(SettingError, match="init_idx"):
        env.reset(options={"init_idx": 1})
    with pytest.raises(SettingError, match="outside"):
        env.reset(seed=2**32)
    with pytest.raises(InvalidActionError):
        env.step(np.zeros(6))
    vector = LiberoVectorEnv(2, task=KEY)
    vector.reset(seed=0)
    with pytest.raises(InvalidActionError, match="7"):
        vector.step(np.zeros((3, 7)))
    with pytest.raises(SettingError, match="seeds"):
        vector.reset(seed=[1])
    for mask in (np.ones(3, dtype=bool), [[True], [True, False]]):
        with pytest.raises(SettingError, match="reset_mask"):
            vector.reset(options={"reset_mask": mask})
    vector.close()


@pytest.fixture(scope="module")
def bare() -> LiberoEnv:
    """An environment without settling, right after a reset."""
    env = LiberoEnv(task=KEY, settle_steps=0)
    env.reset(seed=4)
    return env


@pytest.fixture
def vector() -> Iterator[LiberoVectorEnv]:
    env = LiberoVectorEnv(2, task=KEY, settle_steps=0, num_threads=1)
    yield env
    env.close()


NO_INDICES: list[Any] = ["foo", 3.5, np.zeros(2), [1]]
NO_STATES: list[Any] = ["x", [[1.0], 2.0], {"qpos": 1}, np.zeros(3) + 1j, [None] * 4]
NO_ACTIONS: list[Any] = ["abc", "1234567", [[1], 2, 3], np.zeros(7) + 1j, [None] * 7, [np.inf] * 7]


@pytest.mark.parametrize("index", NO_INDICES)
def test_an_init_index_that_is_no_number_is_one_clear_error(bare, index):
    with pytest.raises(SettingError, match=r"init_index .*whole number"):
        bare.reset(options={"init_index": index})
    with pytest.raises(InvalidStateError, match="whole number"):
        bare.env.reset(0, index)


@pytest.mark.parametrize("state", NO_STATES)
def test_a_state_that_is_no_numbers_is_one_clear_error(bare, state):
    with pytest.raises(InvalidStateError, match="state"):
        bare.reset(options={"init_state": state})


@pytest.mark.parametrize("action", NO_ACTIONS)
def test_an_action_that_is_no_numbers_is_one_clear_error(bare, vector, action):
    before = bare.env.state()
    with pytest.raises(InvalidActionError):
        bare.step(action)
    np.testing.assert_array_equal(bare.env.state(), before)
    vector.reset(seed=0)
    before = [env.state() for env in vector._batch.envs]
    for batch in (action, [HOLD, action]):
        with pytest.raises(InvalidActionError):
            vector.step(batch)
    np.testing.assert_array_equal([env.state() for env in vector._batch.envs], before)


@pytest.mark.parametrize("action", [[0] * 7, HOLD.astype(np.float32), np.repeat(HOLD, 2)[::2]])
def test_actions_may_be_of_any_real_type(bare, action):
    bare.step(action)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "ab", [1, "b"], [1, -1], 2**32 - 1, {1, 2}])
def test_a_seed_that_no_reset_takes_is_one_clear_error(bare, vector, seed):
    with pytest.raises(SettingError, match="seed"):
        vector.reset(seed=seed)
    assert vector._observations == [None, None]
    if seed != 2**32 - 1:  # whose slot 1 would have the next
        with pytest.raises(SettingError, match="seed"):
            bare.reset(seed=seed)


def test_whole_numbers_may_be_numpys(bare, vector):
    options = {"init_index": np.int64(7)}
    assert bare.reset(seed=np.int64(3), options=options)[1] == {"seed": 3, "init_index": 7}
    for seeds in (np.int64(3), np.array(3), np.array([3, 4]), [np.uint8(3), np.int32(4)]):
        infos = vector.reset(seed=seeds, options=options)[1]
        assert infos["seed"].tolist() == [3, 4] and infos["init_index"].tolist() == [7, 7]


def test_the_first_reset_of_a_vector_is_of_all_slots(vector):
    mask = np.array([True, False])
    with pytest.raises(SettingError, match=r"slots \[1\] have had no episode"):
        vector.reset(seed=0, options={"reset_mask": mask})
    vector.reset(seed=0)
    vector.reset(seed=5, options={"reset_mask": mask})
    assert [env.seed for env in vector._batch.envs] == [5, 1]


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_a_vector_gives_what_single_environments_give(mode, actions):
    """Through success in slot 1, truncation in all, and the resets that follow."""
    observation = ("proprio", "privileged")
    settings: dict[str, Any] = {"observation": observation, "horizon": 6, "settle_steps": 1}
    ours = gymnasium.make_vec(ENV_ID, 3, task=KEY, autoreset_mode=mode, num_threads=2, **settings)
    theirs = SyncVectorEnv([lambda: LiberoEnv(task=KEY, **settings)] * 3, autoreset_mode=mode)
    assert ours.metadata["autoreset_mode"] is mode
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    results: list[Any] = [ours.reset(seed=5), theirs.reset(seed=5)]
    ended = 0
    for k in range(15):
        assert data_equivalence(results[0][:4], results[1][:4], exact=True)
        _assert_same_infos(results[0][-1], results[1][-1])
        batch = actions[3 * k : 3 * k + 3]
        results = [ours.step(batch), theirs.step(batch)]
        ended += int(results[0][3].any())
    assert ended == 2
    ours.close()


def _assert_same_infos(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Compare what is said of the slots for which something is said."""
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        if isinstance(value, dict):
            _assert_same_infos(ours[key], value)
        elif key == "final_obs":
            assert all(data_equivalence(a, b) for a, b in zip(ours[key], value, strict=True))
        else:
            np.testing.assert_array_equal(ours[key], value)


def test_a_slot_that_succeeds_does_so_alone():
    env = LiberoVectorEnv(2, task=KEY, settle_steps=0, autoreset_mode="Disabled")
    env.reset(seed=0)
    mask = np.array([False, True])
    env.reset(options={"init_state": _dropped_bowl(), "reset_mask": mask})
    for _ in range(60):
        _, rewards, terminated, truncated, infos = env.step(np.stack([HOLD, HOLD]))
        if terminated.any():
            break
    assert rewards.tolist() == [0.0, 1.0] and terminated.tolist() == [False, True]
    assert not truncated.any() and infos["success"].tolist() == [False, True]
    with pytest.raises(SettingError, match="reset_mask"):
        env.step(np.stack([HOLD, HOLD]))
    env.reset(options={"reset_mask": mask})
    assert env.step(np.stack([HOLD, HOLD]))[2].tolist() == [False, False]
    env.close()


@pytest.mark.skipif(not _has_opengl(), reason="no OpenGL renders here")
def test_pictures_are_drawn_on_request():
    settings: dict[str, Any] = {"cameras": ("agentview", "frontview"), "width": 48, "height": 32}
    sets = ("pixels", "depth", "segmentation", "proprio")
    env = _make(observation=sets, render_mode="rgb_array", **settings)
    observation, _ = env.reset(seed=0)
    assert isinstance(observation, dict) and observation in env.observation_space
    kinds = ("image", "depth", "segmentation")
    keys = {f"{camera}_{kind}" for camera in settings["cameras"] for kind in kinds}
    assert observation.keys() == keys | {"proprio"}
    depth, geoms = observation["agentview_depth"], observation["agentview_segmentation"]
    assert depth.shape == geoms.shape == (32, 48, 1) and len(np.unique(geoms)) > 5
    assert depth[0].mean() < depth[-1].mean()  # the lowest row, nearest to the camera, is first
    picture = observation["agentview_image"]
    assert picture.shape == (32, 48, 3) and picture.std() > 10
    for key in keys:
        assert torch.from_numpy(observation[key]).shape == observation[key].shape
    rendered = env.render()
    assert rendered is not None
    apart, flipped = (np.abs(rendered - p.astype(float)).mean() for p in (picture, picture[::-1]))
    assert flipped < 3 < apart
    env.close()
    vector = LiberoVectorEnv(2, task=KEY, observation="pixels", settle_steps=1, **settings)
    batch, _ = vector.reset(seed=0)
    assert isinstance(batch, dict) and batch["agentview_image"].shape == (2, 32, 48, 3)
    vector.close()
