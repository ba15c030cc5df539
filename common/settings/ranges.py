"""The range of a number among the settings, and a table's worth of them looked at."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal

from common.errors import SettingError


@dataclass(frozen=True)
class Range:
    """The numbers from one to another."""

    low: float
    """The least, unless it is left out."""
    high: float = math.inf
    """The largest, unless it is left out; infinity is always."""
    without: Literal["", "low", "high"] = ""
    """Which end is left out."""

    def __contains__(self, value: float) -> bool:
        """Return whether a number lies in it; NaN and infinity never do."""
        inner = self.low <= value <= self.high and value != math.inf
        return inner and value != {"low": self.low, "high": self.high}.get(self.without)

    def __str__(self) -> str:
        """Return what a number in it does, as a message says it."""
        if math.isinf(self.high):
            return f"is more than {self.low}" if self.without else f"is {self.low} or more"
        if not self.without:
            return f"lies in {self.low} to {self.high}"
        left, right = "(" if self.without == "low" else "[", ")" if self.without == "high" else "]"
        return f"lies in {left}{self.low}, {self.high}{right}"

    def check(self, option: str, value: float, where: str = "") -> None:
        """Look at the number that an option was given.

        Args:
            option: as the command line spells it.
            value: the number.
            where: what the range is for, if not for all, such as `in a recipe with PPO`.

        Raises:
            SettingError: it does not lie in the range.
        """
        if value not in self:
            raise SettingError(f"{option} {self}{where and f' {where}'}, not {value}")


COUNT, POSITIVE, NOT_NEGATIVE = Range(1), Range(0, without="low"), Range(0)
SHARE, LESS_THAN_ALL, DISCOUNT = Range(0, 1), Range(0, 1, "high"), Range(0, 1, "low")

Ranges = Mapping[Range, tuple[str, ...]]
"""Range -> names of the settings that keep to it; where one is several numbers, each does."""


def check_ranges(settings: Any, ranges: Ranges, part: str = "") -> None:
    """Look at the numbers of some settings.

    Args:
        settings: has them as attributes.
        ranges: of the numbers.
        part: what comes before an option's name on the command line, such as `collect`.

    Raises:
        SettingError: one is out of its range; names the option as the command line spells it.
    """
    for kept, names in ranges.items():
        for name in names:
            for value in _numbers(getattr(settings, name)):
                kept.check(option(part, name), value)


def check_parts(settings: Any, parts: Mapping[str, Ranges], part: str = "") -> None:
    """Look at the numbers of settings that have parts: dotted name -> ranges; see `check_ranges`.

    The settings themselves are the part without a name.
    """
    for name, ranges in parts.items():
        inner = attrgetter(name)(settings) if name else settings
        check_ranges(inner, ranges, ".".join(filter(None, (part, name))))


def option(part: str, name: str) -> str:
    """Return a setting as the command line spells it, such as `--collect.fresh-share`."""
    return f"--{'.'.join(filter(None, (part, name)))}".replace("_", "-")


def _numbers(value: float | tuple[float, ...] | None) -> Iterator[float]:
    """Yield a setting's numbers; one that was not given has none."""
    if value is not None:
        yield from value if isinstance(value, tuple) else (value,)
