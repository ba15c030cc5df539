"""Scripted demonstrators: each solves a family of tasks in several named ways."""

from generator.demonstrators.drawer import CloseDrawer
from generator.demonstrators.pick_place import PickPlace
from generator.demonstrators.waypoints import Demonstrator, demonstrate
from simulation.errors import UnknownTaskError
from simulation.registry import Task

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
