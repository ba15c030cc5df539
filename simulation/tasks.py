"""The 130 LIBERO tasks: suite, index, name, language, horizon and official init states."""

from __future__ import annotations

import difflib
import functools
import hashlib
import importlib.util
import io
import os
import pickle
import re
import struct
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from common.errors import GoalError, InvalidStateError, UnknownTaskError, one_line
from common.files import user_cache_folder, write_text
from simulation.starts import OFFICIAL_INITS

SUITES: dict[str, int] = {
    "libero_spatial": 220,
    "libero_object": 280,
    "libero_goal": 300,
    "libero_10": 520,
    "libero_90": 400,
}
"""Suite name -> horizon in control steps after settling (OpenVLA's protocol)."""

_ARRAY_PICKLE_GLOBALS = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}

PICKLE_FAULTS = (
    OSError,
    zipfile.BadZipFile,
    zlib.error,
    pickle.UnpicklingError,
    StopIteration,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RuntimeError,
    NotImplementedError,
    OverflowError,
    MemoryError,
    struct.error,
)
"""What reading a damaged archive or pickle raises."""
_REINSTALL = "Reinstall hf-libero==0.1.4."
_MOST_INIT_BYTES = 2**26
"""Size of a file of init states at most; LIBERO's have some 50 kB."""


@functools.cache
def libero_root() -> Path:
    """Return the folder of the installed `libero.libero` package, without importing it.

    Raises:
        ModuleNotFoundError: hf-libero is not installed.
    """
    spec = importlib.util.find_spec("libero")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("hf-libero is not installed: `pip install hf-libero==0.1.4`")
    return Path(next(iter(spec.submodule_search_locations))) / "libero"


def import_libero() -> ModuleType:
    """Import `libero.libero` without the question that it asks on standard input.

    LIBERO asks where to keep datasets when `$LIBERO_CONFIG_PATH/config.yaml` (default
    `~/.libero`) is missing. Where the user has no such file, one with the package's own paths
    is written to this project's cache folder and named in the environment first: one for each
    installation, so that two on one machine never read each other's files.
    """
    if "libero.libero" in sys.modules:
        return sys.modules["libero.libero"]
    configured = Path(os.environ.get("LIBERO_CONFIG_PATH", Path.home() / ".libero"))
    if not (configured / "config.yaml").exists():
        installation = hashlib.sha256(bytes(libero_root())).hexdigest()[:16]
        configured = user_cache_folder() / "libero" / installation
        _write_libero_config(configured / "config.yaml")
        os.environ["LIBERO_CONFIG_PATH"] = str(configured)
    import libero.libero

    return libero.libero


def _write_libero_config(path: Path) -> None:
    root = libero_root()
    entries = {
        "benchmark_root": root,
        "bddl_files": root / "bddl_files",
        "init_states": root / "init_files",
        "datasets": root.parent / "datasets",
        "assets": root / "assets",
    }
    text = "".join(f"{key}: {value}\n" for key, value in entries.items())
    if path.exists() and path.read_text() == text:
        return
    write_text(path, text)


@dataclass(frozen=True)
class Task:
    """One LIBERO task."""

    suite: str
    """Suite that the task belongs to, such as `libero_90`."""
    index: int
    """Position in the suite's official order."""
    name: str
    """Official name, such as `KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet`."""

    @property
    def key(self) -> str:
        """`suite/name`, unique over the 130 tasks."""
        return f"{self.suite}/{self.name}"

    @property
    def language(self) -> str:
        """Instruction made from the file name, as the published protocols do."""
        words = self.name.split("_")
        scene = next((i for i, word in enumerate(words) if word.startswith("SCENE")), -1)
        return " ".join(words[scene + 1 :])

    @property
    def base_suite(self) -> str:
        """LIBERO's suite whose horizon and scenes are the task's: its own, here."""
        return self.suite

    @property
    def horizon(self) -> int:
        """Control steps (20 Hz) after which an evaluation episode fails."""
        return SUITES[self.base_suite]

    @property
    def noise(self) -> int:
        """Number of a published suite's picture noise; 0 for none, as LIBERO has it."""
        return 0

    @property
    def init_count(self) -> int:
        """Number of official initial states."""
        return OFFICIAL_INITS

    @property
    def bddl_file(self) -> Path:
        """The task's definition in hf-libero."""
        return libero_root() / "bddl_files" / self.suite / f"{self.name}.bddl"

    @functools.cached_property
    def goal(self) -> tuple[tuple[str, ...], ...]:
        """Predicates that must hold at once, read from the definition without building a scene.

        Each is in lower case, the predicate before its arguments, in the definition's order:
        `(("open", "wooden_cabinet_1_bottom_region"),)`.

        Raises:
            GoalError: the definition's goal is not a plain conjunction.
            UnknownTaskError: there is no definition.
        """
        try:
            return parse_goal(self._definition())
        except GoalError as error:
            raise GoalError(f"{self.bddl_file.name}: {error}") from error

    @functools.cached_property
    def start(self) -> tuple[tuple[str, ...], ...]:
        """Predicates that hold at a reset, in the definition's order and form; see `goal`."""
        groups = [group for group in _expression(self._definition()) if group[:1] == [":init"]]
        return tuple(tuple(term) for group in groups for term in group[1:])

    def _definition(self) -> str:
        try:
            return self.bddl_file.read_text()
        except FileNotFoundError as error:
            raise UnknownTaskError(f"there is no definition of {self.key}") from error

    def init_states(self) -> np.ndarray:
        """Return the official initial states, float64 (50, 1 + nq + nv): time, qpos, qvel.

        The published file is a pickle; only an unpickler that admits arrays reads it.
        """
        path = libero_root() / "init_files" / self.suite / f"{self.name}.pruned_init"
        array = load_array_pickle(path, _REINSTALL)
        numbers = array.dtype.kind == "f" and array.ndim == 2
        if not numbers or len(array) != OFFICIAL_INITS or not np.isfinite(array).all():
            raise InvalidStateError(
                f"{path.name} does not hold a finite 2-D array of {OFFICIAL_INITS} states. "
                f"{_REINSTALL}"
            )
        return array.astype(np.float64)


def parse_goal(definition: str) -> tuple[tuple[str, ...], ...]:
    """Return the goal of a BDDL definition as its predicates, with nested conjunctions flattened.

    Raises:
        GoalError: parentheses do not match, or the goal is missing, empty, or holds anything
            but predicates of names (such as `not`, `or`, `forall`).
    """
    groups = [group for group in _expression(definition) if group[:1] == [":goal"]]
    if len(groups) != 1 or len(groups[0]) != 2:
        raise GoalError("the definition does not have one goal")
    predicates, todo = [], [groups[0][1]]
    while todo:
        term = todo.pop()
        if term[:1] == ["and"] and len(term) > 1:
            todo += reversed(term[1:])
        elif isinstance(term, list) and len(term) > 1 and all(isinstance(t, str) for t in term):
            predicates.append(tuple(term))
        else:
            raise GoalError("the goal is not a plain conjunction of predicates")
    return tuple(predicates)


def _expression(text: str) -> list[Any]:
    """Return the one parenthesised expression of a text as nested lists of lower-case words."""
    stack: list[list[Any]] = [[]]
    for word in re.findall(r"[()]|[^\s()]+", re.sub(r";.*", "", text).lower()):
        if word == "(":
            stack.append([])
        elif word != ")":
            stack[-1].append(word)
        elif len(stack) > 1:
            group = stack.pop()
            stack[-1].append(group)
        else:
            raise GoalError("a closing parenthesis is one too many")
    if len(stack) != 1 or len(stack[0]) != 1 or not isinstance(stack[0][0], list):
        raise GoalError("the definition is not one whole expression in parentheses")
    return stack[0][0]


class _ArrayUnpickler(pickle.Unpickler):
    """An unpickler that can build NumPy arrays and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ARRAY_PICKLE_GLOBALS:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in an init-state file")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def load_array_pickle(path: Path, remedy: str) -> np.ndarray:
    """Return the array in a file of torch's, read by the unpickler that knows arrays alone.

    Args:
        path: the file.
        remedy: what to do where it is damaged, for the message.

    Raises:
        InvalidStateError: it is missing, damaged, or holds something else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            member = next(i for i in archive.infolist() if i.filename.endswith("data.pkl"))
            if member.file_size > _MOST_INIT_BYTES:
                raise ValueError(f"{member.file_size:,} bytes are declared")
            array = _ArrayUnpickler(io.BytesIO(archive.read(member))).load()
    except PICKLE_FAULTS as error:
        raise InvalidStateError(
            f"cannot read init states from {path.name}: {one_line(error)}. {remedy}"
        ) from error
    if not isinstance(array, np.ndarray):
        raise InvalidStateError(f"{path.name} does not hold an array. {remedy}")
    return array


@functools.cache
def _tasks() -> dict[str, Task]:
    """Read the suites' order from hf-libero's task map, which is plain Python data."""
    path = libero_root() / "benchmark" / "libero_suite_task_map.py"
    spec = importlib.util.spec_from_file_location("_libero_suite_task_map", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {
        task.key: task
        for suite in SUITES
        for index, name in enumerate(module.libero_task_map[suite])
        for task in [Task(suite, index, name)]
    }


def base_suite_of(suite: str) -> str | None:
    """Return LIBERO's suite that a published suite, such as `libero_goal_swap`, is a change of.

    None for a name that begins like none of them.
    """
    return next((own for own in SUITES if suite == own or suite.startswith(f"{own}_")), None)


def list_tasks(suite: str | None = None) -> list[Task]:
    """Return the tasks of one suite, or all 130, in official order.

    Args:
        suite: one of `SUITES`, or of the published suites whose folder is named.

    Raises:
        UnknownTaskError: there is no such suite.
    """
    if suite is not None and suite not in SUITES:
        from simulation.suites.published import hint, list_published

        found = list_published(suite)
        if found is None:
            raise UnknownTaskError(
                f"unknown suite {suite!r}; the suites are {', '.join(SUITES)}, and those of "
                f"LIBERO-PRO and LIBERO-Plus where they are ({hint()})"
            )
        return found
    return [task for task in _tasks().values() if suite in (None, task.suite)]


def get_task(name: str) -> Task:
    """Return a task by `suite/name`, or by its name alone (LIBERO-90 first).

    Raises:
        UnknownTaskError: no task has this name; the message lists the nearest ones.
    """
    tasks = _tasks()
    if name in tasks:
        return tasks[name]
    matches = [task for task in tasks.values() if task.name == name]
    if matches:
        return min(matches, key=lambda task: task.suite != "libero_90")
    suite, slash, _ = name.partition("/")
    if slash and suite not in SUITES:
        from simulation.suites.published import find_published, hint

        found = find_published(name)
        if found is not None:
            return found
        if base_suite_of(suite):
            raise UnknownTaskError(f"unknown task {name!r} of a published suite: {hint()}")
    names = list(tasks) + [task.name for task in tasks.values()]
    nearest = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
    known = f"; did you mean {' or '.join(nearest)}?" if nearest else "."
    raise UnknownTaskError(f"unknown LIBERO task {name!r}{known} `dlr tasks` lists all 130.")
