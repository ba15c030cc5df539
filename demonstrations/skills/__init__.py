"""Scripted demonstrators: each solves a family of tasks in several named ways."""

from common.errors import UnknownTaskError
from demonstrations.skills.drawer import CloseDrawer
from demonstrations.skills.pick_place import PickPlace
from demonstrations.skills.waypoints import Demonstrator, demonstrate
from simulation.tasks import Task

__all__ = ["Demonstrator", "demonstrate", "find_demonstrator"]


def find_demonstrator(task: Task) -> Demonstrator:
    """Return the demonstrator that knows a task.

    Raises:
        UnknownTaskError: none does.
    """
    for demonstrator in (CloseDrawer(), PickPlace()):
        if demonstrator.knows(task):
            return demonstrator
    raise UnknownTaskError(
        f"no scripted demonstrator for {task.key}: give human demonstrations instead "
        "(`dlr demonstrate --human-demos FOLDER --episodes-per-way 0`)"
    )
