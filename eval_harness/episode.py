"""One episode under way, the environments it borrows, and the renderers of one thread."""

from __future__ import annotations

import threading
import time

import numpy as np
import numpy.typing as npt

from eval_harness.perturbations.table import (
    Condition,
    instruction_of,
    look_of,
    picture_of,
    scene_of,
)
from eval_harness.plan import Item
from eval_harness.policy import Observation, Requirements
from eval_harness.protocols import Protocol
from eval_harness.results import EpisodeResult
from eval_harness.timing import Clock
from simulation.assets.resolve import AssetPack
from simulation.environment import Environment
from simulation.observations import Observer
from simulation.pictures.look import Look
from simulation.pictures.renderers import Renderers
from simulation.pictures.rendering import Renderer
from simulation.pictures.transforms import Picture, prepare
from simulation.recordings.recorder import Recorder
from simulation.recordings.trajectories import Episode
from simulation.scene import load_scene
from simulation.suites.noise import published_noise
from simulation.tasks import Task

METHOD = "evaluation"
"""Method of the harness's trajectories, by which they are told from a recipe's."""


class Seat:
    """An environment with what reads it."""

    def __init__(self, task: Task, assets: AssetPack, condition: Condition = ()) -> None:
        scene = scene_of(load_scene(task, assets), condition)
        self.env = Environment(task, assets, scene)
        self.observer = Observer(self.env)


class Seats:
    """Environments that are made when first needed, reused, and dropped when too many are free.

    Args:
        assets: asset pack of all.
        most_free: how many to keep that no episode uses.
        condition: what their scenes differ in from the tasks' own.
    """

    def __init__(self, assets: AssetPack, most_free: int, condition: Condition = ()) -> None:
        self.assets, self._condition = assets, condition
        self._most_free = most_free
        self._free: list[Seat] = []
        self._lock = threading.Lock()

    def take(self, task: Task) -> Seat:
        """Return a free environment of a task, or a new one."""
        with self._lock:
            for i in reversed(range(len(self._free))):
                if self._free[i].env.task == task:
                    return self._free.pop(i)
        return Seat(task, self.assets, self._condition)

    def give(self, seat: Seat) -> None:
        """Take an environment back."""
        with self._lock:
            self._free.append(seat)
            del self._free[: -self._most_free]


class RunningEpisode:
    """One episode, from its reset to its end; whatever thread drives it, one at a time.

    Args:
        item: the episode.
        protocol: the protocol.
        needs: what the policy looks at.
        clock: where time is counted.
        attempt: 1 at first, more when it is tried again.
    """

    def __init__(
        self, item: Item, protocol: Protocol, needs: Requirements, clock: Clock, attempt: int = 1
    ) -> None:
        self.item, self.attempt = item, attempt
        self.success = False
        self._protocol, self._needs, self._clock = protocol, needs, clock
        self._seat: Seat | None = None
        self._chunk: npt.NDArray[np.float64] = np.zeros((0, 7))
        self._recorder: Recorder | None = None
        self._look: Look | None = None
        self._begun = time.perf_counter()

    @property
    def steps(self) -> int:
        """Control steps taken after settling."""
        return len(self._recorder) if self._recorder else 0

    @property
    def over(self) -> bool:
        """Whether it has succeeded or reached its horizon."""
        return self.success or self.steps >= self.item.horizon

    def accept(self, chunk: npt.NDArray[np.float64]) -> None:
        """Take the policy's answer to the last observation, (chunk, 7)."""
        looks_at_all = 1 if self._needs.stateful else None
        self._chunk = chunk[: looks_at_all or self._protocol.chunk]
        gripper = self._chunk[:, 6]
        if self._protocol.gripper == "binarised":
            self._chunk = np.column_stack((self._chunk[:, :6], np.sign(gripper)))
        elif self._protocol.gripper == "closed_from_zero":
            self._chunk = np.column_stack((self._chunk[:, :6], np.where(gripper < 0, -1.0, 1.0)))

    def advance(self, seats: Seats) -> None:
        """Begin, or execute the chunk until it ends or the episode does."""
        with self._clock.on("simulation"):
            if self._seat is None:
                self._begun = time.perf_counter()
                self._seat = seats.take(self.item.task)
                self.item.begin(self._seat.env, self._protocol)
                self._recorder = Recorder(self._seat.env)
                return
            for action in self._chunk:
                self._record.before(action)
                self.success = self._seat.env.step(action)
                if self.over:
                    return

    def observe(self, renderers: Renderers) -> Observation:
        """Return what the policy sees now; the only place where anything is drawn."""
        task, key, condition = self.item.task, self.item.key, self._protocol.perturbations
        images = {}
        if self._needs.cameras:
            with self._clock.on("rendering"):
                drawn = self._draw(renderers)
            with self._clock.on("preparation"):
                for camera, seen in drawn.items():
                    seen = published_noise(seen, task, key.seed, self.steps, camera)
                    seen = picture_of(condition, seen, task, key.seed, self.steps, camera)
                    images[camera] = self._prepared(seen)
        state = {name: self._numbers(name) for name in self._needs.state}
        instruction = instruction_of(condition, task, key.seed)
        return Observation(key, self.steps, instruction, images, state)

    def _dress(self, renderer: Renderer) -> None:
        """Have the renderer, which others use too, show this episode's look."""
        if self._look is None:
            model, key = renderer.scene.visual_model, self.item.key
            self._look = look_of(self._protocol.perturbations, model, self.item.task, key.seed)
        renderer.wear(self._look)

    def _draw(self, renderers: Renderers) -> dict[str, Picture]:
        """Return each camera's picture of what stands there in this episode's look."""
        env, cameras, size = self._there.env, self._needs.cameras, self._needs.upright
        renderer = renderers.of(self.item.task, env.scene)
        self._dress(renderer)
        if size:
            state, fixtures = env.state(), env.fixtures()
            return {c: renderer.render(state, fixtures, c, size, size)[::-1] for c in cameras}
        drawn = self._there.observer.pictures(
            renderer, ["pixels"], cameras, self._protocol.render_size
        )
        return {camera: drawn[f"{camera}_image"] for camera in cameras}

    def _prepared(self, seen: Picture) -> Picture:
        """Return a picture as the policy takes it: upright as drawn, or by the protocol's steps."""
        if self._needs.upright:
            return np.ascontiguousarray(seen[::-1])
        return prepare(seen, self._protocol.picture_steps)

    @property
    def _there(self) -> Seat:
        assert self._seat is not None, "the episode has not begun"
        return self._seat

    @property
    def _record(self) -> Recorder:
        assert self._recorder is not None, "the episode has not begun"
        return self._recorder

    def _numbers(self, name: str) -> npt.NDArray[np.float64]:
        """Return one of `simulation.observations.NUMBER_SETS`, or what rollouts read."""
        observer = self._there.observer
        if name == "simulator_state":
            return self._there.env.policy_state()
        if name == "simulator_proprio":
            return self._there.env.proprio()
        if name != "proprio":
            return getattr(observer, name)()
        proprio, joints = observer.proprio(), observer.joint()
        parts = {
            "eef_position": proprio[:3],
            "axis_angle": proprio[3:6],
            "gripper": proprio[6:],
            "joints": joints[:7],
        }
        return np.concatenate([parts[part] for part in self._protocol.state_layout])

    def finish(self, seats: Seats) -> tuple[EpisodeResult, Episode]:
        """Return what became of it, and give its environment back."""
        trajectory = self._record.finish(self.success, method=METHOD)
        seats.give(self._there)
        return self._result(None), trajectory

    def fail(self, error: BaseException) -> EpisodeResult:
        """Return the error as the outcome; its environment is not used again."""
        return self._result(f"{type(error).__name__}: {error}")

    def again(self) -> RunningEpisode:
        """Return the same episode, to be begun anew."""
        return RunningEpisode(self.item, self._protocol, self._needs, self._clock, self.attempt + 1)

    def _result(self, error: str | None) -> EpisodeResult:
        key = self.item.key
        return EpisodeResult(
            key.task,
            key.episode,
            key.init_index,
            key.seed,
            self.success and error is None,
            self.steps,
            round(time.perf_counter() - self._begun, 3),
            error,
            self.attempt,
            self.item.other_start,
        )
