"""The language axis: the same demand in other words, among distractions, or as a state to reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from eval_harness.perturbations import wording
from eval_harness.perturbations.base import Perturbation
from simulation.tasks import Task

_COURTESIES = ("please {}", "could you {}", "robot, {}", "{}, please", "now {}", "kindly {}")
_FRAMES = (
    "your job now is this: {}",
    "what I need from you is to {}",
    "go ahead and {}",
    "the next step is to {}",
    "here is what to do: {}",
    "it is time to {}",
)
_BEFORE = (
    "the light here is rather dim today, but {}",
    "I had my lunch an hour ago; {}",
    "never mind the other things in view, {}",
    "there is no hurry at all: {}",
    "someone tidied up here this morning. {}",
    "do not worry about the noise next door and {}",
)
_AFTER = (
    "{}; after that you are done for today",
    "{}, and leave everything else where it is",
    "{}, as we did last week",
    "{}; nothing else here needs your attention",
    "{}, since guests arrive at noon",
    "{}; a colleague will look in later",
)
_STATES = (
    "do whatever it takes so that in the end {}",
    "I shall be content once {}",
    "the job counts as done only when {}",
    "look at what is there, work out what is missing, and see to it that {}",
    "when I come back I expect to find that {}",
    "things are not as they should be: they are right once {}",
)
_RIDDLES = (
    "if you had to explain a photograph in which {}, what would you have done? do that",
    "think of how this place looks when {}, and make it look so",
    "someone will check whether {}; make sure that the answer is yes",
    "a finished workplace is one where {}; yours is not finished yet",
    "imagine that {}: now make it true, step by step",
    "suppose I claimed that {}. make me right",
)


@dataclass(frozen=True)
class Language(Perturbation):
    """Puts the instruction otherwise; what it asks for, and of which things, stays the same.

    1: the same words with a courtesy. 2: other verbs. 3: other verbs among clauses that ask for
    nothing. 4: the state to reach instead of what to do. 5: the state to reach, in a riddle, its
    things described instead of named. Each level has six forms and more for every task.
    """

    axis: ClassVar[str] = "language"

    def instruction(self, instruction: str, task: Task, seed: int) -> str:
        """Return how an episode's instruction is put.

        Raises:
            ValueError: it is none of LIBERO's.
        """
        if not self.active:
            return instruction
        form, other, way = self.draws(task, seed).integers(0, 6, 3).tolist()
        if self.level == 1:
            return _COURTESIES[form].format(instruction)
        clauses = wording.parse(instruction)
        if self.level in (2, 3):
            order = wording.join([wording.command(clause, way) for clause in clauses])
            if self.level == 2:
                return _FRAMES[form].format(order)
            return _AFTER[other].format(_BEFORE[form].format(order))
        state = wording.join([wording.outcome(clause) for clause in clauses])
        if self.level == 4:
            return _STATES[form].format(state)
        return _RIDDLES[form].format(wording.describe_things(state))
