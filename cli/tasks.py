"""`dlr tasks`: list LIBERO's tasks, or show one."""

from __future__ import annotations

import sys


def tasks(name: str = "", /, suite: str | None = None) -> None:
    """List LIBERO's 130 tasks, or show one of them.

    Args:
        name: A task, as `suite/name` or its name alone; empty for the list.
        suite: List this suite alone.
    """
    from simulation.tasks import get_task, list_tasks

    if not name:
        sys.stdout.write("".join(f"{task.key}\n" for task in list_tasks(suite)))
        return
    task = get_task(name)
    fields = {
        "task": task.key,
        "index": task.index,
        "language": task.language,
        "horizon": f"{task.horizon} steps",
        "init states": len(task.init_states()),
        "definition": task.bddl_file,
    }
    print("\n".join(f"{key:<12} {value}" for key, value in fields.items()))
