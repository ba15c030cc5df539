"""LIBERO's instructions taken apart into clauses, and put in other words."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

Verb = Literal["move", "stack", "push", "open", "close", "turn on", "turn off"]

_VERBS = r"(?:put|place|close|open|turn|stack|push|pick)"
_PLACES = r"(?:on top of|to the (?:right|left|front) of|inside|under|in|on)\b"
_NAMES: dict[str, str] = {
    "black bowl": "dark round dish",
    "white bowl": "pale round dish",
    "bowl": "round dish",
    "plate": "flat round dish",
    "ramekin": "small baking dish",
    "cookie box": "packet of biscuits",
    "alphabet soup": "can with letters in broth",
    "tomato sauce": "can for pasta",
    "cream cheese box": "packet of soft white spread",
    "cream cheese": "packet of soft white spread",
    "salad dressing": "bottle that one pours over greens",
    "bbq sauce": "bottle for grilled meat",
    "ketchup": "bottle of red sauce",
    "butter": "block that one spreads on toast",
    "milk": "carton that comes from a cow",
    "chocolate pudding": "packet of brown dessert",
    "orange juice": "carton of pressed fruit",
    "basket": "woven container with a handle",
    "tray": "shallow wooden carrier",
    "wine bottle": "tall bottle for grape drinks",
    "wine rack": "stand for bottles",
    "rack": "stand for bottles",
    "moka pots": "coffee makers",
    "moka pot": "coffee maker",
    "frying pan": "flat pan with a long handle",
    "yellow and white mug": "two-coloured cup",
    "white mug": "pale cup",
    "red mug": "crimson cup",
    "book": "bound volume",
    "caddy": "desk organiser",
    "microwave": "oven that heats without a flame",
    "stove": "cooker",
    "cabinet shelf": "board of the open cupboard",
    "shelf": "open cupboard",
    "wooden cabinet": "timber cupboard",
    "cabinet": "cupboard",
}
"""Things of the 130 tasks, described rather than named."""


@dataclass(frozen=True)
class Clause:
    """One demand of an instruction."""

    verb: Verb
    """What is to be done."""
    thing: str
    """To what, with its article: `the black bowl on the stove`."""
    place: str = ""
    """Where to, with its preposition: `on the plate`; empty where nothing goes anywhere."""

    @property
    def plural(self) -> bool:
        """Whether it is about several things."""
        return self.thing.startswith("both ") or self.thing == "them"


def parse(instruction: str) -> tuple[Clause, ...]:
    """Return the clauses of one of LIBERO's instructions, in order.

    Raises:
        ValueError: it has another form than the 130 tasks' instructions have.
    """
    clauses: list[Clause] = []
    held = ""
    for text in re.split(rf" and (?={_VERBS}\b)", instruction):
        if found := re.fullmatch(r"pick up (the .+)", text):
            held = found[1]
            continue
        clause = _clause(text, held)
        held = ""
        clauses.append(clause)
    if held or not clauses:
        raise ValueError(f"the instruction {instruction!r} has no end")
    return tuple(clauses)


def _clause(text: str, held: str) -> Clause:
    if found := re.fullmatch(rf"(?:put|place) (.+?) ({_PLACES}.*)", text):
        thing = held if found[1] == "it" and held else found[1]
        return Clause("move", thing, found[2])
    if found := re.fullmatch(r"stack (the .+?) (on the .+)", text):
        return Clause("stack", found[1], found[2])
    if found := re.fullmatch(r"push (.+?) (to the front of .+)", text):
        return Clause("push", found[1], found[2])
    if found := re.fullmatch(r"turn (on|off) (.+)", text):
        return Clause("turn on" if found[1] == "on" else "turn off", found[2])
    if found := re.fullmatch(r"(open|close) (.+)", text):
        return Clause("open" if found[1] == "open" else "close", found[2])
    raise ValueError(f"{text!r} is of no known form")


_COMMANDS: dict[Verb, tuple[str, ...]] = {
    "move": (
        "move {thing} so that {it} {is} {place}",
        "set {thing} down {place}",
        "take {thing} and leave {them} {place}",
        "bring {thing} over and set {them} down {place}",
    ),
    "stack": (
        "set {thing} down {place}",
        "pile {thing} {place}",
        "lift {thing} and lower {them} so that {it} {is} {place}",
        "get {thing} to stand {place}",
    ),
    "push": (
        "slide {thing} {place}",
        "shove {thing} until {it} {is} {place}",
        "move {thing} along the table {place}",
        "nudge {thing} so that {it} {is} {place}",
    ),
    "open": ("pull {thing} open", "get {thing} open", "make {thing} open", "leave {thing} open"),
    "close": ("shut {thing}", "push {thing} shut", "get {thing} closed", "leave {thing} closed"),
    "turn on": ("switch {thing} on", "start {thing}", "fire up {thing}", "get {thing} going"),
    "turn off": (
        "switch {thing} off",
        "shut {thing} down",
        "stop {thing}",
        "get {thing} to go out",
    ),
}
_OUTCOMES: dict[Verb, str] = {
    "move": "{thing} {is} {place}",
    "stack": "{thing} {is} {place}",
    "push": "{thing} {is} {place}",
    "open": "{thing} {is} open",
    "close": "{thing} {is} closed",
    "turn on": "{thing} {is} switched on",
    "turn off": "{thing} {is} switched off",
}


def command(clause: Clause, which: int) -> str:
    """Return a clause as an order in other words; `which` counts the ways round."""
    ways = _COMMANDS[clause.verb]
    return _fill(ways[which % len(ways)], clause)


def outcome(clause: Clause) -> str:
    """Return a clause as the state that it asks for: `the black bowl is on the plate`.

    Where a thing is told from others by where it stands, that is said to be now.
    """
    thing = re.sub(r"\bfrom table center$", "at the centre of the table", clause.thing)
    moves = clause.verb in ("move", "stack", "push")
    where = re.fullmatch(r"(the .+?) ((?:between|next to|on|in|at) .+)", thing) if moves else None
    if where:
        thing = f"{where[1]} that is now {where[2]}"
    return _fill(_OUTCOMES[clause.verb], replace(clause, thing=thing))


def describe_things(text: str) -> str:
    """Return a text with its things described instead of named."""
    names = sorted(_NAMES, key=len, reverse=True)
    pattern = rf"\b({'|'.join(names)})\b"
    return re.sub(pattern, lambda found: _NAMES[found[1]], text)


def join(parts: list[str], word: str = "and") -> str:
    """Return parts of a sentence as one."""
    return f" {word} ".join(parts)


def _fill(template: str, clause: Clause) -> str:
    plural = clause.plural
    subject = template.startswith("{thing} {is}")
    thing = "they" if clause.thing == "them" and subject else clause.thing
    place = re.sub(r"\bto the front of\b", "in front of", clause.place)
    return template.format(
        thing=thing,
        place=place if "{is} {place}" in template else clause.place,
        it="they" if plural else "it",
        them="them" if plural else "it",
        **{"is": "are" if plural else "is"},
    )
