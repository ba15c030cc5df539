"""Recipes: short lists of stages, from demonstrations to a final policy. The one table of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import CheckpointError, DemonstrationError, DlrError, SettingError
from common.json_files import read_sealed, write_sealed
from demonstrations.demonstration import Demonstration
from generator.config import GeneratorConfig
from generator.context import Context
from generator.stages import (
    Discover,
    Filter,
    Learn,
    LearnChunks,
    Reinforce,
    ReinforceChunks,
    ReinforceInformed,
    Stage,
    run_stage,
)
from generator.stages.ranges import check_explores, check_settings
from simulation.tasks import Task

if TYPE_CHECKING:
    from generator.discover import PatternEncoder
    from generator.policies.policy import Policy
    from generator.rollout import Environments


class RecipeError(DlrError, ValueError):
    """A recipe is unknown."""


@dataclass(frozen=True)
class Recipe:
    """A way to make a policy from demonstrations."""

    name: str
    """Name in folders, on the command line and in datasets."""
    label: str
    """Name in the paper."""
    description: str
    """What its episodes are, in a sentence."""
    stages: tuple[Stage, ...]
    """In order; the last one's result is the final policy."""


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "dlr",
            "DLR",
            "Successful episodes of Discover, Learn and Reinforce: several patterns.",
            (
                Discover(),
                Learn(reads=("discover",)),
                Filter(reads=("discover", "learn")),
                Reinforce(reads=("discover", "filter")),
            ),
        ),
        Recipe(
            "o2o_rl",
            "O2O-RL",
            "Successful episodes of offline-to-online RL without patterns.",
            (Learn(), Filter(), Reinforce(reads=("filter",))),
        ),
        Recipe(
            "clone",
            "Clone",
            "Successful episodes of a clone without patterns.",
            (Learn(),),
        ),
        Recipe(
            "dlr_clone",
            "DLR without RL",
            "Successful episodes of a clone with discovered patterns.",
            (Discover(), Learn(reads=("discover",))),
        ),
        Recipe(
            "filtered_clone",
            "Filtered clone",
            "Successful episodes of a clone of demonstrations and a first clone's successes.",
            (Learn(), Filter(always=True)),
        ),
        Recipe(
            "dlr_shuffled",
            "DLR, labels shuffled",
            "Successful episodes of DLR with the labels permuted among the demonstrations.",
            (
                Discover(),
                Learn(reads=("discover",), shuffled=True),
                Filter(reads=("discover", "learn"), shuffled=True),
                Reinforce(reads=("discover", "filter")),
            ),
        ),
        Recipe(
            "mi_shaped",
            "MI-shaped",
            "Successful episodes of RL on success and the mutual information of pattern and state.",
            (
                Discover(),
                Learn(reads=("discover",)),
                Filter(reads=("discover", "learn")),
                ReinforceInformed(reads=("discover", "filter")),
            ),
        ),
        Recipe(
            "mi_shaped_shuffled",
            "MI-shaped, labels shuffled",
            "Successful episodes of MI-shaped RL from a clone whose patterns say nothing.",
            (
                Discover(),
                Learn(reads=("discover",), shuffled=True),
                Filter(reads=("discover", "learn"), shuffled=True),
                ReinforceInformed(reads=("discover", "filter")),
            ),
        ),
        Recipe(
            "diffusion_rl",
            "Diffusion RL",
            "Successful episodes of a diffusion policy, cloned and fine-tuned along its chain.",
            (LearnChunks(), ReinforceChunks()),
        ),
        Recipe(
            "gaussian_rl",
            "Gaussian RL",
            "Successful episodes of a Gaussian policy with the diffusion policy's network.",
            (LearnChunks(kind="gaussian"), ReinforceChunks()),
        ),
        Recipe(
            "dlr_diffusion",
            "DLR with diffusion",
            "Successful episodes of DLR with a diffusion policy for every pattern.",
            (
                Discover(),
                LearnChunks(reads=("discover",)),
                ReinforceChunks(reads=("discover", "learn")),
            ),
        ),
    )
}
"""By name. A new recipe is one entry; the command line, the dataset's configurations, the report
and the checkpoints' readers know it from here."""


def get_recipe(name: str) -> Recipe:
    """Return a recipe.

    Raises:
        RecipeError: there is none of this name.
    """
    if name not in RECIPES:
        raise RecipeError(f"unknown recipe {name!r}: choose one of {', '.join(sorted(RECIPES))}")
    return RECIPES[name]


def check_recipe(recipe: Recipe, config: GeneratorConfig) -> None:
    """Look at the settings of a recipe before anything is made of them.

    Raises:
        CheckpointError: the weights of a network that looks at pictures are not there.
        SettingError: one is out of its range, or would undo what the recipe is for.
    """
    check_settings(config)
    if config.observe.cameras:
        from generator.pixels.backbones import weights_file

        weights_file(config.observe.encoder, config.observe.weights)
    if any(isinstance(stage, Reinforce) for stage in recipe.stages):
        check_explores(config.noise)
    if config.reinforce.demonstration_starts and any(
        getattr(stage, "shuffled", False) for stage in recipe.stages
    ):
        raise SettingError(
            f"{recipe.name} is a control whose labels are shuffled: starts along demonstrations "
            "would tell it the patterns; leave --reinforce.demonstration-starts at 0"
        )
    _check_fits(recipe, config)


def _check_fits(recipe: Recipe, config: GeneratorConfig) -> None:
    """Look at what a stage would refuse once those before it are done.

    Raises:
        SettingError: a network, a chain or a reward cannot be made with the settings.
    """
    chunked = [stage for stage in recipe.stages if isinstance(stage, LearnChunks)]
    for stage in chunked:
        maker = stage.cloning(config)[1]
        assert maker is not None
        maker(1, 0)
    if config.reinforce.residual and (chunked or config.learn.chunk > 1 or config.observe.cameras):
        raise SettingError(
            "--reinforce.residual corrects policies of the state that decide one action at a time, "
            f"which those of {recipe.name} with these settings are not: leave it out"
        )
    few = config.discover.patterns < 2 and not config.discover.choose_patterns
    if few and any(isinstance(stage, ReinforceInformed) for stage in recipe.stages):
        raise SettingError(
            f"{recipe.name} rewards what tells patterns apart: --discover.patterns is 2 or more "
            f"for it, not {config.discover.patterns}"
        )


@dataclass(frozen=True)
class TrainedRecipe:
    """A finished recipe."""

    policy: Policy
    encoder: PatternEncoder | None
    reports: dict[str, dict[str, Any]]
    """Stage -> what it reported."""


def run_recipe(
    recipe: Recipe,
    task: Task,
    environments: Environments,
    demonstrations: Sequence[Demonstration],
    config: GeneratorConfig,
    folder: Path,
    stages: Path,
) -> TrainedRecipe:
    """Run a recipe's stages, those excepted whose record is there already.

    A stage without a record continues from its own checkpoint, if it has one.

    Args:
        recipe: the recipe.
        task: the task.
        environments: slots of the task.
        demonstrations: what the recipe learns from.
        config: settings and seed.
        folder: receives a link to the folder of each stage, and `recipe.json`.
        stages: where the folders of stages lie, which recipes and settings may share.

    Raises:
        DemonstrationError: there are no demonstrations.
        SettingError: a setting is out of its range, or not one of the recipe's.
    """
    check_recipe(recipe, config)
    if not demonstrations:
        raise DemonstrationError(f"there are no demonstrations of {task.key}")
    context = Context(task, environments, demonstrations, config)
    digests = {"demonstrations": _content_hash(demonstrations)}
    if config.observe.cameras:
        digests["demonstrations"] += environments.painters.digest
    reports = {}
    for stage in recipe.stages:
        inputs = {name: digests[name] for name in ("demonstrations", *stage.reads)}
        place, record = run_stage(stage, context, inputs, stages)
        digests[stage.name], reports[stage.name] = record["result"], record["report"]
        _link(folder / stage.name, place)
    content = {"recipe": recipe.name, "config": asdict(config), "results": digests}
    write_sealed(folder / SUMMARY, content)
    return TrainedRecipe(context.results[recipe.stages[-1].name], context.encoder, reports)


SUMMARY = "recipe.json"
"""Name of the file that says what a recipe's links were made with."""
_POLICY = "policy.safetensors"
"""Name of what stages make that end in a policy."""


def read_summary(folder: Path) -> dict[str, Any]:
    """Return a finished recipe's name, its settings, and the digests of what it read and made.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    remedy = "run `dlr train` again"
    return read_sealed(folder / SUMMARY, "a recipe's summary", CheckpointError, remedy)


def find_policy(path: Path) -> Path:
    """Return the checkpoint meant by its own path, a stage's folder, or a finished recipe's.

    Raises:
        CheckpointError: a folder has none.
        RecipeError: it is of a recipe that there is no more.
    """
    if not path.is_dir():
        return path
    if (path / SUMMARY).exists():
        last = get_recipe(read_summary(path)["recipe"]).stages[-1]
        return path / last.name / last.file
    if not (path / _POLICY).exists():
        raise CheckpointError(
            f"{path} is a folder without {_POLICY}: name a checkpoint, the folder of a stage that "
            "makes one, or that of a finished recipe, such as RUN/policies/SUITE/TASK/dlr/seed_0"
        )
    return path / _POLICY


def _link(path: Path, target: Path) -> None:
    """Make a relative link at once, in the place of an older one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(os.path.relpath(target, path.parent), target_is_directory=True)
    os.replace(temporary, path)


def _content_hash(demonstrations: Sequence[Demonstration]) -> str:
    """Return the sha256 of all that stages see; observations tell asset packs apart too."""
    digest = hashlib.sha256()
    for d in demonstrations:
        for array in (d.observations, d.proprio, d.actions):
            digest.update(f"{d.way}{array.shape}{array.dtype}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
