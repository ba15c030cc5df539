"""The table of skills: which ones make a predicate true, and those of a whole task."""

from demonstrations.skills.articulated.door import MoveDoor
from demonstrations.skills.articulated.drawer import CloseDrawer, OpenDrawer
from demonstrations.skills.articulated.knob import TurnKnob
from demonstrations.skills.caddy import BookInCaddy
from demonstrations.skills.cavity import MugIntoMicrowave
from demonstrations.skills.handled import PlacePan, PlacePot
from demonstrations.skills.pick_place import PickPlace
from demonstrations.skills.push import PushPlate
from demonstrations.skills.rack import BottleOnRack
from demonstrations.skills.sequence import Sequence, sequence
from demonstrations.skills.shelf import BookInShelf
from demonstrations.skills.skill import Skill
from simulation.tasks import Task

SKILLS: dict[str, tuple[Skill, ...]] = {
    "open": (OpenDrawer(), MoveDoor()),
    "close": (CloseDrawer(), MoveDoor()),
    "turnon": (TurnKnob(),),
    "turnoff": (TurnKnob(),),
    "on": (PushPlate(), BottleOnRack(), PlacePan(), PlacePot(), PickPlace()),
    "in": (MugIntoMicrowave(), BookInCaddy(), BookInShelf(), PlacePan(), PlacePot(), PickPlace()),
}
"""Predicate -> skills, of which the first that fits is taken."""


def find_skills(task: Task) -> Sequence:
    """Return the skills that reach a task's goal, one for each of its predicates, in order.

    Raises:
        UnknownTaskError: a predicate of the goal has none.
    """
    return sequence(task, SKILLS)
