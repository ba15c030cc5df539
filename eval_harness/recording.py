"""Keeps episodes from a thread of its own, so that no simulation waits for the disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import Queue

from eval_harness.results import EpisodeResult
from eval_harness.timing import Clock
from simulation.recordings.trajectories import Episode

Keep = Callable[[EpisodeResult, Episode | None], None]
"""Keeps an episode; an error has no trajectory."""


class Keeper:
    """Hands episodes to `keep`, one at a time and in the order in which they ended.

    Args:
        keep: keeps an episode.
        fail: told of the first exception of `keep`, after which nothing more is kept.
        clock: where the thread's work is counted; waiting for the disk is none.
        most: episodes that may wait; who adds another waits, too.
    """

    def __init__(
        self, keep: Keep, fail: Callable[[BaseException], None], clock: Clock, most: int
    ) -> None:
        self._keep, self._fail, self._clock = keep, fail, clock
        self._waiting: Queue[tuple[EpisodeResult, Episode | None] | None] = Queue(most)
        self._thread = threading.Thread(target=self._work, name="recording")
        self._thread.start()

    def add(self, result: EpisodeResult, trajectory: Episode | None) -> None:
        """Have an episode kept."""
        self._waiting.put((result, trajectory))

    def finish(self) -> None:
        """Wait until all are kept."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        failed = False
        while (episode := self._waiting.get()) is not None:
            if failed:
                continue
            try:
                with self._clock.turn(time.thread_time):
                    self._keep(*episode)
            except BaseException as error:  # noqa: BLE001 (the run's caller raises it)
                failed = True
                self._fail(error)
