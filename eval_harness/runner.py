"""Runs episodes: simulation and rendering on threads, the policy beside them, in batches.

Slots are refilled from any task as soon as their episode ends. An episode is a function of its
item, the protocol and the policy alone, so the number of slots and threads, the order and what
was run before change no outcome.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from common.errors import DlrError, SettingError
from common.machine import cores
from eval_harness.asking import Asker
from eval_harness.episode import RunningEpisode, Seats
from eval_harness.plan import Item
from eval_harness.policy import EpisodeKey, Observation, Policy, PolicyError
from eval_harness.policy_thread import PolicyHungError
from eval_harness.protocols import Protocol
from eval_harness.recording import Keep, Keeper
from eval_harness.results import EpisodeResult
from eval_harness.timing import Clock, Timing
from simulation.assets.resolve import AssetPack, resolve_assets
from simulation.pictures.renderers import Renderers
from simulation.recordings.trajectories import Episode


class RunError(DlrError, RuntimeError):
    """An evaluation stopped early; what was recorded is safe."""


@dataclass(frozen=True)
class RunConfig:
    """How an evaluation is run; nothing here changes an outcome."""

    environments: int = 16
    """Episodes under way at a time."""
    threads: int | None = None
    """Threads that simulate and render; by default one per core that this process may use."""
    retries: int = 2
    """How often an episode that met an error is begun again before the error is recorded."""
    give_up_after: int = 20
    """The run stops when this many episodes in a row end as errors."""
    policy_timeout: float = 600.0
    """Seconds for one answer of the policy; one that takes longer hangs, and the run stops."""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            SettingError: one is out of range.
        """
        threads = 1 if self.threads is None else self.threads
        if min(self.environments, threads, self.give_up_after) < 1 or self.retries < 0:
            raise SettingError(
                "environments, threads and give_up_after must be 1 or more, retries 0 or more"
            )
        if not 0 < self.policy_timeout < threading.TIMEOUT_MAX:
            raise SettingError("policy_timeout must be a number of seconds, more than 0")


Enough = Callable[[EpisodeResult], bool]
"""Told of each episode once it is kept; True ends the run, whatever is under way."""


def run(
    policy: Policy,
    items: Sequence[Item],
    protocol: Protocol,
    config: RunConfig,
    keep: Keep,
    assets: AssetPack | None = None,
    enough: Enough = lambda result: False,
) -> Timing:
    """Run episodes and hand each to `keep` as it ends; return where the time went.

    The policy is called by one thread of the run's own, and `keep` and `enough` by another. An
    exception of the policy's or the simulator's, or actions of a wrong shape or with NaN, is the
    episode's error: it is begun again, its observations then alone in their batches so that no
    other episode suffers, and after `config.retries` recorded as an error. A policy that hangs
    cannot be asked again: the episodes that wait for its answer are recorded as errors, and the
    run stops.

    Raises:
        RunError: too many episodes in a row ended as errors, or the policy hangs.
        OutputError: that of `keep`, as any exception of it.
    """
    return _Run(policy, items, protocol, config, keep, assets or resolve_assets(), enough).run()


class _Run:
    """The state of one run; `_changed` guards it."""

    def __init__(
        self,
        policy: Policy,
        items: Sequence[Item],
        protocol: Protocol,
        config: RunConfig,
        keep: Keep,
        assets: AssetPack,
        enough: Enough,
    ) -> None:
        self._protocol, self._config = protocol, config
        self._keep, self._assets, self._enough = keep, assets, enough
        self._needs = policy.requirements
        self._asker = Asker(policy, config.policy_timeout)
        self._clock = Clock()
        self._seats = Seats(assets, config.environments, protocol.perturbations)
        self._threads = min(config.threads or cores(), config.environments)
        self._most_renderers = _most_renderers(items, config.environments, self._threads)
        self._changed = threading.Condition()
        self._fresh = iter(items)
        self._ready: deque[RunningEpisode] = deque()
        self._waiting: deque[tuple[RunningEpisode, Observation]] = deque()
        self._ended: list[EpisodeKey] = []
        self._live = 0
        self._stopped = False
        self._failure: BaseException | None = None
        self._errors_in_a_row = 0

    def run(self) -> Timing:
        """Run all; see `run` above."""
        if self._needs.cameras and self._threads > 1:
            # Each thread draws its own pictures: Mesa's own threads would stand in their way.
            os.environ.setdefault("LP_NUM_THREADS", "0")
        for item in itertools.islice(self._fresh, self._config.environments):
            self._live += 1
            self._ready.append(self._episode(item))
        most = self._config.environments
        self._recording = Keeper(self._record, self._stop, self._clock, most)
        workers = [threading.Thread(target=self._work) for _ in range(self._threads)]
        for worker in workers:
            worker.start()
        with contextlib.closing(self._asker):
            try:
                while batch := self._next_batch():
                    with self._clock.turn():
                        self._answer(batch)
            finally:
                self._stop(None)
                for worker in workers:
                    worker.join()
                self._recording.finish()
            self._tell_ended(None)
        if self._failure is not None:
            raise self._failure
        return self._clock.stop()

    def _episode(self, item: Item) -> RunningEpisode:
        return RunningEpisode(item, self._protocol, self._needs, self._clock)

    def _stop(self, failure: BaseException | None) -> None:
        with self._changed:
            self._stopped = True
            self._failure = self._failure or failure
            self._changed.notify_all()

    def _next_batch(self) -> list[tuple[RunningEpisode, Observation]]:
        """Wait until half of the episodes, or a full batch, await the policy; empty at the end.

        The other half is simulated meanwhile. An episode that met an error is alone in its batch.
        """
        with self._changed:
            while not self._stopped and self._live:
                wanted = min(self._needs.batch, (self._live + 1) // 2)
                if len(self._waiting) >= wanted:
                    return self._take_batch()
                self._changed.wait()
            return []

    def _take_batch(self) -> list[tuple[RunningEpisode, Observation]]:
        if self._waiting[0][0].attempt > 1:
            return [self._waiting.popleft()]
        sound = [entry for entry in self._waiting if entry[0].attempt == 1]
        batch = sound[: self._needs.batch]
        taken = {id(episode) for episode, _ in batch}
        self._waiting = deque(entry for entry in self._waiting if id(entry[0]) not in taken)
        return batch

    def _answer(self, batch: list[tuple[RunningEpisode, Observation]]) -> None:
        """Ask the policy, and send its chunks, or its error, to the episodes."""
        with self._changed:
            ended, self._ended = self._ended, []
        self._tell_ended(ended)
        try:
            with self._clock.on("policy"):
                chunks = self._asker.act([observation for _, observation in batch])
        except PolicyHungError as error:
            self._give_up(error)
            for episode, _ in batch:
                self._end(episode.fail(error), None)
            return
        except Exception as error:  # noqa: BLE001 (whatever a policy raises is its episodes' error)
            for episode, _ in batch:
                self._fail(episode, error)
            return
        for (episode, _), chunk in zip(batch, chunks, strict=True):
            if np.isfinite(chunk).all():
                episode.accept(chunk)
                self._resume(episode)
            else:
                self._fail(episode, PolicyError("the policy's actions contain NaN or infinity"))

    def _tell_ended(self, keys: Sequence[EpisodeKey] | None) -> None:
        """Tell the policy which episodes have ended; None for all that it knows of."""
        try:
            with self._clock.on("policy"):
                self._asker.end(keys)
        except PolicyHungError as error:
            self._give_up(error)

    def _give_up(self, error: PolicyHungError) -> None:
        self._stop(
            RunError(
                f"{error}, and cannot be asked again. What was recorded is safe: mend this, or "
                "allow it more time (--policy-timeout), and the same command goes on."
            )
        )

    def _resume(self, episode: RunningEpisode) -> None:
        with self._changed:
            self._ready.append(episode)
            self._changed.notify_all()

    def _next_ready(self, renderers: Renderers) -> RunningEpisode | None:
        """Wait for an episode to advance, best one whose renderer is there; None at the end."""
        with self._changed:
            while not self._stopped:
                if self._ready:
                    drawn = (e for e in self._ready if e.item.task in renderers)
                    best = next(drawn, self._ready[0])
                    self._ready.remove(best)
                    return best
                self._changed.wait()
            return None

    def _work(self) -> None:
        """Advance episodes until there are none: the body of a simulation thread."""
        renderers = Renderers(self._assets, self._protocol.render_size, self._most_renderers)
        try:
            while (episode := self._next_ready(renderers)) is not None:
                with self._clock.turn():
                    self._advance(episode, renderers)
        except BaseException as error:  # noqa: BLE001 (the calling thread raises it)
            self._stop(error)
        finally:
            renderers.close()

    def _advance(self, episode: RunningEpisode, renderers: Renderers) -> None:
        """Simulate an episode up to its end or the policy's next look."""
        observation: Observation | None = None
        try:
            episode.advance(self._seats)
            if not episode.over:
                observation = episode.observe(renderers)
        except Exception as error:  # noqa: BLE001 (whatever the simulator raises is this episode's)
            self._fail(episode, error)
            return
        if observation is None:
            self._end(*episode.finish(self._seats))
            return
        with self._changed:
            self._waiting.append((episode, observation))
            self._changed.notify_all()

    def _fail(self, episode: RunningEpisode, error: Exception) -> None:
        """Begin an episode again, or record its error."""
        if episode.attempt <= self._config.retries:
            self._resume(episode.again())
        else:
            self._end(episode.fail(error), None)

    def _end(self, result: EpisodeResult, trajectory: Episode | None) -> None:
        """Have an episode recorded, and refill its slot."""
        self._recording.add(result, trajectory)
        with self._changed:
            key = EpisodeKey(result.task, result.episode, result.init_index, result.seed)
            self._ended.append(key)
            item = next(self._fresh, None)
            if item is None:
                self._live -= 1
            else:
                self._ready.append(self._episode(item))
            self._changed.notify_all()

    def _record(self, result: EpisodeResult, trajectory: Episode | None) -> None:
        """Record an episode, and stop the run where there are too many errors, or enough."""
        self._keep(result, trajectory)
        self._errors_in_a_row = self._errors_in_a_row + 1 if result.error else 0
        if self._errors_in_a_row >= self._config.give_up_after:
            self._stop(
                RunError(
                    f"{self._errors_in_a_row} episodes in a row ended as errors, the last with "
                    f"{result.error}. What was recorded is safe: mend this, and the same "
                    "command goes on."
                )
            )
        elif self._enough(result):
            self._stop(None)


def _most_renderers(items: Sequence[Item], environments: int, threads: int) -> int:
    """Return how many tasks' renderers a thread keeps.

    As many as there are tasks under way at once, but no more than four, or than it takes for all
    threads together to draw a suite's ten tasks.
    """
    changes = [a.key.task != b.key.task for a, b in itertools.pairwise(items)]
    windows = (sum(changes[i : i + environments]) for i in range(len(changes)))
    return min(1 + max(windows, default=0), max(4, math.ceil(10 / threads)))
