"""Evaluations run for real: the same answers however they are run, and through every mishap."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import SettingError
from demonstrations.config import DemonstrationConfig
from demonstrations.make import make_demonstrations
from eval_harness.asking import check_chunks
from eval_harness.evaluation import evaluate, is_complete
from eval_harness.merging import merge
from eval_harness.plan import Shard, make_items
from eval_harness.policies.random import RandomPolicy
from eval_harness.policies.replay import ReplayPolicy
from eval_harness.policies.scripted import ScriptedPolicy
from eval_harness.policy import EpisodeKey, Observation, Policy, PolicyError, Requirements
from eval_harness.protocols import PROTOCOLS, Protocol
from eval_harness.results import (
    EpisodeResult,
    Results,
    ResultsError,
    load_results,
    summarise,
)
from eval_harness.runner import RunConfig, RunError, run
from eval_harness.sequential.rules import StoppingRule
from simulation.assets.resolve import AssetPack, embedded_pack, resolve_assets
from simulation.pictures.rendering import Renderer
from simulation.tasks import SUITES, Task, get_task, list_tasks

DRAWER = get_task("libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")
STOVE = get_task("libero_goal/turn_on_the_stove")
BOWL = list_tasks("libero_spatial")[5]
TASKS = (DRAWER, STOVE)
HORIZON = 12


@pytest.fixture(scope="module")
def pack() -> AssetPack:
    return embedded_pack()


def short(name: str = "openvla_oft", **changes) -> Protocol:
    """Return a protocol with episodes of 12 steps and small pictures."""
    settings = {"horizons": dict.fromkeys(SUITES, HORIZON), "render_size": (48, 48), **changes}
    return dataclasses.replace(PROTOCOLS[name], **settings)


def outcomes(results: Results) -> list[tuple]:
    """Return every episode's outcome and the bytes of all that it went through."""
    return [
        (*r.outcome, t.states.tobytes(), t.actions.tobytes(), t.final_state.tobytes())
        for r in results.episodes
        for t in [results.trajectory(r)]
    ]


class LookingPolicy(Policy):
    """Acts on what it sees, numbers and pictures, and keeps what it was shown."""

    def __init__(self, cameras: tuple[str, ...] = (), chunk: int = 4) -> None:
        self.requirements = Requirements(cameras, ("proprio", "privileged"), chunk, batch=3)
        self.seen: list[tuple[EpisodeKey, int]] = []
        self.begun: list[EpisodeKey] = []
        self.ended: list[EpisodeKey] = []

    def end(self, keys: Sequence[EpisodeKey]) -> None:
        self.ended += keys

    def reset(self, keys: Sequence[EpisodeKey]) -> None:
        self.begun += keys

    def act(self, observations: Sequence[Observation]) -> np.ndarray:
        assert len(observations) <= 3
        self.seen += [(o.key, o.step) for o in observations]
        return np.stack([self._chunk(o) for o in observations])

    def _chunk(self, o: Observation) -> np.ndarray:
        numbers = [*o.state["proprio"], *o.state["privileged"][:6]]
        numbers += [p.astype(float).mean() + float(p[10, 10, 0]) for p in o.images.values()]
        phase = np.arange(4 * 7).reshape(4, 7) + 1000 * sum(numbers) + o.key.seed % 97
        return np.sin(phase[: self.requirements.chunk])


def test_results_do_not_depend_on_how_they_are_run(pack: AssetPack, tmp_path: Path) -> None:
    protocol = short()

    def answer(name: str, config: RunConfig, shard: Shard = Shard()) -> Results:
        return evaluate(
            LookingPolicy(), protocol, TASKS, tmp_path / name, 4,
            shard=shard, config=config, assets=pack,
        )  # fmt: skip

    expected = outcomes(answer("one", RunConfig(environments=1, threads=1)))
    assert len(expected) == 8 and len({row[-1] for row in expected}) == 8
    assert outcomes(answer("eight", RunConfig(environments=8, threads=2))) == expected
    assert outcomes(answer("threads", RunConfig(environments=3, threads=5))) == expected
    for i in range(3):
        answer(f"shard{i}", RunConfig(environments=2), Shard(i, 3))
    shards = [tmp_path / f"shard{i}" for i in range(3)]
    assert not is_complete(merge(shards[:2], tmp_path / "two"))
    merged = merge(shards, tmp_path / "merged")
    assert outcomes(merged) == expected and is_complete(merged)


@pytest.mark.slow
def test_results_do_not_depend_on_how_they_are_run_with_pictures(
    pack: AssetPack, tmp_path: Path
) -> None:
    answers = []
    for environments, threads in ((1, 1), (4, 2)):
        results = evaluate(
            LookingPolicy(("agentview", "robot0_eye_in_hand")), short(), TASKS,
            tmp_path / str(environments), 2,
            config=RunConfig(environments, threads), assets=pack,
        )  # fmt: skip
        answers.append(outcomes(results))
    assert answers[0] == answers[1]


COMMAND = [
    sys.executable, "-m", "cli.main", "eval", "run", "random:10", "--protocol", "openpi",
    "--tasks", BOWL.key, "--episodes", "3", "--no-preflight", "--environments", "2",
]  # fmt: skip


def start(out: Path, pack: AssetPack) -> subprocess.Popen:
    code = "import sys; from cli.main import main; main(sys.argv[1:])"
    arguments = [*COMMAND[3:], "--out", str(out), "--assets", str(pack.path)]
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.DEVNULL)


@pytest.mark.timeout(900)  # three processes compile the simulator where it is not cached
def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been(
    pack: AssetPack, tmp_path: Path
) -> None:
    process, lines = start(tmp_path / "killed", pack), tmp_path / "killed" / "episodes.jsonl"
    while not lines.exists() or b"\n" not in lines.read_bytes():
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    before = lines.read_bytes()
    assert not is_complete(load_results(tmp_path / "killed"))
    lines.write_bytes(before + b'{"task": "libero_90/KITCH')
    assert start(tmp_path / "killed", pack).wait() == 0
    assert lines.read_bytes().startswith(before)
    resumed = load_results(tmp_path / "killed")
    assert is_complete(resumed) and len(lines.read_bytes().splitlines()) == 3
    whole = evaluate(
        RandomPolicy(10), PROTOCOLS["openpi"], [BOWL], tmp_path / "whole", 3, assets=pack
    )
    assert outcomes(resumed) == outcomes(whole)


def test_pictures_are_drawn_only_when_the_policy_looks(
    pack: AssetPack, monkeypatch: pytest.MonkeyPatch
) -> None:
    from simulation.pictures.rendering import Renderer

    drawn = []
    render = Renderer.render_views

    def counting(self, state, fixtures, views):
        drawn.append([view.camera for view in views])
        return render(self, state, fixtures, views)

    monkeypatch.setattr(Renderer, "render_views", counting)
    policy, kept = LookingPolicy(("agentview",)), []
    timing = run(
        policy, make_items(short(), [DRAWER], 2), short(), RunConfig(2, 1),
        lambda result, trajectory: kept.append(result), pack,
    )  # fmt: skip
    assert [result.steps for result in kept] == [HORIZON] * 2
    assert sorted(step for _, step in policy.seen) == [0, 0, 4, 4, 8, 8]
    assert drawn == [["agentview"]] * 6
    assert len(policy.begun) == 2
    assert min(timing.simulation, timing.rendering, timing.preparation, timing.other) > 0
    assert 0 < timing.overhead < 1 and timing.wall > 0


def test_chunks_are_executed_as_the_protocol_says(pack: AssetPack) -> None:
    for protocol, stateful, expected in (
        (short(chunk=None), False, [0, 4, 8]),
        (short(chunk=3), False, [0, 3, 6, 9]),
        (short(chunk=None), True, list(range(HORIZON))),
    ):
        policy = LookingPolicy()
        policy.requirements = dataclasses.replace(policy.requirements, stateful=stateful)
        items = make_items(protocol, [DRAWER], 1)
        run(policy, items, protocol, RunConfig(1), lambda result, trajectory: None, pack)
        assert [step for _, step in policy.seen] == expected


class FaultyPolicy(LookingPolicy):
    """Goes wrong in one way in one episode, always or once."""

    def __init__(self, fault: str, episode: int = 1, times: int = 1000) -> None:
        super().__init__()
        self.fault, self.episode, self.left = fault, episode, times

    def act(self, observations: Sequence[Observation]) -> np.ndarray:
        chunks = super().act(observations)
        for i, o in enumerate(observations):
            if o.key.episode == self.episode and o.step == 4 and self.left > 0:
                self.left -= 1
                if self.fault == "raise":
                    raise PolicyError("the server died")
                if self.fault == "crash":
                    raise ZeroDivisionError("a bug")
                if self.fault == "shape":
                    return chunks[:, :, :6]
                if self.fault == "words":
                    return np.array([["garbage"]])
                chunks[i, 2, 3] = np.nan if self.fault == "nan" else np.inf
        return chunks


def attempt(policy: Policy, pack: AssetPack, **settings) -> list[EpisodeResult]:
    kept: list[EpisodeResult] = []
    items = make_items(short(), [DRAWER], 4)
    config = RunConfig(**{"environments": 3, "threads": 2, **settings})
    run(policy, items, short(), config, lambda result, trajectory: kept.append(result), pack)
    return sorted(kept, key=lambda result: result.key)


def assert_each_ended_once(policy: LookingPolicy) -> None:
    """Success, horizon or error: the policy was told of the end of each episode that it saw."""
    assert sorted(policy.ended, key=str) == sorted({key for key, _ in policy.seen}, key=str)
    assert len(policy.ended) == 4


@pytest.mark.parametrize("fault", ["raise", "crash", "shape", "words", "nan", "infinity"])
def test_a_faulty_policy_is_an_error_of_its_episode_alone(fault: str, pack: AssetPack) -> None:
    sound_policy, faulty = LookingPolicy(), FaultyPolicy(fault)
    sound, found = attempt(sound_policy, pack), attempt(faulty, pack)
    error = found[1]
    assert error.error is not None and not error.success and error.attempts == 3
    assert [r.outcome for r in found if r.episode != 1] == [
        r.outcome for r in sound if r.episode != 1
    ]
    assert all(r.error is None for r in found if r.episode != 1)
    assert_each_ended_once(sound_policy)
    assert_each_ended_once(faulty)
    once = attempt(FaultyPolicy(fault, times=1), pack)
    assert [r.outcome for r in once] == [r.outcome for r in sound]
    assert once[1].attempts == 2 and once[1].error is None


def test_a_crash_of_the_simulator_is_an_error_too(
    pack: AssetPack, monkeypatch: pytest.MonkeyPatch
) -> None:
    from simulation.environment import Environment

    step = Environment.step

    def failing(self, action):
        if self.init_index == 2 and self.data.time > 0.6:
            raise RuntimeError("the simulator gave up")
        return step(self, action)

    monkeypatch.setattr(Environment, "step", failing)
    found = attempt(LookingPolicy(), pack)
    assert [r.error for r in found] == [None, None, "RuntimeError: the simulator gave up", None]


def test_errors_are_kept_apart_and_run_again(pack: AssetPack, tmp_path: Path) -> None:
    config = RunConfig(environments=2, retries=0)
    results = evaluate(
        FaultyPolicy("raise"), short(), [DRAWER], tmp_path, 2, config=config, assets=pack
    )
    entry = summarise(results)["all"]
    assert entry["errors"] >= 1 and entry["rate"] is None and not is_complete(results)
    policy = FaultyPolicy("raise", times=0)
    results = evaluate(policy, short(), [DRAWER], tmp_path, 2, config=config, assets=pack)
    assert summarise(results)["complete"] and is_complete(results)


def test_a_policy_that_only_fails_ends_the_run_with_all_recorded(
    pack: AssetPack, tmp_path: Path
) -> None:
    class Dead(LookingPolicy):
        def act(self, observations: Sequence[Observation]) -> np.ndarray:
            raise PolicyError("connection refused")

    config = RunConfig(environments=2, retries=1, give_up_after=4)
    with pytest.raises(RunError, match=r"4 episodes in a row.*connection refused"):
        evaluate(Dead(), short(), [DRAWER], tmp_path, 10, config=config, assets=pack)
    assert 4 <= len(load_results(tmp_path).episodes) < 10


class HangingPolicy(LookingPolicy):
    """Never returns from one call, until it is let go."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where, self.released, self.calls = where, threading.Event(), 0

    def act(self, observations: Sequence[Observation]) -> np.ndarray:
        if self.where == "act" and any(o.step == 8 for o in observations):
            self._hang()
        return super().act(observations)

    def end(self, keys: Sequence[EpisodeKey]) -> None:
        if self.where == "end":
            self._hang()
        super().end(keys)

    def _hang(self) -> None:
        self.calls += 1
        self.released.wait()


@pytest.mark.parametrize("change", [{"threads": 0}, {"environments": 0}, {"retries": -1}])
def test_numbers_are_looked_at(change: dict[str, int]) -> None:
    with pytest.raises(SettingError, match="threads"):
        RunConfig(**change)


@pytest.mark.parametrize("seconds", [0, float("inf"), float("nan")])
def test_patience_is_finite(seconds: float) -> None:
    with pytest.raises(SettingError, match="policy_timeout"):
        RunConfig(policy_timeout=seconds)


@pytest.mark.parametrize("where", ["act", "end"])
def test_a_policy_that_hangs_ends_the_run_with_all_recorded(
    where: str, pack: AssetPack, tmp_path: Path
) -> None:
    policy = HangingPolicy(where)
    config = RunConfig(environments=1, policy_timeout=2)
    with pytest.raises(RunError, match=r"not answered for 2 s.*--policy-timeout"):
        evaluate(policy, short(), [DRAWER], tmp_path, 3, config=config, assets=pack)
    assert policy.calls == 1
    policy.released.set()
    first = load_results(tmp_path).episodes[0]
    assert first.steps == (8 if where == "act" else HORIZON)
    assert (first.error or "").startswith("PolicyHungError" if where == "act" else "")
    sound = HangingPolicy("nowhere")
    assert is_complete(evaluate(sound, short(), [DRAWER], tmp_path, 3, config=config, assets=pack))


def test_a_policy_that_cannot_end_its_episodes_changes_no_outcome(
    pack: AssetPack, caplog: pytest.LogCaptureFixture
) -> None:
    class Unending(LookingPolicy):
        def end(self, keys: Sequence[EpisodeKey]) -> None:
            raise ZeroDivisionError("a bug")

    sound = attempt(LookingPolicy(), pack)
    assert [r.outcome for r in attempt(Unending(), pack)] == [r.outcome for r in sound]
    assert "the policy failed at the end" in caplog.text


def test_a_full_disk_ends_the_run(pack: AssetPack) -> None:
    def sink(result, trajectory):
        raise OSError("no space left")

    items = make_items(short(), [DRAWER], 4)
    with pytest.raises(OSError, match="no space left"):
        run(LookingPolicy(), items, short(), RunConfig(2, 2), sink, pack)


def test_a_run_may_stop_early_by_rule_and_stops_again(pack: AssetPack, tmp_path: Path) -> None:
    def stopped() -> Results:
        return evaluate(
            LookingPolicy(), short(), TASKS, tmp_path, 20,
            config=RunConfig(4), assets=pack, rule=StoppingRule(threshold=0.6),
        )  # fmt: skip

    first = stopped()
    stop = json.loads((tmp_path / "stop.json").read_text())
    assert stop["reason"] == "below" and stop["successes"] == 0 and stop["n"] < 40
    assert {r.key for r in first.episodes} >= {
        (task.key, i) for task in TASKS for i in range(stop["rounds"])
    }
    assert stopped().episodes == first.episodes


def test_wrong_answers_are_named() -> None:
    with pytest.raises(PolicyError, match=r"shape \(2, 1, 7\), but \(2, 4, 7\)"):
        check_chunks(np.zeros((2, 1, 7)), 2, 4)
    with pytest.raises(PolicyError, match="no array of numbers"):
        check_chunks([[1], [2, 3]], 2, 4)


def test_tasks_by_turns_keep_their_renderers(
    pack: AssetPack, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    class Counted(Renderer):
        def __init__(self, task: Task, *arguments: Any) -> None:
            made.append((threading.get_ident(), task.key))
            super().__init__(task, *arguments)

    monkeypatch.setattr("simulation.pictures.renderers.Renderer", Counted)
    tasks, protocol = list_tasks("libero_spatial")[:5], short(chunk=None)
    items = make_items(protocol, tasks, 1)
    policy = LookingPolicy(("image",), chunk=2)
    run(policy, items, protocol, RunConfig(5, 2), lambda result, trajectory: None, pack)
    assert len(made) == len(set(made))
    assert {key for _, key in made} == {task.key for task in tasks}


def test_any_policy_can_begin_where_demonstrations_do(pack: AssetPack, tmp_path: Path) -> None:
    config = DemonstrationConfig(episodes_per_way=1, fresh_share=1.0)
    demonstrations = tmp_path / "demonstrations" / "drawer.hdf5"
    with make_demonstrations(DRAWER, demonstrations, config, pack) as file:
        begun = [(episode.states[0], episode.fixtures) for episode in file]
    starts = ReplayPolicy.of_folder(demonstrations.parent, pack)
    policy, protocol = RandomPolicy(4), short()
    results = evaluate(policy, protocol, [DRAWER], tmp_path / "out", starts=starts, assets=pack)
    assert len(results.episodes) == len(begun) == 3
    for result, (state, fixtures) in zip(results.episodes, begun, strict=True):
        trajectory = results.trajectory(result)
        assert result.init_index == -1 and result.steps == HORIZON
        np.testing.assert_allclose(trajectory.states[0], state, atol=1e-9)
        np.testing.assert_array_equal(trajectory.fixtures.positions, fixtures.positions)
    with pytest.raises(ResultsError, match="another starts"):
        evaluate(policy, protocol, [DRAWER], tmp_path / "out", 3, assets=pack)
    with pytest.raises(PolicyError, match="none for episode 3"):
        evaluate(policy, protocol, [DRAWER], tmp_path / "more", 4, starts=starts, assets=pack)
    scripted = ScriptedPolicy(protocol, 0, pack)
    with pytest.raises(SettingError, match="leave out the starts"):
        evaluate(scripted, protocol, [DRAWER], tmp_path / "ahead", starts=starts, assets=pack)


HUMAN = ("KITCHEN_SCENE3_turn_on_the_stove", "KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")


def replay_people(folder: Path, names: Sequence[str], assets: Path, out: Path) -> Results:
    """Replay demonstrations open loop from their own first state, without settling."""
    pack = resolve_assets(assets)
    policy = ReplayPolicy.of_folder(folder, pack)
    tasks = [get_task(name) for name in names or policy.tasks]
    return evaluate(policy, PROTOCOLS["openvla"], tasks, out, assets=pack)


def test_people_succeed_when_replayed(real_assets: Path, human_demos: Path, tmp_path: Path) -> None:
    check_people(replay_people(human_demos, HUMAN[:1], real_assets, tmp_path), human_demos)


@pytest.mark.slow
def test_all_people_succeed_when_replayed(
    real_assets: Path, human_demos: Path, tmp_path: Path
) -> None:
    results = replay_people(human_demos, (), real_assets, tmp_path)
    assert len(results.episodes) == 25
    check_people(results, human_demos)


def check_people(results: Results, folder: Path) -> None:
    """Each succeeds, as upstream: within 15 steps of where it was recorded to."""
    for result in results.episodes:
        recorded = json.loads((folder / f"{result.task.split('/')[1]}.json").read_text())
        assert result.success, result
        assert abs(result.steps - recorded["steps_to_success"]) <= 15
