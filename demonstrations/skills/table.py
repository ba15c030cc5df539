"""The table of skills: which ones make a predicate true, and those of a whole task."""

from demonstrations.skills.caddy import BookInCaddy
from demonstrations.skills.drawer import CloseDrawer, OpenDrawer
from demonstrations.skills.handled import PlacePan, PlacePot
from demonstrations.skills.pick_place import PickPlace
from demonstrations.skills.sequence import Sequence, sequence
from demonstrations.skills.skill import Skill
from simulation.tasks import Task

SKILLS: dict[str, tuple[Skill, ...]] = {
    "open": (OpenDrawer(),),
    "close": (CloseDrawer(),),
    "on": (PlacePan(), PlacePot(), PickPlace()),
    "in": (BookInCaddy(), PlacePan(), PlacePot(), PickPlace()),
}
"""Predicate -> skills, of which the first that fits is taken."""


def find_skills(task: Task) -> Sequence:
    """Return the skills that reach a task's goal, one for each of its predicates, in order.

    Raises:
        UnknownTaskError: a predicate of the goal has none.
    """
    return sequence(task, SKILLS)
