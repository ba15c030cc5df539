"""What `experiments.recipes` trains: recipes of the two papers, some with a setting changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.study_items import MeasureItem
from experiments.study_results import StudyResult
from generator.config import GeneratorConfig
from generator.run_folder import RunFolder
from generator.work.items import TrainingItem

if TYPE_CHECKING:
    from simulation.tasks import Task


@dataclass(frozen=True)
class Variant:
    """A recipe, with its default settings or with some changed."""

    name: str
    """In folders and tables; the recipe's own where nothing is changed."""
    recipe: str
    """The recipe's name."""
    label: str
    """What it is, in a few words."""
    seeds: int = 1
    """How many of the seeds it is trained with, the first ones."""
    changes: tuple[tuple[str, Any], ...] = ()
    """Setting, such as `diffusion.chain.sampler`, and its value."""

    def config(self, config: GeneratorConfig) -> GeneratorConfig:
        """Return the settings with the changes."""
        for path, value in self.changes:
            config = changed(config, path.split("."), value)
        return config

    def folder(self, root: Path) -> RunFolder:
        """Return the run's folder as this variant sees it."""
        return VariantFolder(root, self.name if self.changes else "")


def changed(settings: Any, path: Sequence[str], value: Any) -> Any:
    """Return frozen settings with another value at a path of fields."""
    name, *rest = path
    new = changed(getattr(settings, name), rest, value) if rest else value
    return replace(settings, **{name: new})


@dataclass(frozen=True)
class VariantFolder(RunFolder):
    """A run's folder in which what is made with other settings has places of its own.

    Demonstrations and finished stages, which are keyed by their settings, are shared.
    """

    variant: str = ""
    """Name of the variant; empty for a recipe as it is."""

    def policies(self, task: Task, recipe: str, seed: int) -> Path:
        """Folder with a link to the folder of each stage of a recipe."""
        return super().policies(task, self.variant or recipe, seed)

    def trajectories(self, task: Task, recipe: str, seed: int) -> Path:
        """Successful episodes of a recipe's final policy."""
        return super().trajectories(task, self.variant or recipe, seed)

    def learned(self, task: Task, recipe: str, seed: int) -> Path:
        """Successful episodes of a recipe's policy after `learn`."""
        return super().learned(task, self.variant or recipe, seed)


@dataclass(frozen=True)
class VariantTraining(TrainingItem):
    """A variant's training and collection."""

    name: str = ""
    """The variant's name."""

    @property
    def what(self) -> str:
        """What is done."""
        return f"{self.name} seed {self.config.seed}"


@dataclass(frozen=True)
class VariantMeasures(MeasureItem):
    """What a variant's training is measured by; its result bears the variant's name."""

    name: str = ""
    """The variant's name."""

    @property
    def what(self) -> str:
        """What is done."""
        return f"measures of {self.name} seed {self.seed}"

    def _measure(self) -> StudyResult:
        return replace(super()._measure(), recipe=self.name)


_CHAIN = "diffusion.chain"
BETAS = {"dlr": 0.0, "mi_shaped_beta_0.001": 0.001, "mi_shaped": 0.01, "mi_shaped_beta_0.1": 0.1}
"""Variant -> weight of mutual information, which `dlr` leaves out."""
VARIANTS = (
    Variant("dlr", "dlr", "DLR", 3),
    Variant("o2o_rl", "o2o_rl", "O2O-RL", 3),
    Variant("mi_shaped", "mi_shaped", "MI-shaped, beta 0.01", 3),
    Variant("diffusion_rl", "diffusion_rl", "Diffusion RL", 3),
    Variant(
        "mi_shaped_beta_0.001", "mi_shaped", "MI-shaped, beta 0.001",
        changes=(("information.beta", 0.001),),
    ),
    Variant(
        "mi_shaped_beta_0.1", "mi_shaped", "MI-shaped, beta 0.1",
        changes=(("information.beta", 0.1),),
    ),
    Variant("gaussian_rl", "gaussian_rl", "Gaussian RL, the same network"),
    Variant("dlr_diffusion", "dlr_diffusion", "DLR with diffusion"),
    Variant(
        "diffusion_mlp", "diffusion_rl", "Diffusion RL: MLP for U-Net",
        changes=(("diffusion.network", "mlp"),),
    ),
    Variant(
        "diffusion_ddpm", "diffusion_rl", "Diffusion RL: DDPM (20 steps, 10 fine-tuned) for DDIM",
        changes=(
            (f"{_CHAIN}.sampler", "ddpm"), (f"{_CHAIN}.levels", 20),
            (f"{_CHAIN}.finetuned_steps", 10),
        ),
    ),
    Variant(
        "diffusion_fixed", "diffusion_rl", "Diffusion RL: fixed rate for cosine",
        changes=(("diffusion.finetuning.annealing", "fixed"),),
    ),
    Variant(
        "diffusion_few", "diffusion_rl", "Diffusion RL: 8 environments for 96",
        changes=(("diffusion.finetuning.episodes", 8),),
    ),
    Variant(
        "diffusion_last", "diffusion_rl", "Diffusion RL: only the last step fine-tuned",
        changes=((f"{_CHAIN}.finetuned_steps", 1),),
    ),
)  # fmt: skip
"""Those that are trained with three seeds first; then what is tried with one."""
ABLATIONS = ("diffusion_mlp", "diffusion_ddpm", "diffusion_fixed", "diffusion_few")
"""Of the second paper's Figure 5."""
