"""`dlr train`: train a recipe's policies on demonstrations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from generator.config import (
    DiffusionConfig,
    DiscoverConfig,
    EvaluationConfig,
    FilterConfig,
    GeneratorConfig,
    InformationConfig,
    LearnConfig,
    NoiseConfig,
    ObserveConfig,
    ReinforceConfig,
)
from generator.recipes import RECIPES
from generator.run_folder import DEFAULT_RUN, SLOTS, RunFolder, load_demonstrations, train_recipe

if TYPE_CHECKING:
    RecipeName = str
    from generator.recipes import TrainedRecipe

else:
    RecipeName = Literal[tuple(RECIPES)]


def train(
    task: str,
    /,
    recipe: RecipeName = "dlr",
    seed: int = 0,
    run: Path = DEFAULT_RUN,
    assets: Path | None = None,
    slots: int = SLOTS,
    horizon_factor: float = GeneratorConfig.horizon_factor,
    discover: DiscoverConfig = DiscoverConfig(),
    learn: LearnConfig = LearnConfig(),
    reinforce: ReinforceConfig = ReinforceConfig(),
    evaluation: EvaluationConfig = EvaluationConfig(),
    noise: NoiseConfig = NoiseConfig(),
    filtered: FilterConfig = FilterConfig(),
    information: InformationConfig = InformationConfig(),
    diffusion: DiffusionConfig = DiffusionConfig(),
    observe: ObserveConfig = ObserveConfig(),
    device: Literal["cpu", "cuda"] = "cpu",
) -> None:
    """Train a recipe's policies on the run's demonstrations; a killed training goes on.

    Args:
        task: A task, as `suite/name` or its name alone.
        recipe: Discover, learn, reinforce; or its baseline without patterns.
        seed: Seed of the training, 0 to 99.
        run: Folder that all stages share.
        assets: `libero`, `embedded` or a folder of assets; by default as `dlr assets` says.
        slots: Environments stepped together; more use more memory, the result is the same.
        horizon_factor: Training episodes end after this times what 95% of demonstrations take.
        discover: Stage 1.
        learn: Stage 2.
        reinforce: Stage 3.
        evaluation: How success is measured.
        noise: Noise of every rollout, the collection's included.
        filtered: Filtered cloning, where the clone is too weak for PPO.
        information: Mutual information as a reward, in `mi_shaped`.
        diffusion: Policies of `diffusion_rl`, `dlr_diffusion` and `gaussian_rl`.
        observe: What policies observe: the simulator's state, or pictures of cameras.
        device: Where pictures are encoded.
    """
    from generator.stages.ranges import check_slots
    from simulation.assets.resolve import resolve_assets
    from simulation.environment import BatchEnvironment
    from simulation.tasks import get_task

    check_slots(slots)
    chosen, folder, pack = get_task(task), RunFolder(run), resolve_assets(assets)
    demonstrations = load_demonstrations(folder, chosen, pack)
    config = GeneratorConfig(
        seed,
        discover,
        learn,
        reinforce,
        evaluation,
        horizon_factor,
        noise,
        filtered,
        information,
        diffusion,
        observe,
        device,
    )
    with BatchEnvironment(chosen, slots, pack) as environments:
        result = train_recipe(folder, recipe, environments, demonstrations, config)
    _print_success(result)
    print(folder.policies(chosen, recipe, seed))


def _print_success(result: TrainedRecipe) -> None:
    for stage, report in result.reports.items():
        for z, row in enumerate(report.get("held_out_success", ())):
            policy = f"pattern {z}" if result.encoder else "no pattern"
            print(
                f"{stage:<10} {policy:<10} {row['success']:.0%} of {row['episodes']} held-out "
                f"episodes (95% {row['low']:.0%} to {row['high']:.0%})"
            )
        if chosen := report.get("budget") or report.get("need"):
            print(f"{stage:<10} {chosen['why']}")
        if "stopped" in report:
            steps = report["environment_steps"]
            print(
                f"{stage:<10} {report['stopped']}: {steps['total']} environment steps, of which "
                f"{steps['evaluation']} of evaluations"
            )
