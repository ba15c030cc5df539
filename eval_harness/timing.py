"""Where an evaluation's time goes: thread time by purpose, of which the harness's own is small."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Literal

Purpose = Literal["simulation", "rendering", "preparation", "policy"]


@dataclass
class Timing:
    """Seconds that threads were at work, summed over threads; waiting is not work."""

    simulation: float = 0.0
    """Building scenes, resetting, settling and stepping."""
    rendering: float = 0.0
    """Making renderers and drawing."""
    preparation: float = 0.0
    """The protocol's own way with pictures: JPEG, resizing, cropping."""
    policy: float = 0.0
    """Inside the policy."""
    other: float = 0.0
    """All else: queues, states, checks, results on disk."""
    wall: float = 0.0
    """From beginning to end, by the clock."""

    @property
    def overhead(self) -> float:
        """Share of the work that is the harness's own, 0 to 1."""
        work = self.simulation + self.rendering + self.preparation + self.policy + self.other
        return self.other / work if work else 0.0

    def as_dict(self) -> dict[str, float]:
        """Return the seconds and the overhead, rounded, as JSON can hold them."""
        seconds = {f.name: round(getattr(self, f.name), 3) for f in fields(self)}
        return {**seconds, "overhead": round(self.overhead, 4)}


class Clock:
    """Adds up what one or more threads do; what no purpose claims of a `turn` is `other`."""

    def __init__(self) -> None:
        self.timing = Timing()
        self._lock = threading.Lock()
        self._local = threading.local()
        self._begun = time.perf_counter()

    @contextmanager
    def turn(self, now: Callable[[], float] = time.perf_counter) -> Iterator[None]:
        """Count what this thread does inside.

        Args:
            now: gives the time in seconds; `time.thread_time` leaves out waiting.
        """
        self._local.claimed = 0.0
        begun = now()
        try:
            yield
        finally:
            self._add("other", now() - begun - self._local.claimed)

    @contextmanager
    def on(self, purpose: Purpose) -> Iterator[None]:
        """Count what this thread does inside as of a purpose; not nested."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - begun
            self._local.claimed = getattr(self._local, "claimed", 0.0) + seconds
            self._add(purpose, seconds)

    def stop(self) -> Timing:
        """Return the sums, with the wall time so far."""
        with self._lock:
            self.timing.wall = time.perf_counter() - self._begun
            return self.timing

    def _add(self, name: str, seconds: float) -> None:
        with self._lock:
            setattr(self.timing, name, getattr(self.timing, name) + seconds)
