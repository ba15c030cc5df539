"""`dlr report`: gather what a run made of each task and compare its recipes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import UsageError
from generator.run_folder import DEFAULT_RUN, RunFolder, read_record

if TYPE_CHECKING:
    from generator.discover import PatternEncoder
    from reports.run import Count, Filmstrip, LearningCurve, RecipeResult, TaskResult
    from simulation.assets.resolve import AssetPack
    from simulation.recordings.trajectories import Episode, TrajectoryFile
    from simulation.tasks import Task

BASELINE, CANDIDATE = "o2o_rl", "dlr"
NAMES = {BASELINE: "O2O-RL", CANDIDATE: "DLR"}
"""Recipe -> its name in the paper."""


def report(run: Path = DEFAULT_RUN, assets: Path | None = None) -> None:
    """Compare a run's recipes on every task that both have collected.

    Prints success per pattern and the diversity metrics, and writes `report.html`, one
    self-contained page, and `report.json` into the run's folder.

    Args:
        run: Folder that all stages share.
        assets: `libero`, `embedded` or a folder of assets to draw with; by default those that the
            trajectories were made with, where they are found.
    """
    from simulation.assets.resolve import resolve_assets

    pack = None if assets is None else resolve_assets(assets)
    print("\n".join(map(str, report_run(RunFolder(run), pack))))


def report_run(run: RunFolder, assets: AssetPack | None) -> tuple[Path, Path]:
    """Print and write the report; return the paths of the page and of the numbers.

    Raises:
        UsageError: no task was collected with both recipes.
        OutputError: the run's folder cannot be written.
    """
    from simulation.tasks import list_tasks

    tasks = [
        task
        for task in list_tasks()
        if all(run.trajectories(task, recipe).exists() for recipe in NAMES)
    ]
    if not tasks:
        raise UsageError(
            f"{run.root} has no task that both {' and '.join(NAMES)} have collected; "
            "run `dlr train` and `dlr collect` for both"
        )
    from reports.run import write_report

    return write_report([gather(run, task, assets) for task in tasks], run.root)


def gather(run: RunFolder, task: Task, assets: AssetPack | None) -> TaskResult:
    """Read one task's results of both recipes; both are embedded by DLR's frozen encoder."""
    from generator.discover import PatternEncoder
    from reports.run import TaskResult

    encoder = PatternEncoder.load(
        run.policies(task, CANDIDATE) / "discover" / "encoder.safetensors"
    )
    baseline, candidate = (
        _recipe_result(run, task, recipe, encoder, assets) for recipe in (BASELINE, CANDIDATE)
    )
    return TaskResult(
        task=task.key,
        language=task.language,
        baseline=baseline,
        candidate=candidate,
        provenance=_provenance(run, task),
    )


def _recipe_result(
    run: RunFolder, task: Task, recipe: str, encoder: PatternEncoder, assets: AssetPack | None
) -> RecipeResult:
    from analysis.diversity import Trajectory
    from reports.run import RecipeResult
    from simulation.recordings.trajectories import TrajectoryFile

    folder = run.policies(task, recipe)
    learned, reinforced = (read_record(folder, stage)["report"] for stage in ("learn", "reinforce"))
    patterns = recipe == CANDIDATE
    with TrajectoryFile(run.trajectories(task, recipe)) as file:
        episodes = list(file)
        filmstrips = _filmstrips(task, episodes, _pack_of(file, assets))
    trajectories = [
        Trajectory(
            proprio=episode.path,
            embedding=encoder.embed(episode.path).astype(float),
            pattern=episode.info.pattern,
            seed=episode.info.seed,
            init_index=episode.info.init_index,
            success=episode.info.success,
        )
        for episode in episodes
    ]
    nmi = None
    if patterns:
        nmi = read_record(folder, "discover")["report"].get("mutual_information_with_ways")
    return RecipeResult(
        name=NAMES[recipe],
        trajectories=trajectories,
        learned=_counts(learned, patterns),
        reinforced=_counts(reinforced, patterns),
        recognised=_recognised(episodes, encoder) if patterns else {},
        discovery_nmi=nmi,
        curves=_curves(learned, reinforced, patterns),
        collection=_collection(episodes),
        filmstrips=filmstrips,
    )


def _counts(report: Mapping[str, Any], patterns: bool) -> dict[int, Count]:
    """Return held-out successes per pattern; -1 where the recipe has none."""
    from reports.run import Count

    return {
        z if patterns else -1: Count(round(row["success"] * row["episodes"]), row["episodes"])
        for z, row in enumerate(report["held_out_success"])
    }


def _recognised(episodes: Sequence[Episode], encoder: PatternEncoder) -> dict[int, Count]:
    """Return, per pattern, how many collected episodes the encoder recognises as theirs."""
    from reports.run import Count

    found: dict[int, list[bool]] = {z: [] for z in range(encoder.patterns)}
    for episode in episodes:
        z = episode.info.pattern
        found[z].append(encoder.classify_trajectory(episode.proprio) == z)
    return {z: Count(sum(hits), len(hits)) for z, hits in found.items()}


def _curves(
    learned: Mapping[str, Any], reinforced: Mapping[str, Any], patterns: bool
) -> list[LearningCurve]:
    """Return held-out success over environment steps, per pattern and, in bold, over all.

    The curves start with the cloned policy's reported success.
    """
    from reports.run import LearningCurve

    steps, rates = [0.0], [[row["success"] for row in learned["held_out_success"]]]
    total = 0.0
    for measures in reinforced["history"]:
        total += measures["environment_steps"]
        if "held_out_success/0" in measures:
            steps.append(total)
            rates.append([measures[f"held_out_success/{z}"] for z in range(len(rates[0]))])
    overall = [sum(row) / len(row) for row in rates]
    curves = [LearningCurve(None, steps, overall)]
    if patterns:
        curves += [LearningCurve(z, steps, list(r)) for z, r in enumerate(zip(*rates, strict=True))]
    return curves


def _collection(episodes: Sequence[Episode]) -> dict[str, Any]:
    lengths = [len(episode) for episode in episodes]
    return {
        "episodes": len(episodes),
        "mean length": round(sum(lengths) / len(lengths), 1),
        "from official init states": sum(episode.info.init_index >= 0 for episode in episodes),
    }


def _pack_of(file: TrajectoryFile, asked: AssetPack | None) -> AssetPack:
    """Return the pack that a file was made with; the one asked for must be that.

    Raises:
        UsageError: it is not, or is not found.
    """
    from simulation.assets.resolve import find_embedded_pack, resolve_assets

    pack = asked or find_embedded_pack(file.asset_digest) or resolve_assets()
    if file.asset_digest != pack.digest:
        raise UsageError(
            f"{file.path} was made with the asset pack {file.asset_pack} "
            f"({file.asset_digest[:12]}), not {pack.name} ({pack.digest[:12]}): "
            "give the right one with --assets"
        )
    return pack


def _filmstrips(task: Task, episodes: Sequence[Episode], assets: AssetPack) -> list[Filmstrip]:
    """Draw the first, the middle and the last moment of each pattern's first episode."""
    from reports.run import Filmstrip
    from simulation.pictures.rendering import Renderer

    first: dict[int, Episode] = {}
    for episode in episodes:
        first.setdefault(episode.info.pattern, episode)
    strips = []
    with Renderer(task, assets) as renderer:
        for pattern, episode in sorted(first.items()):
            states = [episode.states[0], episode.states[len(episode) // 2], episode.final_state]
            frames = [renderer.render(state, episode.fixtures) for state in states]
            strips.append(Filmstrip(pattern, frames))
    return strips


def _provenance(run: RunFolder, task: Task) -> dict[str, Any]:
    from simulation.recordings.trajectories import TrajectoryFile

    with TrajectoryFile(run.trajectories(task, CANDIDATE)) as file:
        simulator = {"asset_pack": file.asset_pack, "asset_digest": file.asset_digest}
        versions = file.versions
    with TrajectoryFile(run.demonstrations(task)) as file:
        sources: dict[str, int] = {}
        for episode in file:
            name = " ".join(filter(None, (episode.info.method, episode.info.way)))
            sources[name] = sources.get(name, 0) + 1
    record = read_record(run.policies(task, CANDIDATE), "reinforce")
    return {
        "simulator": simulator | versions,
        "learner": record["versions"],
        "demonstrations": sources,
        "config": record["settings"]["config"],
    }
