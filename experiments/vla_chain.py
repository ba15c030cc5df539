"""`python -m experiments.vla_chain`: small VLAs from data to success, each link as users run it.

`overfit` learns a task's demonstrations by heart and solves it from where they began; `transfer`
pretrains on several sources of data, fine-tunes on a downstream task and evaluates there. Every
stage goes on where it was killed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from common.json_files import write_sealed
from common.machine import describe_machine
from common.workers import run_in_fresh_process
from eval_harness.compare import compare
from eval_harness.results import Results, summarise
from experiments.command import run_command
from generator.checkpoints import versions
from simulation.assets.resolve import AssetPack, resolve_assets
from simulation.tasks import get_task
from vla_adapters.training.config import ModelName, TrainConfig
from vla_adapters.training.validation import PROTOCOLS

DRAWER = "libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet"
BOWL = "libero_spatial/pick_up_the_black_bowl_from_table_center_and_place_it_on_the_plate"
LEARNING_RATES = {"pi0": 1e-3, "openvla": 5e-4}
"""For small networks with random weights; the published ones are for large, pretrained ones."""


def overfit(
    model: ModelName = "pi0",
    task: str = DRAWER,
    episodes_per_way: int = 4,
    steps: int = 3000,
    batch: int = 32,
    seed: int = 0,
    assets: Path | None = None,
    work: Path = Path("runs/overfit"),
) -> None:
    """Train on a task's demonstrations alone and evaluate from where they began.

    Args:
        model: pi0 or openvla, its small variant.
        task: the task.
        episodes_per_way: scripted demonstrations of each of its ways.
        steps: training steps.
        batch: samples of a step.
        seed: of demonstrations and training.
        assets: `libero`, `embedded` or a folder; by default the first that `dlr assets` lists.
        work: folder for everything; `<model>.json` holds the outcome.
    """
    pack = resolve_assets(assets)
    data = run_in_fresh_process(_demonstrate, task, episodes_per_way, seed, pack, work)
    config = _settings(model, data, work / model / "training", steps, batch, seed)
    policy = run_in_fresh_process(_train, config)
    starts = work / "demonstrations"
    results = run_in_fresh_process(
        _evaluate, model, policy, task, work / model / "results", None, pack, starts
    )
    outcome = {"demonstrations": str(starts), "training": config.decisive(), **_rates(results)}
    _report(work / f"{model}.json", {model: outcome})


def transfer(
    sources: tuple[Path, ...],
    model: ModelName = "pi0",
    task: str = BOWL,
    episodes_per_way: int = 10,
    pretraining_steps: int = 2000,
    finetuning_steps: int = 1500,
    batch: int = 32,
    trials: int = 50,
    seed: int = 0,
    assets: Path | None = None,
    work: Path = Path("runs/transfer"),
) -> None:
    """Pretrain on each source and on none, fine-tune on a downstream task, evaluate there.

    Args:
        sources: RLDS datasets; equally many episodes of each are used, for equally many steps.
        model: pi0 or openvla, its small variant.
        task: the downstream task.
        episodes_per_way: scripted demonstrations of each of its ways.
        pretraining_steps: steps on a source.
        finetuning_steps: steps on the demonstrations.
        batch: samples of a step.
        trials: episodes of the evaluation.
        seed: of demonstrations and trainings.
        assets: `libero`, `embedded` or a folder; by default the first that `dlr assets` lists.
        work: folder for everything; `<model>.json` holds the outcome.
    """
    pack = resolve_assets(assets)
    data = run_in_fresh_process(_demonstrate, task, episodes_per_way, seed, pack, work)
    episodes = min((run_in_fresh_process(_count, source) for source in sources), default=None)
    outcomes: dict[str, Any] = {}
    found: dict[str, Results] = {}
    for source in (*sources, None):
        name = "none" if source is None else source.parent.name
        folder, init = work / model / name, None
        if source is not None:
            at = folder / "pretraining"
            pretraining = _settings(model, source, at, pretraining_steps, batch, seed)
            init = str(run_in_fresh_process(_train, replace(pretraining, episodes=episodes)))
        finetuning = _settings(model, data, folder / "finetuning", finetuning_steps, batch, seed)
        finetuning = replace(finetuning, init=init)
        policy = run_in_fresh_process(_train, finetuning)
        found[name] = run_in_fresh_process(
            _evaluate, model, policy, task, folder / "results", trials, pack, None
        )
        outcomes[name] = {"source": str(source), "episodes": episodes, **_rates(found[name])}
        _report(work / f"{model}.json", outcomes)
    for name, results in found.items():
        if name != "none":
            outcomes[name]["against_none"] = compare(found["none"], results).all.as_dict()
    _report(work / f"{model}.json", outcomes)


def _settings(
    model: ModelName, data: Path, out: Path, steps: int, batch: int, seed: int
) -> TrainConfig:
    return TrainConfig(
        data=(str(data),),
        out=out,
        model=model,
        steps=steps,
        batch=batch,
        learning_rate=LEARNING_RATES[model],
        schedule="cosine",
        seed=seed,
        keep_epochs=0,
    )


def _demonstrate(task: str, per_way: int, seed: int, assets: AssetPack, work: Path) -> Path:
    """Return a dataset of a task's scripted demonstrations."""
    from dataset_builders.build import BuildConfig, build
    from demonstrations.config import DemonstrationConfig
    from demonstrations.make import make_demonstrations

    config = DemonstrationConfig(episodes_per_way=per_way, seed=seed)
    chosen, folder = get_task(task), work / "demonstrations"
    make_demonstrations(chosen, folder / f"{chosen.name}.hdf5", config, assets).close()
    return build(BuildConfig(folder, work / "data", "demonstrations", assets=str(assets.path)))


def _count(dataset: Path) -> int:
    from vla_adapters.reader import choose_episodes
    from vla_adapters.records import open_records

    return len(choose_episodes(open_records((str(dataset),), "train", ()), (), None))


def _train(config: TrainConfig) -> Path:
    from vla_adapters.training.loop import train

    return train(config)


def _evaluate(
    model: ModelName,
    policy: Path,
    task: str,
    out: Path,
    episodes: int | None,
    assets: AssetPack,
    starts: Path | None,
) -> Results:
    """Evaluate as `dlr eval run` does."""
    from eval_harness.evaluation import evaluate
    from eval_harness.policies import load_policy
    from eval_harness.policies.replay import ReplayPolicy
    from eval_harness.protocols import get_protocol

    protocol = get_protocol(PROTOCOLS[model])
    recorded = None if starts is None else ReplayPolicy.of_folder(starts, assets)
    loaded = load_policy(str(policy), protocol, assets=assets)
    try:
        return evaluate(
            loaded, protocol, [get_task(task)], out, episodes, starts=recorded, assets=assets
        )
    finally:
        loaded.close()


def _rates(results: Results) -> dict[str, Any]:
    return {"results": str(results.folder), "success": summarise(results)["all"]}


def _report(path: Path, outcomes: Mapping[str, Any]) -> None:
    """Write the outcomes so far, and print them."""
    write_sealed(
        path, {"machine": describe_machine(), "versions": versions(), "outcomes": dict(outcomes)}
    )
    for name, outcome in outcomes.items():
        print(f"{path.stem} {name}: {outcome['success']}", flush=True)


if __name__ == "__main__":
    run_command({"overfit": overfit, "transfer": transfer}, "experiments.vla_chain")
