"""`dlr tasks`: find LIBERO's tasks, and what is known of them."""

from __future__ import annotations

import json as json_
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import UnknownTaskError, UsageError

if TYPE_CHECKING:
    from simulation.tasks import Task


def tasks(
    name: str = "",
    /,
    suite: str | None = None,
    human_demos: Path | None = None,
    json: bool = False,
) -> None:
    """Find tasks among LIBERO's 130 by a part of their name or language.

    A task's line holds its goal and where demonstrations of it come from: `scripted`, `official`
    where `dlr demos download` fetched them, and `human` where `--human-demos` has a file of it.
    One task alone is shown in full.

    Args:
        name: `suite/name`, a name alone, or a part of either or of the instruction, in any case;
            empty for all.
        suite: Tasks of this suite alone.
        human_demos: Folder of people's recordings, to see which tasks it has some of.
        json: Print a list of all that is known, as JSON.
    """
    if human_demos is not None and not human_demos.is_dir():
        raise UsageError(f"there is no folder {human_demos}: check the path")
    found = [_describe(task, human_demos) for task in _find(name, suite)]
    if json:
        print(json_.dumps(found, indent=2))
    elif name and len(found) == 1:
        print("\n".join(f"{key:<14} {_shown(value)}" for key, value in found[0].items()))
    else:
        sys.stdout.write("".join(f"{_line(task)}\n" for task in found))


def _find(name: str, suite: str | None) -> list[Task]:
    """Return the task of exactly this name, else those that it is a part of."""
    from simulation.tasks import get_task, list_tasks

    listed = list_tasks(suite)
    exact = [task for task in listed if name in (task.key, task.name)]
    if exact and suite is None:
        return [get_task(name)]
    part = name.lower()
    found = exact or [t for t in listed if part in t.key.lower() or part in t.language]
    if not found:
        within = f" in {suite}" if suite else ""
        hint = _nearest(name)
        raise UnknownTaskError(f"no task{within} has {name!r} in its name or instruction{hint}")
    return found


def _nearest(name: str) -> str:
    from simulation.tasks import get_task

    try:
        return f"; {get_task(name).key} is in another suite"
    except UnknownTaskError as error:
        return f": {error}"


def _describe(task: Task, human_demos: Path | None) -> dict[str, Any]:
    return {
        "task": task.key,
        "index": task.index,
        "language": task.language,
        "horizon": task.horizon,
        "goal": [list(predicate) for predicate in task.goal],
        "demonstrations": _sources(task, human_demos),
        "init states": len(task.init_states()),
        "definition": str(task.bddl_file),
    }


def _sources(task: Task, human_demos: Path | None) -> list[str]:
    """Return where demonstrations of a task come from."""
    from demonstrations.official import official_file
    from demonstrations.people import has_people
    from demonstrations.skills.table import find_skills

    sources = []
    try:
        find_skills(task)
        sources.append("scripted")
    except UnknownTaskError:
        pass  # no script is no fault: the line says so
    if official_file(task) is not None:
        sources.append("official")
    if human_demos is not None and has_people(task, human_demos):
        sources.append("human")
    return sources


def _line(task: dict[str, Any]) -> str:
    return f"{task['task']}  {_goal(task['goal'])}  {', '.join(task['demonstrations']) or '-'}"


def _goal(predicates: list[list[str]]) -> str:
    return " and ".join(f"{name}({', '.join(arguments)})" for name, *arguments in predicates)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        nested = value and isinstance(value[0], list)
        return _goal(value) if nested else ", ".join(value) or "none known here"
    return str(value)
