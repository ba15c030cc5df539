"""Every number among the settings has a range, in which all that is there lies."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli import generate, quickstart
from common.errors import CheckpointError, SettingError
from common.settings.ranges import Range
from experiments import options, seeing, study
from experiments.recipes.variants import VARIANTS
from generator.config import (
    CollectConfig,
    GeneratorConfig,
    NoiseConfig,
    ObserveConfig,
    ReinforceConfig,
)
from generator.policies.gaussian import MAXIMUM_STD, MINIMUM_STD
from generator.recipes import RECIPES, check_recipe
from generator.stages.ranges import (
    COLLECT_RANGES,
    RANGES,
    SUBSTEPS,
    check_collect,
    check_settings,
)
from simulation.environment import FEWEST_SUBSTEPS, Environment
from simulation.tasks import get_task
from tests.at_rest import support
from tests.cli.refused import refused
from tests.experiments.test_recipes import TINY
from tests.generator import test_recipes
from tests.generator.finetuning import test_filtered
from tests.generator.pixels import test_learning
from tests.generator.work import test_items

TASK = "KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet"


def numbers(config: Any, part: str = "") -> Iterator[str]:
    """Yield the dotted names of a configuration's numbers."""
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), f"{part}{field.name}"
        if dataclasses.is_dataclass(value):
            yield from numbers(value, f"{name}.")
        elif not isinstance(value, bool | str) and not (isinstance(value, tuple) and not value):
            yield name


def test_every_number_has_one_range() -> None:
    named = [
        f"{part}.{name}".lstrip(".")
        for part, ranges in RANGES.items()
        for name in itertools.chain(*ranges.values())
    ]
    assert sorted(named) == sorted(numbers(GeneratorConfig()))
    assert sorted(itertools.chain(*COLLECT_RANGES.values())) == sorted(numbers(CollectConfig()))


def test_all_that_is_there_lies_in_its_range() -> None:
    every = [GeneratorConfig(), seeing.TRAIN, quickstart._settings(10, "").train]
    every += [variant.config(GeneratorConfig()) for variant in VARIANTS]
    every += [
        dataclasses.replace(GeneratorConfig(), reinforce=ReinforceConfig(**changes))
        for changes in options.OPTIONS.values()
    ]
    every += [support.CONFIG, TINY, test_filtered.CONFIG, test_learning.CONFIG, test_items.CONFIG]
    every += [test_recipes.CONFIG, test_recipes.FILTERING, test_recipes.CHUNKED]
    for config, recipe in itertools.product(every, RECIPES.values()):
        plain = dataclasses.replace(
            config,
            reinforce=dataclasses.replace(
                config.reinforce, demonstration_starts=0.0, residual=False
            ),
            observe=dataclasses.replace(config.observe, weights="none"),
        )
        check_recipe(recipe, plain)
        check_settings(config)
    for collection in (CollectConfig(), generate.LEARNED, study.COLLECT, seeing.COLLECT):
        check_collect(collection)


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("learn.patience", 0, "is 1 or more"),
        ("learn.ema_decay", 1.0, r"lies in \[0, 1\)"),
        ("reinforce.patience", 0, "is 1 or more"),
        ("reinforce.warmup_episodes", 0, "is 1 or more"),
        ("reinforce.minibatches", 0, "is 1 or more"),
        ("reinforce.critic_hidden", (64, 0), "is 1 or more"),
        ("reinforce.clip", -1.0, "is more than 0"),
        ("reinforce.clip", math.nan, "is more than 0"),
        ("reinforce.gamma", 1.5, r"lies in \(0, 1\]"),
        ("reinforce.gamma", 0.0, r"lies in \(0, 1\]"),
        ("reinforce.gae_lambda", -1.0, "lies in 0 to 1"),
        ("reinforce.substeps", 5, "lies in 10 to 25"),
        ("reinforce.learning_rate", math.inf, "is more than 0"),
        ("reinforce.budget.steps", 0, "is 1 or more"),
        ("discover.batch_size", 0, "is 1 or more"),
        ("noise.memory", 1.5, r"lies in \[0, 1\)"),
        ("noise.std", -0.1, "is 0 or more"),
        ("diffusion.finetuning.denoising_gamma", 0.0, r"lies in \(0, 1\]"),
    ],
)
def test_a_number_out_of_its_range_is_one_clear_error(option: str, value: Any, words: str) -> None:
    given = value[-1] if isinstance(value, tuple) else value
    spelt = option.replace("_", "-")
    with pytest.raises(SettingError, match=rf"^--{spelt} {words}, not {given}$"):
        check_settings(changed(GeneratorConfig(), option, value))


def changed(config: Any, name: str, value: Any) -> Any:
    """Return a configuration with the number of a dotted name changed."""
    first, _, rest = name.partition(".")
    inner = changed(getattr(config, first), rest, value) if rest else value
    return dataclasses.replace(config, **{first: inner})


def test_weights_that_are_not_there_are_told_before_the_first_stage(tmp_path: Path) -> None:
    seeing = ObserveConfig(cameras=("agentview",), weights=str(tmp_path / "missing.safetensors"))
    with pytest.raises(CheckpointError, match=r"no file of weights at .*missing.safetensors"):
        check_recipe(RECIPES["dlr_clone"], GeneratorConfig(observe=seeing))


def test_only_ppo_bounds_the_noise() -> None:
    for std in (0.0, MINIMUM_STD - 1e-3, MAXIMUM_STD + 1e-3):
        quiet = GeneratorConfig(noise=NoiseConfig(std=std))
        check_recipe(RECIPES["dlr_clone"], quiet)
        for name in ("dlr", "mi_shaped", "diffusion_rl"):
            with pytest.raises(SettingError, match=r"--noise.std lies in 0.02 to 0.5 in a recipe"):
                check_recipe(RECIPES[name], quiet)
    for std in (MINIMUM_STD, MAXIMUM_STD):
        check_recipe(RECIPES["dlr"], GeneratorConfig(noise=NoiseConfig(std=std)))


def test_ranges_are_those_of_what_takes_the_numbers() -> None:
    environment = Environment(get_task(TASK))
    assert Range(FEWEST_SUBSTEPS, environment.scene.robot.substeps) == SUBSTEPS
    with pytest.raises(SettingError, match=r"--observe.size lies in 32 to 480, not 8"):
        check_settings(GeneratorConfig(observe=ObserveConfig(size=8)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate", TASK, "--learn.patience", "0"], "--learn.patience is 1 or more, not 0"),
        (["generate", TASK, "--noise.std", "0.01"], "--noise.std lies in 0.02 to 0.5 in a recipe"),
        (["generate", TASK, "--seeds", "0,100"], "--seeds lies in 0 to 99, not 100"),
        (["generate", TASK, "--collect.fresh-share", "3"], "--collect.fresh-share lies in 0 to 1"),
        (["collect", TASK, "--fresh-share", "3"], "--fresh-share lies in 0 to 1, not 3"),
        (["build", "--trajectories", "x", "--data-dir", "y", "--collect.wave", "0"],
         "--collect.wave is 1 or more"),
    ],
)  # fmt: skip
def test_commands_refuse_numbers_before_they_make_anything(
    tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(arguments, tmp_path, capsys).startswith(f"dlr: {message}")


@pytest.mark.parametrize(
    ("recipe", "changes", "words"),
    [
        ("dlr", {"reinforce.residual": True, "learn.chunk": 4}, "one action at a time"),
        ("diffusion_rl", {"reinforce.residual": True}, "those of diffusion_rl .* are not"),
        ("mi_shaped", {"discover.patterns": 1}, "--discover.patterns is 2 or more"),
        ("diffusion_rl", {"diffusion.chunk": 7}, "halves a chunk"),
        ("gaussian_rl", {"diffusion.channels": (30, 64)}, "widths of a denoising network"),
        ("dlr_diffusion", {"diffusion.chain.levels": 4}, "a chain of 5 steps over 4"),
    ],
)
def test_what_does_not_fit_a_recipe_is_told_before_its_first_stage(
    recipe: str, changes: dict[str, Any], words: str
) -> None:
    config = GeneratorConfig()
    check_recipe(RECIPES[recipe], config)
    for name, value in changes.items():
        config = changed(config, name, value)
    with pytest.raises(SettingError, match=words):
        check_recipe(RECIPES[recipe], config)
