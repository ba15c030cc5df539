"""`python -m experiments.clones`: is the data fit to learn from? Clones for each of many tasks.

Each task is demonstrated in all of its ways and cloned twice, with the patterns that `discover`
finds and without; each clone is rolled out from held-out starts. One small file a task,
`results/clones/SUITE/TASK.json`, tells success with its interval, the likelihood of the
demonstrations beside that of those kept for validation, and the CPU seconds that `learn` took.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.machine import describe_machine
from demonstrations.config import Style
from experiments.command import run_command
from experiments.many import attempt_tasks
from generator.config import EvaluationConfig, GeneratorConfig
from simulation.assets.resolve import AssetPack, resolve_assets

TASKS = (
    "libero_spatial/pick_up_the_black_bowl_from_table_center_and_place_it_on_the_plate",
    "libero_spatial/pick_up_the_black_bowl_on_the_stove_and_place_it_on_the_plate",
    "libero_object/pick_up_the_alphabet_soup_and_place_it_in_the_basket",
    "libero_object/pick_up_the_milk_and_place_it_in_the_basket",
    "libero_goal/open_the_middle_drawer_of_the_cabinet",
    "libero_goal/put_the_bowl_on_top_of_the_cabinet",
    "libero_goal/turn_on_the_stove",
    "libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet",
    "libero_90/KITCHEN_SCENE10_put_the_black_bowl_in_the_top_drawer_of_the_cabinet",
    "libero_90/KITCHEN_SCENE2_stack_the_middle_black_bowl_on_the_back_black_bowl",
    "libero_90/KITCHEN_SCENE3_put_the_frying_pan_on_the_stove",
    "libero_90/KITCHEN_SCENE3_put_the_moka_pot_on_the_stove",
    "libero_90/KITCHEN_SCENE5_put_the_black_bowl_on_the_plate",
    "libero_90/KITCHEN_SCENE6_close_the_microwave",
    "libero_90/KITCHEN_SCENE7_put_the_white_bowl_on_the_plate",
    "libero_90/LIVING_ROOM_SCENE3_pick_up_the_butter_and_put_it_in_the_tray",
    "libero_90/LIVING_ROOM_SCENE4_pick_up_the_chocolate_pudding_and_put_it_in_the_tray",
    "libero_90/LIVING_ROOM_SCENE5_put_the_red_mug_on_the_left_plate",
    "libero_90/LIVING_ROOM_SCENE6_put_the_chocolate_pudding_to_the_left_of_the_plate",
    "libero_90/STUDY_SCENE1_pick_up_the_book_and_place_it_in_the_left_compartment_of_the_caddy",
)
"""Twenty tasks of at least seven skills."""


@dataclass(frozen=True)
class CloneItem:
    """A task's clone, as one work item."""

    task: str
    """The task's key."""
    episodes_per_way: int
    """Demonstrations of each way."""
    style: Style
    """How the demonstrator moves."""
    config: GeneratorConfig
    """Settings and seed of `discover`, `learn` and the evaluation."""
    assets: AssetPack
    """Asset pack."""
    work: Path
    """Folder of demonstrations and stages."""
    out: Path
    """Folder of the result."""


def clone(item: CloneItem) -> str:
    """Demonstrate, clone, evaluate, write the result; return a line on it."""
    from common.json_files import write_sealed
    from common.manifest import file_sha256
    from demonstrations.config import DemonstrationConfig
    from demonstrations.make import make_demonstrations, observe
    from generator.checkpoints import read_cost
    from generator.context import Context
    from generator.run_folder import RunFolder
    from generator.stages import Discover, Learn, run_stage
    from simulation.environment import BatchEnvironment, Environment
    from simulation.tasks import get_task

    task, run = get_task(item.task), RunFolder(item.work)
    source = DemonstrationConfig(
        item.episodes_per_way, "scripted", seed=item.config.seed, style=item.style
    )
    with make_demonstrations(task, run.demonstrations(task), source, item.assets) as file:
        demonstrations = observe(file, Environment(task, item.assets))
    with BatchEnvironment(task, 8, item.assets) as environments:
        inputs = {"demonstrations": file_sha256(run.demonstrations(task))}
        recipes = {"one": (Learn(),), "patterns": (Discover(), Learn(reads=("discover",)))}
        clones = {}
        for name, stages in recipes.items():
            context, records = Context(task, environments, demonstrations, item.config), {}
            digests = dict(inputs)
            for stage in stages:
                folder, record = run_stage(stage, context, digests, run.stages(task))
                records[stage.name], digests[stage.name] = record, record["result"]
            clones[name] = {
                "held_out_success": _success(records["learn"]),
                "cost": read_cost(folder),
                "records": records,
            }
    outcome = {
        "task": task.key,
        "pack": item.assets.name,
        "demonstrations": len(demonstrations),
        "style": asdict(item.style),
        "ways": sorted({demonstration.way for demonstration in demonstrations}),
        "clones": clones,
        "machine": describe_machine(),
    }
    write_sealed(item.out / f"{task.key}.json", outcome)
    return ", ".join(_line(name, found) for name, found in clones.items())


def _success(record: dict[str, Any]) -> dict[str, float]:
    """Return success over all patterns, with its interval."""
    from common.intervals import wilson_interval

    groups = record["report"]["held_out_success"]
    episodes = sum(group["episodes"] for group in groups)
    successes = round(sum(group["success"] * group["episodes"] for group in groups))
    low, high = wilson_interval(successes, episodes)
    return {"success": successes / episodes, "low": low, "high": high, "episodes": episodes}


def _line(name: str, clone: dict[str, Any]) -> str:
    success, report = clone["held_out_success"], clone["records"]["learn"]["report"]
    loss = [report[part]["negative_log_likelihood"] for part in ("training", "validation")]
    return (
        f"{name} {success['success']:.0%} ({success['low']:.0%} to {success['high']:.0%}) of "
        f"{success['episodes']}, {loss[0]:.1f} and {loss[1]:.1f} nats"
    )


def clones(
    tasks: tuple[str, ...] = TASKS,
    episodes_per_way: int = 40,
    assets: Path | None = None,
    work: Path = Path("runs/clones"),
    out: Path = Path("results/clones"),
    workers: int | None = None,
    style: Style = Style(),
    config: GeneratorConfig = GeneratorConfig(evaluation=EvaluationConfig(episodes=10)),
) -> None:
    """Clone demonstrations of many tasks and evaluate each clone from held-out starts.

    Args:
        tasks: the tasks, as `suite/name`.
        episodes_per_way: demonstrations of each way.
        assets: `libero`, `embedded` or a folder; by default the first that `dlr assets` lists.
        work: folder of demonstrations and stages; what is there is not made again.
        out: folder of the results.
        workers: processes; by default one for each core.
        style: how the demonstrator moves.
        config: settings and seed; `evaluation.episodes` are those of each pattern.

    Raises:
        DlrError: tasks failed; the others' results are written.
    """
    pack = resolve_assets(assets)
    items = [CloneItem(task, episodes_per_way, style, config, pack, work, out) for task in tasks]
    attempt_tasks(clone, items, workers, "cloning")


if __name__ == "__main__":
    run_command(clones, "experiments.clones")
