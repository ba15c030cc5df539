"""`python -m experiments.discovery`: does discovery find the known ways of many tasks?

Of each task that `experiments.clones` demonstrated, in ways whose names are known, one small file,
`results/discovery/SUITE/TASK.json`, holds:

- `agreement`: normalised mutual information (0 to 1) of the known ways and of four labels, with K
  forced to the number of ways: by trajectory, by the argmax of q(z|s) at every state (section D.3
  of the paper), by what most states of a trajectory say, and by the plain mixture of paths with
  which discovery begins; `held_out` is the same of trajectories that were not trained on, where
  the mixture of paths, which labels nothing new, is left out;
- `ways`: how many distinct ways are counted in all demonstrations, in those of two ways, and in
  those of one, beside how many there are by name; a name may hide several, such as the sides from
  which a bowl is grasped.

Nothing is simulated but what is missing of the demonstrations.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from common.machine import describe_machine
from demonstrations.config import Style
from experiments.clones import TASKS
from experiments.command import run_command
from experiments.many import attempt_tasks
from generator.config import DiscoverConfig
from simulation.assets.resolve import AssetPack, resolve_assets

_HELD_OUT = 4
"""One of so many demonstrations of each way is held out."""


@dataclass(frozen=True)
class DiscoveryItem:
    """Discovery in a task's demonstrations, as one work item."""

    task: str
    """The task's key."""
    episodes_per_way: int
    """Demonstrations of each way."""
    style: Style
    """How the demonstrator moves."""
    config: DiscoverConfig
    """Settings; K is the number of ways."""
    seed: int
    """Of demonstrations and discovery."""
    assets: AssetPack
    """Asset pack."""
    work: Path
    """Folder of demonstrations."""
    out: Path
    """Folder of the result."""


def discover_ways(item: DiscoveryItem) -> str:
    """Discover, compare with the known ways, write the result; return a line on it."""
    from common.json_files import write_sealed
    from common.reproducible import reproducible
    from demonstrations.config import DemonstrationConfig
    from demonstrations.make import make_demonstrations
    from generator.discover import discover
    from generator.run_folder import RunFolder
    from simulation.tasks import get_task

    task = get_task(item.task)
    source = DemonstrationConfig(
        item.episodes_per_way, "scripted", seed=item.seed, style=item.style
    )
    path = RunFolder(item.work).demonstrations(task)
    with make_demonstrations(task, path, source, item.assets) as file:
        known = [(episode.proprio, episode.info.way) for episode in file]
    names = sorted({way for _, way in known})
    config = replace(item.config, patterns=len(names), choose_patterns=False)
    with reproducible():
        encoder = discover([p for p, _ in known], config, item.seed, [way for _, way in known])
        outcome: dict[str, Any] = {
            "task": task.key,
            "pack": item.assets.name,
            "demonstrations": len(known),
            "style": asdict(item.style),
            "config": vars(config),
            "report": encoder.report,
            "agreement": encoder.report["agreement"],
            "held_out": _held_out(known, config, item.seed),
            "ways": _count(known, names, config, item.seed),
            "machine": describe_machine(),
        }
    write_sealed(item.out / f"{task.key}.json", outcome)
    shown = ", ".join(f"{name} {value:.2f}" for name, value in outcome["agreement"].items())
    return f"{shown}; {outcome['ways'][0]['counted']} ways of {len(names)}"


def _held_out(known: list[tuple[Any, str]], config: DiscoverConfig, seed: int) -> dict[str, float]:
    """Return the agreement of trajectories that another encoder was not trained on."""
    from generator.discover import agreement, discover

    seen: dict[str, int] = {}
    parts: tuple[list[tuple[Any, str]], list[tuple[Any, str]]] = ([], [])
    for proprio, way in known:
        seen[way] = seen.get(way, 0) + 1
        parts[seen[way] % _HELD_OUT == 0].append((proprio, way))
    encoder = discover([p for p, _ in parts[0]], config, seed)
    return agreement(encoder, [p for p, _ in parts[1]], [way for _, way in parts[1]])


def _count(
    known: list[tuple[Any, str]], names: list[str], config: DiscoverConfig, seed: int
) -> list[dict[str, Any]]:
    """Return how many ways are counted among all, each two and each one of the known ways."""
    from generator.paths import count_ways, features

    paths = [(features(proprio), way) for proprio, way in known]
    rows = []
    for size in range(len(names), 0, -1):
        for among in combinations(names, size):
            some = [path for path, way in paths if way in among]
            counted, evidence = count_ways(some, config.most_patterns, seed)
            rows.append({"among": list(among), "counted": counted, "evidence": evidence})
    return rows


def discovery(
    tasks: tuple[str, ...] = TASKS,
    episodes_per_way: int = 40,
    assets: Path | None = None,
    work: Path = Path("runs/clones"),
    out: Path = Path("results/discovery"),
    workers: int | None = None,
    seed: int = 0,
    style: Style = Style(),
    config: DiscoverConfig = DiscoverConfig(),
) -> None:
    """Discover the patterns in demonstrations of many tasks and compare them with the known ways.

    Args:
        tasks: the tasks, as `suite/name`.
        episodes_per_way: demonstrations of each way.
        assets: `libero`, `embedded` or a folder; by default the first that `dlr assets` lists.
        work: folder of demonstrations; what is there is not made again.
        out: folder of the results.
        workers: processes; by default one for each core.
        seed: of demonstrations and discovery.
        style: how the demonstrator moves.
        config: settings; K is each task's number of ways.

    Raises:
        DlrError: tasks failed; the others' results are written.
    """
    pack = resolve_assets(assets)
    items = [
        DiscoveryItem(task, episodes_per_way, style, config, seed, pack, work, out)
        for task in tasks
    ]
    attempt_tasks(discover_ways, items, workers, "discovery")


if __name__ == "__main__":
    run_command(discovery, "experiments.discovery")
