"""What a no-op is, and what is kept of a demonstration with some, replayed in the simulator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from demonstrations.config import Style
from demonstrations.noops import QUIET, needed_steps, replay_person
from demonstrations.scripted import Scripted
from simulation.assets.resolve import embedded_pack
from simulation.environment import Environment
from simulation.recordings.episode import EpisodeInfo
from simulation.recordings.recordings import Recording
from simulation.recordings.trajectories import Episode
from simulation.tasks import get_task

STILL = [0.0] * 6


def step(*motion: float, gripper: float = -1.0) -> list[float]:
    return [*motion, *[0.0] * (6 - len(motion)), gripper]


@pytest.mark.parametrize(
    ("actions", "needed"),
    [
        ([step(), step(0.5), step(), step(), step(0.5), step()], [1, 4]),
        ([step(gripper=1.0), step(gripper=-1.0)], []),
        ([step(0.5), step(gripper=1.0), step(gripper=1.0), step(gripper=-1.0)], [0, 1, 3]),
        ([step(0.5), step(QUIET * 0.9), step(QUIET * 1.1)], [0, 2]),
        ([step(0.5), step(*[QUIET * 0.9] * 2)], [0, 1]),
        ([[*STILL[:5], 0.5, -1.0], step()], [0]),
    ],
)
def test_needed_steps(actions: list[list[float]], needed: list[int]) -> None:
    assert needed_steps(np.array(actions)).tolist() == needed


def recorded(env: Environment, episode: Episode, actions: np.ndarray) -> Recording:
    """A recording that begins where an episode did, of these actions and the episode's states."""
    info = EpisodeInfo(2**31 + 5, method="human")
    states, fixtures = episode.states, episode.fixtures
    return Recording(env.task, states[0], actions, states, fixtures, info)


def paused(actions: np.ndarray, every: int) -> np.ndarray:
    """Return the actions with a pause of one step after each `every` of them."""
    still = actions * ([0.0] * 6 + [1.0])
    ends = np.arange(every, len(actions), every)
    return np.insert(actions, ends, still[ends - 1], axis=0)


def test_pauses_are_dropped(drawer: Environment, successes: list[Episode]) -> None:
    episode = successes[0]
    actions = paused(episode.actions, every=10)
    recording = recorded(drawer, episode, actions)
    found = replay_person(drawer, recording, drop_noops=True)
    assert found.kept == "filtered" and found.episode is not None
    assert found.noops == len(actions) - len(episode) > 0
    kept = len(found.episode)
    np.testing.assert_array_equal(found.episode.actions, episode.actions[:kept])
    unpaused = replay_person(drawer, recorded(drawer, episode, episode.actions), drop_noops=False)
    assert unpaused.episode is not None
    np.testing.assert_array_equal(found.episode.states, unpaused.episode.states)
    assert found.dropped == (kept - 1) // 10
    assert found.episode.info.seed == 2**31 + 5 and found.episode.info.method == "human"
    whole = replay_person(drawer, recording, drop_noops=False)
    assert (whole.kept, whole.noops, whole.dropped) == ("replayed", found.noops, 0)
    assert whole.episode is not None
    np.testing.assert_array_equal(whole.episode.actions[: len(actions)], actions)


def test_pauses_after_the_last_action_count_where_it_is_held_instead(
    drawer: Environment, successes: list[Episode]
) -> None:
    """The recording ends before success, which holding its last action brings about."""
    episode = successes[0]
    for left in range(2, 16):
        short = episode.actions[:-left]
        held = replay_person(drawer, recorded(drawer, episode, short), drop_noops=True)
        if held.kept == "replayed" and held.episode is not None and len(held.episode) > len(short):
            break
    else:
        pytest.fail("no end of this episode can be held")
    waits = np.concatenate((short, np.repeat(short[-1:] * ([0.0] * 6 + [1.0]), 5, axis=0)))
    found = replay_person(drawer, recorded(drawer, episode, waits), drop_noops=True)
    assert found.episode is not None and len(found.episode) == len(held.episode)
    assert (found.kept, found.noops, found.dropped) == ("filtered", 5, 5)


def test_nothing_is_dropped_where_there_is_nothing(
    drawer: Environment, successes: list[Episode]
) -> None:
    recording = recorded(drawer, successes[0], successes[0].actions)
    found = replay_person(drawer, recording, drop_noops=True)
    assert (found.kept, found.noops, found.dropped) == ("replayed", 0, 0)


def test_waiting_for_the_gripper_stays() -> None:
    """Without its wait the arm lifts before the fingers hold the bowl's rim."""
    task = get_task("libero_90/KITCHEN_SCENE5_put_the_black_bowl_on_the_plate")
    env = Environment(task, embedded_pack())
    env.reset(0, 0)
    env.settle()
    episode = Scripted(task).demonstrate(env, "low", np.random.default_rng(0), Style())
    actions = episode.actions.copy()
    close = int(np.flatnonzero(np.diff(actions[:, 6]) > 0)[0]) + 1
    actions[close : close + 10, :6] = 0.0
    found = replay_person(env, recorded(env, episode, actions), drop_noops=True)
    assert (found.kept, found.noops, found.dropped) == ("unfiltered", 9, 0)
    assert found.episode is not None and found.episode.info.success
    np.testing.assert_array_equal(found.episode.actions[:close], actions[:close])


def test_recorded_states_are_the_truth_where_no_replay_succeeds(
    drawer: Environment, successes: list[Episode]
) -> None:
    episode = successes[0]
    lost = episode.actions * ([-1.0] * 6 + [1.0])
    lost[-2:] = episode.actions[-2:]
    found = replay_person(drawer, recorded(drawer, episode, lost), drop_noops=True)
    assert found.kept == "recorded" and found.episode is not None and found.episode.info.success
    np.testing.assert_array_equal(found.episode.states, episode.states)
    np.testing.assert_array_equal(found.episode.actions, lost)
    np.testing.assert_allclose(found.episode.proprio, episode.proprio, atol=5e-3)
    drawer.set_state(found.episode.final_state)
    assert drawer.success()


def test_recorded_states_end_with_the_first_success(
    drawer: Environment, successes: list[Episode]
) -> None:
    episode = successes[0]
    lost = np.repeat(episode.actions[:1] * ([-1.0] * 6 + [1.0]), len(episode) + 3, axis=0)
    states = np.concatenate((episode.states, np.repeat(episode.final_state[None], 3, axis=0)))
    recording = replace(recorded(drawer, episode, lost), states=states)
    found = replay_person(drawer, recording, drop_noops=True)
    assert found.kept == "recorded" and found.episode is not None
    assert len(found.episode) == len(episode)
    np.testing.assert_array_equal(found.episode.final_state, episode.final_state)


def test_what_never_succeeds_is_left_out(drawer: Environment, successes: list[Episode]) -> None:
    episode = successes[0]
    half = len(episode) // 2
    recording = recorded(drawer, episode, np.zeros((half, 7)))
    for known in (
        replace(recording, states=episode.states[:half]),
        replace(recording, states=None),
    ):
        found = replay_person(drawer, known, drop_noops=True)
        assert (found.kept, found.episode, found.noops) == ("left out", None, half)
