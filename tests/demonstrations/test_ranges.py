"""Every number among the settings of demonstrations has a range; commands look before they make."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from common.errors import SettingError
from demonstrations.config import DemonstrationConfig, Style
from demonstrations.make import make_demonstrations
from demonstrations.ranges import RANGES, check_demonstrations
from simulation.assets.resolve import embedded_pack
from simulation.tasks import get_task
from tests.cli.refused import refused

TASK = "KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet"


def test_every_number_has_one_range_in_which_it_lies() -> None:
    for part, config in (("", DemonstrationConfig()), ("style", Style())):
        numbers = [n for n, v in vars(config).items() if not isinstance(v, str | bool | Style)]
        assert sorted(itertools.chain(*RANGES[part].values())) == sorted(numbers)
    check_demonstrations(DemonstrationConfig())
    check_demonstrations(DemonstrationConfig(0, fresh_share=1.0, style=Style((1.0, 1.0), 0.0, 0.0)))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"seed": -1}, "seed lies in 0 to 4294967295, not -1"),
        ({"seed": 2**32}, "seed lies in 0 to 4294967295, not 4294967296"),
        ({"fresh_share": math.nan}, "fresh-share lies in 0 to 1, not nan"),
        ({"episodes_per_way": -1}, "episodes-per-way is 0 or more, not -1"),
        ({"maximum_attempts": 0}, "maximum-attempts is 1 or more, not 0"),
        ({"style": Style(max_steps=0)}, "style.max-steps is 1 or more, not 0"),
        ({"style": Style((2.0, 1.0))}, "style.speed is a range, from low to high, not 2.0 1.0"),
        ({"style": Style((0.0, 1.0))}, "style.speed is more than 0, not 0.0"),
        ({"style": Style(pushes=1.5)}, "style.pushes lies in 0 to 1, not 1.5"),
        ({"style": Style(tremor=math.inf)}, "style.tremor is 0 or more, not inf"),
    ],
)  # fmt: skip
def test_a_number_out_of_its_range_is_one_error_before_anything_is_made(
    config: dict[str, Any], words: str, tmp_path: Path
) -> None:
    wrong = replace(DemonstrationConfig(), **config)
    with pytest.raises(SettingError) as caught:
        make_demonstrations(get_task(TASK), tmp_path / "run" / "a.hdf5", wrong, embedded_pack())
    assert str(caught.value) == f"--{words}" and not list(tmp_path.iterdir())
    with pytest.raises(SettingError) as caught:
        check_demonstrations(wrong, "demonstrations")
    assert str(caught.value) == f"--demonstrations.{words}"


def test_a_number_that_no_float_holds_is_looked_at_as_well() -> None:
    check_demonstrations(DemonstrationConfig(maximum_attempts=10**400))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demonstrate", TASK, "--seed", "-1"], "--seed lies in 0 to"),
        (["demonstrate", TASK, "--style.speed", "2", "1"], "--style.speed is a range"),
        (["demos", "make", TASK, "--style.max-steps", "0"], "--style.max-steps is 1 or more"),
        (["demos", "make", TASK, "--fresh-share", "nan"], "--fresh-share lies in 0 to 1, not nan"),
        (["demos", "measure", TASK, "--seed", "-1"], "--seed lies in 0 to"),
        (["generate", TASK, "--demonstrations.maximum-attempts", "0"],
         "--demonstrations.maximum-attempts is 1 or more, not 0"),
    ],
)  # fmt: skip
def test_commands_refuse_numbers_before_they_make_anything(
    tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(arguments, tmp_path, capsys).startswith(f"dlr: {message}")


@pytest.mark.parametrize("part", ["", "demonstrations"])
def test_recordings_to_amplify_are_to_be_named(part: str) -> None:
    name = f"--{part}." if part else "--"
    words = f"{name}source amplified needs recordings: give their folder, {name}human-demos"
    with pytest.raises(SettingError, match=f"^{words}$"):
        check_demonstrations(DemonstrationConfig(source="amplified"), part)
    check_demonstrations(DemonstrationConfig(source="amplified", human_demos="people"), part)
    check_demonstrations(DemonstrationConfig(episodes_per_way=0, source="amplified"), part)
