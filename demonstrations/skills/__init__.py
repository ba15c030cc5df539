"""Scripted skills: each reaches the goals of a family of tasks in several named ways."""

from common.errors import UnknownTaskError
from demonstrations.skills.drawer import CloseDrawer
from demonstrations.skills.pick_place import PickPlace
from demonstrations.skills.skill import Skill
from demonstrations.skills.waypoints import demonstrate
from simulation.tasks import Task

__all__ = ["SKILLS", "Skill", "demonstrate", "find_skill"]

SKILLS: dict[str, tuple[Skill, ...]] = {
    "close": (CloseDrawer(),),
    "on": (PickPlace(),),
}
"""Predicate that a goal begins with -> skills, of which the first that fits is taken."""
_CLUTTERED = {"libero_goal/put_the_bowl_on_the_plate"}
"""Tasks whose goal a skill fits but whose scene leaves it fewer ways than it names."""


def find_skill(task: Task) -> Skill:
    """Return the skill that reaches a task's goal.

    Raises:
        UnknownTaskError: none does.
    """
    for skill in SKILLS.get(task.goal[0][0], ()):
        if skill.fits(task.goal) and task.key not in _CLUTTERED:
            return skill
    raise UnknownTaskError(
        f"no scripted skill for {task.key}: give human demonstrations instead "
        "(`dlr demonstrate --human-demos FOLDER --episodes-per-way 0`)"
    )
