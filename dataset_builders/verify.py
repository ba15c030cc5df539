"""`dlr verify`: proves that a dataset holds what it says, episode by episode, bit by bit."""

from __future__ import annotations

import collections
import hashlib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from common.errors import DatasetError, SettingError
from common.files import check_name
from common.json_files import read_json, read_sealed
from common.manifest import MANIFEST, check_manifest, file_sha256, read_sums
from common.remote.folder import local_folder
from dataset_builders.certificate import Conventions, convention_faults, conventions
from dataset_builders.digests import CONTENT, dataset_digest
from dataset_builders.episodes import PictureConfig
from dataset_builders.features import METADATA, STEPS, all_features
from dataset_builders.finishing import EPISODES, ListedEpisode, read_episodes
from dataset_builders.parts import numbers
from dataset_builders.records.examples import decode
from dataset_builders.records.formats import TFRECORD, format_of
from dataset_builders.records.tfrecords import parse_example
from dataset_builders.sources import FAILURES, TRAJECTORIES, start_name
from dataset_builders.verification.episodes import episode_faults
from dataset_builders.verification.replays import ReplayItem, replay_faults, show_all
from dataset_builders.verification.shards import FoundRecord, framing_fault, read_shard

_MAX_REPORTED = 10
_REMEDY = "copy or build the dataset again"
_DESCRIBING = ("dataset_info.json", "features.json", "metadata.json", MANIFEST, "SHA256SUMS")


@dataclass(frozen=True)
class VerifyReport:
    """What was found in a dataset without faults."""

    episodes: int
    """Episodes in all splits."""
    steps: int
    """Steps in all splits."""
    per_pattern: dict[str, int]
    """Episodes by `suite/task z=pattern`."""
    digest: str
    """sha256 of the sorted content digests of all episodes; equal for equal datasets."""
    replayed: int
    """Episodes that were simulated again."""
    succeeded: int
    """Of these, how many ended as the dataset says."""
    pictures_checked: int
    """Pictures compared with a new rendering."""

    def __str__(self) -> str:
        """Return a few lines for a terminal."""
        again = (
            f"{self.succeeded} of {self.replayed} episodes that were simulated again end as they "
            f"say; {self.pictures_checked} pictures agree with a new rendering"
        )
        lines = [
            f"{self.episodes} episodes, {self.steps} steps: flags, rewards, conventions and "
            "digests are right",
            again if self.replayed else "no episode was simulated again: --replay was 0",
            *(f"  {name}: {count} episodes" for name, count in sorted(self.per_pattern.items())),
            f"content sha256 {self.digest}",
        ]
        return "\n".join(lines)


def verify(
    dataset: str | Path,
    trajectories: Path | None = None,
    assets: str | None = None,
    replay: int | Literal["all"] = 3,
    workers: int | None = None,
) -> VerifyReport:
    """Check a built dataset and return what it holds.

    Checked are the bytes of each feature of each record, so that a single flipped bit is named with
    its shard, episode and feature; each episode's flags, reward, discount, number ranges and
    content digest; the first and last pictures' encoding and size; conventions (gripper's sign,
    directions of actions, the state's layout); the counts and digests in the metadata; and that
    `train` and `val` share no start state. Some episodes are simulated again from their stored
    actions to the same success, and their first pictures rendered anew and compared in all four
    orientations.

    Args:
        dataset: folder with dataset_info.json, `<data_dir>/libero_rl/<config>/1.0.0`, or what
            `fsspec` opens, such as `gs://bucket/libero_rl/dlr/1.0.0`, which is copied first.
        trajectories: folder that the dataset was built from, whose files are compared with the
            digests in the metadata.
        assets: asset pack to simulate and render with; by default the one that is found.
        replay: how many episodes to simulate again, the first ones in the order of their digests.
        workers: processes that do so; by default one for each core.

    Raises:
        SettingError: `replay` or `workers` is out of range.
        DatasetError: the dataset is missing, unreadable or wrong; the message lists the faults.
        BusyError: another process is copying the dataset, which is elsewhere, to the user's cache.
    """
    if replay != "all" and replay < 0:
        raise SettingError(f"replay must be at least 0, or all, not {replay}")
    folder = local_folder(str(dataset), (*_DESCRIBING, EPISODES), _others)
    metadata = _open(folder)
    pictures = PictureConfig(metadata["resolution"], tuple(metadata["cameras"].items()), assets)
    found = _Found(folder, pictures)
    for shard, listed in _by_shard(folder):
        found.add_shard(shard, listed)
    faults = found.faults + _dataset_faults(metadata, found, folder)
    if trajectories is not None:
        faults += _source_faults(metadata["sources"], trajectories)
    if faults:
        raise DatasetError(_summary(dataset, faults))
    chosen = found.choose(len(found.audits) if replay == "all" else replay)
    shown = show_all([item for _, item in chosen], workers) if chosen else []
    for (audit, _), one in zip(chosen, shown, strict=True):
        faults += [f"{audit.name}: {fault}" for fault in replay_faults(one, audit.replay)]
    if faults:
        raise DatasetError(_summary(dataset, faults))
    return VerifyReport(
        episodes=len(found.audits),
        steps=sum(audit.steps for audit in found.audits),
        per_pattern=dict(collections.Counter(audit.kind for audit in found.audits)),
        digest=dataset_digest(audit.digest for audit in found.audits),
        replayed=len(shown),
        succeeded=sum(one.replayed.same for one in shown),
        pictures_checked=sum(len(one.orientations) for one in shown),
    )


@dataclass(frozen=True)
class _Audit:
    """What the checks of the whole dataset need of one episode."""

    name: str
    split: str
    kind: str
    start: str
    digest: str
    steps: int
    conventions: Conventions
    replay: dict[str, Any] | None
    place: tuple[str, int, int, int]
    """Shard, number in it, offset and length of the record's content."""


class _Found:
    """What has been found so far, without the episodes themselves."""

    def __init__(self, folder: Path, pictures: PictureConfig) -> None:
        self.folder, self.pictures = folder, pictures
        self.features = all_features(dict(pictures.cameras), pictures.resolution)
        self.audits: list[_Audit] = []
        self.faults: list[str] = []
        self._sums = read_sums(folder)

    def add_shard(self, shard: str, listed: Sequence[ListedEpisode]) -> None:
        """Check a shard; a fault does not keep what follows from being checked."""
        path, before = self.folder / shard, len(self.faults)
        try:
            for record in read_shard(path, listed):
                self._add(path, record)
        except DatasetError as error:
            self.faults.append(str(error))
        if len(self.faults) == before and file_sha256(path) != self._sums.get(shard):
            self.faults.append(f"{path} does not match its line in SHA256SUMS: {_REMEDY}")
            if format_of(shard) != TFRECORD:
                self.faults[-1] = f"{path}, {framing_fault(path, listed)}: {_REMEDY}"

    def _add(self, path: Path, record: FoundRecord) -> None:
        listed, content = record.listed, record.content
        name = f"{path.name}, episode {listed.number} ({listed.key})"
        faults = list(record.faults)
        if not faults:
            try:
                parsed = parse_example(content, path, listed.number)
                episode = decode(parsed, self.features)
                faults = episode_faults(episode, self.features)
                self.audits.append(self._audit(name, path, record, episode))
            except ValueError as error:
                faults.append(str(error))
            else:
                if listed.content != episode[METADATA][CONTENT]:
                    faults.append(f"has another content digest than {EPISODES} says")
        self.faults += [f"{name}: {fault}" for fault in faults]

    def _audit(self, name: str, path: Path, record: FoundRecord, episode: dict[str, Any]) -> _Audit:
        metadata, listed = episode[METADATA], record.listed
        task = f"{metadata['suite']}/{metadata['task']}"
        return _Audit(
            name=name,
            split=listed.split,
            kind=f"{task} z={metadata['pattern']}",
            start=start_name(task, metadata["init_index"], metadata["seed"]),
            digest=metadata[CONTENT],
            steps=len(episode[STEPS]),
            conventions=conventions(*numbers(episode[STEPS])[:2]),
            replay=listed.replay,
            place=(str(path), listed.number, record.offset, listed.bytes),
        )

    def choose(self, count: int) -> list[tuple[_Audit, ReplayItem]]:
        """Return the first episodes in the order of their digests, of a task after each other."""
        chosen = sorted(self.audits, key=_shuffled)[:count]
        chosen.sort(key=lambda audit: audit.kind)
        return [(audit, ReplayItem(*audit.place, self.pictures)) for audit in chosen]


def _shuffled(audit: _Audit) -> str:
    return hashlib.sha256(audit.digest.encode()).hexdigest()


def _open(folder: Path) -> dict[str, Any]:
    """Return the metadata of a dataset whose describing files are what was written."""
    if not (folder / "dataset_info.json").is_file():
        raise DatasetError(
            f"{folder} holds no dataset_info.json: give the folder of one version, "
            "<data_dir>/libero_rl/<config>/1.0.0"
        )
    check_manifest(folder, DatasetError, _REMEDY, required=True)
    metadata = read_json(folder / "metadata.json", "metadata of TFDS", DatasetError, _REMEDY)
    wanted = ("sources", "episodes", "resolution", "cameras", "digest", "digests", "certificate")
    if missing := [name for name in wanted if name not in metadata]:
        raise DatasetError(
            f"{folder} was not built by this version of libero_rl: its metadata have no "
            f"{missing[0]}; build it again"
        )
    return metadata


def _by_shard(folder: Path) -> list[tuple[str, list[ListedEpisode]]]:
    grouped = itertools.groupby(read_episodes(folder), key=lambda episode: episode.shard)
    found = [(check_name(shard, "a shard", DatasetError), list(rows)) for shard, rows in grouped]
    if len({shard for shard, _ in found}) != len(found):
        raise DatasetError(f"{folder / EPISODES} does not list shard after shard: {_REMEDY}")
    return found


def _others(folder: Path) -> list[str]:
    """Return the files of a dataset beside those that a copy begins with."""
    listed = read_sealed(folder / MANIFEST, "a list of digests", DatasetError, _REMEDY)["files"]
    names = [check_name(name, "a file", DatasetError) for name in listed]
    shards = [shard for shard, _ in _by_shard(folder)]
    return [*(name for name in names if name not in (*_DESCRIBING, EPISODES)), *shards]


def _dataset_faults(metadata: dict[str, Any], found: _Found, folder: Path) -> list[str]:
    """Return faults that no single episode shows."""
    audits, faults = found.audits, []
    if found.faults:
        return []  # what is missing for them would only be told twice
    kinds = collections.Counter(audit.kind for audit in audits)
    claimed = {
        f"{task} z={pattern}": count
        for task, patterns in metadata["episodes"].items()
        for pattern, count in patterns.items()
    }
    if claimed != kinds:
        faults.append(f"metadata.json claims episodes {claimed}, found {dict(kinds)}")
    faults += _split_faults(metadata["digests"], audits, folder)
    twice = [n for n, count in collections.Counter(a.digest for a in audits).items() if count > 1]
    if twice:
        faults.append(f"{len(twice)} episodes occur more than once, such as {twice[0][:12]}")
    starts: dict[str, set[str]] = collections.defaultdict(set)
    for audit in audits:
        starts[audit.split].add(audit.start)
    for first, second in itertools.combinations(sorted(starts.keys() - {FAILURES}), 2):
        if shared := starts[first] & starts[second]:
            faults.append(
                f"{first} and {second} share {len(shared)} start states, such as {min(shared)}"
            )
    return faults + convention_faults([audit.conventions for audit in audits])


def _split_faults(digests: dict[str, str], audits: Sequence[_Audit], folder: Path) -> list[str]:
    """Return what differs between the splits' digests and sizes and what was found."""
    faults = []
    members: dict[str, list[str]] = collections.defaultdict(list)
    for audit in audits:
        members[audit.split].append(audit.digest)
    if {split: dataset_digest(found) for split, found in members.items()} != digests:
        faults.append("the splits' digests in metadata.json are not those of their episodes")
    info = read_json(folder / "dataset_info.json", "what TFDS writes", DatasetError, _REMEDY)
    sizes = {s["name"]: sum(map(int, s["shardLengths"])) for s in info.get("splits", ())}
    if sizes != {split: len(found) for split, found in members.items()}:
        faults.append(f"dataset_info.json claims splits of {sizes} episodes, which are not there")
    return faults


def _source_faults(sources: Iterable[dict[str, Any]], trajectories: Path) -> list[str]:
    """Return which trajectory files are missing or not those that the dataset was built from."""
    faults = []
    for source in sources:
        path = _below(trajectories, source["file"])
        if not path.is_file():  # (a run's folder may have been built, or what lies in it)
            inside = _below(trajectories / TRAJECTORIES, source["file"])
            path = inside if inside.is_file() else path
        if not path.is_file():
            faults.append(f"{path}, which the dataset was built from, is not there")
        elif file_sha256(path) != source["sha256"]:
            faults.append(f"{path} is not the file that the dataset was built from")
    return faults


def _below(folder: Path, name: str) -> Path:
    """Return the file of a name that a dataset tells.

    Raises:
        DatasetError: the name leads out of the folder.
    """
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise DatasetError(
            f"the dataset names {name!r}, which is not below {folder}: do not use it"
        )
    return folder / name


def _summary(dataset: str | Path, faults: list[str]) -> str:
    more = len(faults) - _MAX_REPORTED
    lines = [f"{dataset}: {len(faults)} faults", *faults[:_MAX_REPORTED]]
    return "\n  ".join(lines + ([f"and {more} more"] if more > 0 else []))
