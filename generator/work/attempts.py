"""Attempts of a collection as work items: whoever has the policy rolls out the same episodes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.json_files import read_sealed, write_sealed
from common.workers import Backend, run_in_fresh_process, run_items
from generator.config import CollectConfig, NoiseConfig
from generator.run_folder import RunFolder
from generator.work.outcomes import Attempts, CollectionError, describe_collection, grouped
from simulation.recordings.episode import Episode, EpisodeInfo
from simulation.recordings.stored_episode import episode_digest
from simulation.recordings.trajectories import simulator_versions
from simulation.tasks import get_task

if TYPE_CHECKING:
    from generator.policies.policy import Policy
    from generator.rollout import Rollout
    from simulation.environment import BatchEnvironment

TOGETHER = 4
"""Attempts in one item, which are stepped together."""
_WHAT, _REMEDY = "a list of attempts", "delete it, and the attempts are made again"
_open: dict[Any, Any] = {}
"""This process's policy and environments of the collection at work."""


@dataclass(frozen=True)
class Collection:
    """What all attempts with one policy have in common."""

    run: RunFolder
    """Holds the policy; all workers reach it."""
    task: str
    """The task's key."""
    recipe: str
    """Whose final policy."""
    seed: int
    """Of the training that made it."""
    config: CollectConfig = CollectConfig()
    """How many episodes, and from where."""
    assets: str | None = None
    """Asset pack to simulate with; by default the one that `resolve_assets` finds."""
    asset_pack: str = ""
    """Its name."""
    asset_digest: str = ""
    """Its digest."""

    @property
    def stage(self) -> Path:
        """Folder of the final policy."""
        from generator.recipes import get_recipe

        last = get_recipe(self.recipe).stages[-1].name
        return self.run.policies(get_task(self.task), self.recipe, self.seed) / last

    @property
    def file(self) -> str:
        """Path of the policy below the run's folder."""
        from generator.recipes import get_recipe

        name = get_recipe(self.recipe).stages[-1].file
        return (self.stage / name).relative_to(self.run.root).as_posix()

    @property
    def name(self) -> str:
        """What `dlr collect` calls the file of trajectories, below those of the run."""
        path = self.run.trajectories(get_task(self.task), self.recipe, self.seed)
        return path.relative_to(self.run.all_trajectories).as_posix()


@dataclass(frozen=True)
class Trained:
    """A policy, as far as one must know it to ask for attempts."""

    collection: Collection
    """Which attempts; its settings say how many groups there are."""
    policy_hash: str
    """The policy's hash."""
    noise: NoiseConfig
    """What it acts with."""
    file_sha256: str
    """Digest of its file."""
    description: dict[str, Any]
    """What a trajectory file says of its making."""


@dataclass(frozen=True)
class Kept:
    """An attempt that succeeded."""

    attempt: int
    """Its number: j * groups + g is group g's j-th."""
    steps: int
    """Control steps."""
    digest: str
    """sha256 of the episode, as a trajectory file has it."""
    seed: int
    """Of its reset."""
    init_index: int
    """Official init state, or -1 for a fresh start."""
    pattern: int
    """Pattern that the policy was conditioned on, or -1."""

    def info(self, policy: Trained) -> EpisodeInfo:
        """Return the episode's provenance, as `collect.to_episode` writes it."""
        method, digest = policy.collection.recipe, policy.policy_hash
        return EpisodeInfo(
            self.seed, self.init_index, self.pattern, method=method, policy_hash=digest
        )


@dataclass(frozen=True)
class AttemptsItem:
    """Some attempts: frozen and picklable, as `common.workers` wants it."""

    collection: Collection
    """With which policy."""
    policy_hash: str
    """The policy's hash."""
    noise: NoiseConfig
    """What it acts with."""
    attempts: tuple[int, ...]
    """Their numbers."""
    folder: str
    """Where what came of them is kept; all workers reach it."""

    @property
    def path(self) -> Path:
        """The file that is kept: another one where the simulator is of another version."""
        settings = {name: v for name, v in asdict(self).items() if name != "folder"}
        settings["versions"] = simulator_versions()
        text = json.dumps(settings, default=str, sort_keys=True)
        return Path(self.folder) / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


def inspect(collections: Sequence[Collection]) -> list[Trained]:
    """Return what is to be known of the collections' policies.

    Raises:
        CheckpointError: one is damaged.
        CollectionError: the settings do not fit one.
    """
    return run_in_fresh_process(_inspect, tuple(collections))


def _inspect(collections: Sequence[Collection]) -> list[Trained]:
    from generator.checkpoints import policy_hash
    from generator.recipes import get_recipe
    from generator.run_folder import read_provenance

    found = []
    for collection in collections:
        record, provenance = read_provenance(collection.stage)
        policy = get_recipe(collection.recipe).stages[-1].load(collection.stage)
        config = grouped(collection.config, policy.patterns)
        digest, noise = policy_hash(policy), NoiseConfig(**record["settings"]["noise"])
        described = describe_collection(digest, collection.recipe, config, noise, provenance)
        collection = replace(collection, config=config)
        found.append(Trained(collection, digest, noise, record["result"], described))
    return found


def make_attempts(item: AttemptsItem) -> dict[str, Any]:
    """Roll some attempts out, unless that was done, and return what came of them.

    Returns:
        `outcomes`, pairs of attempt and success; `kept`, the fields of each `Kept`; `unreleased`,
        the attempts that reached the goal and did not let go. JSON.

    Raises:
        CheckpointError: the policy is damaged.
        OutputError: the folder cannot be written.
    """
    if not item.path.exists():
        from generator.collect import to_episode

        outcomes, kept, unreleased = [], [], []
        language = get_task(item.collection.task).language
        for attempt, done in _roll_out(item.collection, item.attempts):
            outcomes.append([attempt, done.success])
            if done.success:
                episode = to_episode(done, item.collection.recipe, item.policy_hash)
                digest, info = episode_digest(episode, language), episode.info
                place = (info.seed, info.init_index, info.pattern)
                kept.append(asdict(Kept(attempt, len(episode), digest, *place)))
            elif done.reached:
                unreleased.append(attempt)
        write_sealed(
            item.path,
            {"outcomes": sorted(outcomes), "kept": kept, "unreleased": sorted(unreleased)},
        )
    return read_sealed(item.path, _WHAT, CollectionError, _REMEDY)


def roll_out(collection: Collection, kept: Kept) -> Episode:
    """Return an attempt's episode, which is the same wherever it is rolled out.

    Raises:
        CollectionError: it is another one here.
    """
    from generator.checkpoints import policy_hash
    from generator.collect import to_episode

    ((_, done),) = _roll_out(collection, [kept.attempt])
    episode = to_episode(done, collection.recipe, policy_hash(_tools(collection)[0]))
    if episode_digest(episode, get_task(collection.task).language) != kept.digest:
        raise CollectionError(
            f"attempt {kept.attempt} with {collection.stage} came out otherwise than before: the "
            "workers' processors, packages or assets differ; use one type for all of them"
        )
    return episode


def make_all(
    policies: Sequence[Trained], folder: Path, backend: Backend
) -> Iterator[tuple[Trained, list[Kept], int]]:
    """Make attempts with all policies until each has its episodes, and yield what is kept.

    The first successes of each group in the order of attempts are, as by `dlr collect`. What the
    folder has of killed calls is not made again.

    Args:
        policies: which collections.
        folder: where outcomes are kept.
        backend: where attempts are rolled out.

    Yields:
        a policy, what is kept of it in the order of attempts, and the number of attempts.

    Raises:
        CollectionError: a policy succeeds too seldom.
        WorkerError: a process died; the same call goes on.
    """
    ledgers = [Attempts(policy.collection.config) for policy in policies]
    kept: list[list[Kept]] = [[] for _ in policies]
    while True:
        items, owners = [], []
        for number, policy in enumerate(policies):
            for some in _in_parts(_next(ledgers[number], policy.collection)):
                made_by = policy.collection, policy.policy_hash, policy.noise
                items.append(AttemptsItem(*made_by, some, str(folder)))
                owners.append(number)
        if not items:
            break
        results = run_items(make_attempts, items, backend, "rolling out")
        for number, result in zip(owners, results, strict=True):
            ledgers[number].outcomes |= dict(result["outcomes"])
            kept[number] += [Kept(**fields) for fields in result["kept"]]
    for policy, some_kept, ledger in zip(policies, kept, ledgers, strict=True):
        yield policy, sorted(some_kept, key=lambda item: item.attempt), len(ledger.outcomes)


def _next(ledger: Attempts, collection: Collection) -> list[int]:
    try:
        return ledger.next_wave()
    except CollectionError as error:
        raise CollectionError(f"{collection.task} {collection.recipe}: {error}") from error


def _in_parts(attempts: Sequence[int]) -> Iterable[tuple[int, ...]]:
    return (tuple(attempts[i : i + TOGETHER]) for i in range(0, len(attempts), TOGETHER))


def _roll_out(collection: Collection, attempts: Sequence[int]) -> Iterator[tuple[int, Rollout]]:
    """Yield attempts and their rollouts, as they end."""
    from common.reproducible import reproducible
    from generator.collect import attempt_spec
    from generator.policies.policy import Exploration
    from generator.rollout import rollouts
    from generator.stages import read_record

    policy, environments = _tools(collection)
    config = collection.config
    noise = NoiseConfig(**read_record(collection.stage)["settings"]["noise"])
    specs = [attempt_spec(attempt, policy.patterns, config) for attempt in attempts]
    with reproducible():
        stream = rollouts(
            policy,
            environments,
            specs,
            get_task(collection.task).horizon,
            exploration=Exploration(noise.std, noise.memory),
            capture=True,
            through_release=config.through_release,
        )
        for position, done in stream:
            yield attempts[position], done


def _tools(collection: Collection) -> tuple[Policy, BatchEnvironment]:
    """Return a collection's policy and environments; those of the last one asked for stay."""
    from generator.recipes import get_recipe
    from simulation.assets.resolve import resolve_assets
    from simulation.environment import BatchEnvironment

    policy_key = ("policy", collection.stage)
    scene_key = ("scene", collection.task, collection.assets)
    found = {key: _open[key] for key in (policy_key, scene_key) if key in _open}
    for key in _open.keys() - found.keys():
        gone = _open.pop(key)
        if key[0] == "scene":
            gone.close()
    if policy_key not in found:
        stage = get_recipe(collection.recipe).stages[-1]
        found[policy_key] = stage.load(collection.stage)
    if scene_key not in found:
        pack = resolve_assets(collection.assets)
        if pack.digest != collection.asset_digest:
            raise CollectionError(
                f"a worker found the asset pack {pack.name!r} ({pack.digest[:12]}), not "
                f"{collection.asset_pack!r} ({collection.asset_digest[:12]}): name it with "
                "--assets or $DLR_LIBERO_ASSETS"
            )
        task = get_task(collection.task)
        found[scene_key] = BatchEnvironment(task, TOGETHER, pack, num_threads=1)
    _open.clear()
    _open.update(found)
    return found[policy_key], found[scene_key]
