"""Scripted skills: each makes one predicate true for a family of objects, in several ways."""

from demonstrations.skills.caddy import BookInCaddy
from demonstrations.skills.drawer import CloseDrawer
from demonstrations.skills.pick_place import PickPlace
from demonstrations.skills.push import PushPlate
from demonstrations.skills.sequence import Sequence, sequence
from demonstrations.skills.shelf import BookInShelf
from demonstrations.skills.skill import Skill
from simulation.tasks import Task

__all__ = ["SKILLS", "Sequence", "Skill", "find_skills"]

SKILLS: dict[str, tuple[Skill, ...]] = {
    "close": (CloseDrawer(),),
    "on": (
        PushPlate(),
        PickPlace(),
    ),
    "in": (BookInCaddy(), BookInShelf(), PickPlace()),
}
"""Predicate -> skills, of which the first that fits is taken."""


def find_skills(task: Task) -> Sequence:
    """Return the skills that reach a task's goal, one for each of its predicates, in order.

    Raises:
        UnknownTaskError: a predicate of the goal has none.
    """
    return sequence(task, SKILLS)
