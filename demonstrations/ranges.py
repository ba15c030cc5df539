"""The range of every number among the settings of demonstrations, looked at before any is made."""

from __future__ import annotations

from collections.abc import Mapping

from common.errors import SettingError
from common.settings.ranges import (
    COUNT,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    Range,
    Ranges,
    check_parts,
    option,
)
from demonstrations.config import AMPLIFIED, DemonstrationConfig
from simulation.starts import SEEDS

RANGES: Mapping[str, Ranges] = {
    "": {
        NOT_NEGATIVE: ("episodes_per_way",),
        SHARE: ("fresh_share",),
        COUNT: ("maximum_attempts",),
        Range(0, SEEDS - 1): ("seed",),
    },
    "style": {
        POSITIVE: ("speed",),
        NOT_NEGATIVE: ("tremor", "aim", "push"),
        SHARE: ("pushes",),
        COUNT: ("push_steps", "max_steps"),
    },
}
"""Part of `DemonstrationConfig` -> range -> names of the settings that keep to it."""


def check_demonstrations(config: DemonstrationConfig, part: str = "") -> None:
    """Look at numbers that would make no demonstrations, or others than were asked for.

    Args:
        config: the settings.
        part: what comes before an option's name on the command line, such as `demonstrations`.

    Raises:
        SettingError: one is out of its range, the speeds are not a low and a high one, or
            recordings to amplify are not named.
    """
    check_parts(config, RANGES, part)
    if config.source == AMPLIFIED and config.episodes_per_way and not config.human_demos:
        source, folder = option(part, "source"), option(part, "human_demos")
        raise SettingError(f"{source} {AMPLIFIED} needs recordings: give their folder, {folder}")
    low, high = config.style.speed
    if low > high:
        speed = option(part, "style.speed")
        raise SettingError(f"{speed} is a range, from low to high, not {low} {high}")
