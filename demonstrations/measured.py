"""What was measured of a task's demonstrations: one small sealed file a task, pack and source.

They lie in `results/demonstrations/PACK/SOURCE/SUITE/TASK.json`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from analysis.ways import Accuracy, Distinctness, tell_apart
from common.errors import DemonstrationError
from common.intervals import wilson_interval
from common.json_files import build, read_sealed, write_sealed
from simulation.recordings.episode import Episode
from simulation.tasks import Task

RESULTS = Path("results/demonstrations")
"""Folder of what was measured, from the checkout's root."""
PACKS = ("libero", "embedded")
"""Asset packs that demonstrations are measured with."""
SOURCES = ("scripted", "amplified", "human")
"""Where demonstrations come from."""
SUFFICIENT = 0.6
"""Share of successes from which on a way counts."""
_JUDGED = 3
"""Successes of a way from which on it can be learnt without one of them."""
_REMEDY = "measure the task again with `dlr demos measure`"


@dataclass(frozen=True)
class MeasuredWay:
    """What became of the attempts at one way."""

    name: str
    """The way."""
    tried: int
    """Attempts."""
    succeeded: int
    """Of these, successes."""
    mean_length: float | None
    """Control steps of a success, on average; None without one."""

    @property
    def rate(self) -> float:
        """Share of successes, 0 to 1."""
        return self.succeeded / self.tried if self.tried else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's interval of the share, at 95%."""
        return wilson_interval(self.succeeded, self.tried)

    @property
    def counts(self) -> bool:
        """Whether it succeeds often enough to count."""
        return self.tried > 0 and self.rate >= SUFFICIENT


@dataclass(frozen=True)
class Measured:
    """What was measured of one task's demonstrations from one source."""

    task: str
    """The task, as `suite/name`."""
    pack: str
    """Asset pack: one of `PACKS`."""
    source: str
    """One of `SOURCES`."""
    ways: Sequence[MeasuredWay]
    """The ways, in the source's order."""
    seconds: float
    """Wall-clock time of all attempts, s."""
    human_length: int | None
    """Control steps of the person's demonstration; None where there is none."""
    distinctness: Distinctness | None
    """How well the ways that count are told apart by the hand's path; None where that could not
    be judged, as with a single way."""
    seed: int
    """Seed of starts, speeds and noise."""
    asset_digest: str
    """Digest of the asset pack."""
    versions: Mapping[str, str]
    """Versions of the simulator's packages."""
    machine: Mapping[str, Any]
    """What `common.machine.describe_machine` says."""
    recordings: Mapping[str, str] = field(default_factory=dict)
    """Digests of the recordings that demonstrations were amplified from, by name."""

    def __post_init__(self) -> None:
        """Check what others rely on.

        Raises:
            DemonstrationError: the pack or source is unknown, there is no way, or counts disagree.
        """
        if self.pack not in PACKS or self.source not in SOURCES:
            raise DemonstrationError(
                f"{self.task}: no pack {self.pack!r} ({', '.join(PACKS)}) or no source "
                f"{self.source!r} ({', '.join(SOURCES)})"
            )
        wrong = [way.name for way in self.ways if not 0 <= way.succeeded <= way.tried]
        if wrong or not self.ways:
            raise DemonstrationError(f"{self.task}: no ways, or more successes than attempts")

    @property
    def counting(self) -> int:
        """Ways that succeed often enough to count."""
        return sum(way.counts for way in self.ways)

    @property
    def mean_length(self) -> float | None:
        """Control steps of a success over all ways; None without one."""
        lengths = [(w.mean_length, w.succeeded) for w in self.ways if w.mean_length is not None]
        total = sum(succeeded for _, succeeded in lengths)
        return sum(length * n for length, n in lengths) / total if total else None


def pack_label(name: str) -> str:
    """Return the one of `PACKS` that an asset pack is, whatever its version.

    Raises:
        DemonstrationError: it is neither; such records could not be compared.
    """
    label = next((pack for pack in PACKS if name.split("-")[0] == pack), None)
    if label is None:
        raise DemonstrationError(
            f"demonstrations are measured with {' or '.join(PACKS)}, not with {name}: "
            "name one of them with --assets"
        )
    return label


def summarise(
    attempts: Iterable[Episode], seed: int = 0
) -> tuple[tuple[MeasuredWay, ...], Distinctness | None]:
    """Return what became of a task's attempts, and how distinct the ways that count are.

    Args:
        attempts: failures among them, each with its way; ways come in the order of their first.
        seed: of `analysis.ways.tell_apart`, which sees the successes of ways that count.

    Returns:
        The ways, and their distinctness; None where fewer than two count, or one of these has
        fewer than three successes.
    """
    by_way: dict[str, list[Episode]] = {}
    for episode in attempts:
        by_way.setdefault(episode.info.way or episode.info.method, []).append(episode)
    won = {name: [e for e in tried if e.info.success] for name, tried in by_way.items()}
    ways = tuple(
        MeasuredWay(
            name,
            len(tried),
            len(won[name]),
            sum(map(len, won[name])) / len(won[name]) if won[name] else None,
        )
        for name, tried in by_way.items()
    )
    judged = [way for way in ways if way.counts]
    if len(judged) < 2 or min(way.succeeded for way in judged) < _JUDGED:
        return ways, None
    named = [(episode.path, way.name) for way in judged for episode in won[way.name]]
    return ways, tell_apart([path for path, _ in named], [name for _, name in named], seed)


def measured_path(folder: Path, pack: str, source: str, task: Task) -> Path:
    """Return where the record of a pack, source and task lies below a folder such as `RESULTS`."""
    return folder / pack / source / f"{task.key}.json"


def write_measured(path: Path, measured: Measured) -> None:
    """Write a record, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    write_sealed(path, asdict(measured))


def read_measured(path: Path) -> Measured:
    """Read what `write_measured` wrote.

    Raises:
        DemonstrationError: it is missing, damaged, or no such record.
    """
    content = read_sealed(path, "a record of demonstrations", DemonstrationError, _REMEDY)
    try:
        return _build(content)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DemonstrationError(
            f"{path} is not a record of demonstrations ({error}): {_REMEDY}"
        ) from error


def read_all_measured(folder: Path) -> list[Measured]:
    """Return all records below a folder, in the order of their paths.

    Raises:
        DemonstrationError: there is none, or one is damaged.
    """
    paths = sorted(folder.rglob("*.json"))
    if not paths:
        raise DemonstrationError(f"{folder} has no records: make them with `dlr demos measure`")
    return [read_measured(path) for path in paths]


@dataclass(frozen=True)
class _Plain:
    """Those fields of a record that JSON holds as they are."""

    task: str
    pack: str
    source: str
    seconds: float
    human_length: int | None
    seed: int
    asset_digest: str
    versions: dict
    machine: dict
    recordings: dict


def _build(content: dict[str, Any]) -> Measured:
    """Return the record that an object of JSON holds; raise ValueError where it holds none."""
    content = {"recordings": {}} | content  # records of before they were noted have none
    if differing := sorted({field.name for field in fields(Measured)} ^ content.keys()):
        raise ValueError(f"missing or unknown: {', '.join(differing)}")
    ways = tuple(build(MeasuredWay, way) for way in content.pop("ways"))
    apart = content.pop("distinctness")
    if apart is not None:
        apart = Distinctness(**{name: build(Accuracy, part) for name, part in apart.items()})
    plain = build(_Plain, content)
    return Measured(**vars(plain), ways=ways, distinctness=apart)
