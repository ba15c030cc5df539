"""What a dataset's card says, as texts and tables."""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dataset_builders.sources import EpisodeRef
from demonstrations.config import AMPLIFIED, SCRIPTED

_MOST_ROWS = 200


@dataclass(frozen=True)
class Section:
    """One heading of a card."""

    title: str
    """The heading."""
    texts: Sequence[str] = ()
    """Paragraphs."""
    columns: Sequence[str] = ()
    """Names of the table's columns."""
    rows: Sequence[Sequence[object]] = ()
    """The table; empty for none."""
    code: Sequence[str] = ()
    """Examples."""


def card_sections(
    name: str,
    metadata: Mapping[str, Any],
    refs: Sequence[EpisodeRef],
    figures: Sequence[Sequence[str]],
) -> list[Section]:
    """Return a card's sections.

    Args:
        name: the dataset's name with that of its configuration.
        metadata: what `metadata.json` holds.
        refs: the dataset's episodes.
        figures: a row for each task: name, episodes measured, and what was measured.
    """
    return [
        _counts(metadata, refs),
        _tasks(refs),
        _proof(metadata),
        Section(
            "Diversity and quality",
            (
                "Of up to 32 episodes of each task: mean distance between two episodes, of the "
                "hand's positions (m) and rotations (rad) at moments of equal progress; length of "
                "its way (m); net displacement over that length; mean squared jerk (m²/s⁶).",
            ),
            ("task", "episodes", "apart (m)", "apart (rad)", "way (m)", "straightness", "jerk"),
            figures[:_MOST_ROWS],
        ),
        _provenance(metadata),
        _loading(name),
    ]


def _counts(metadata: Mapping[str, Any], refs: Sequence[EpisodeRef]) -> Section:
    cameras = ", ".join(f"`{name}` ({camera})" for name, camera in metadata["cameras"].items())
    size = metadata["resolution"]
    steps = sum(ref.steps for ref in refs)
    hours = steps / metadata["control_frequency_hz"] / 3600
    rows = [
        ("episodes", f"{len(refs):,}"),
        ("steps", f"{steps:,} ({hours:.2f} h at {metadata['control_frequency_hz']} Hz)"),
        ("tasks", len({ref.task for ref in refs})),
        ("splits", ", ".join(metadata["digests"])),
        ("pictures", f"{cameras}, {size} x {size}, JPEG"),
        ("look", ", ".join(metadata["asset_packs"])),
        ("content sha256", metadata["digest"]),
    ]
    return Section("What it holds", columns=("", ""), rows=rows)


def _tasks(refs: Sequence[EpisodeRef]) -> Section:
    groups: dict[tuple[str, ...], list[EpisodeRef]] = collections.defaultdict(list)
    for ref in refs:
        which = f"z={ref.info.pattern}" if ref.info.pattern >= 0 else ref.info.way
        groups[ref.task, ref.info.method, which].append(ref)
    rows = [
        (
            *key,
            len(members),
            sum(ref.info.success for ref in members),
            sum(ref.info.attempts for ref in members) if key[1] in (SCRIPTED, AMPLIFIED) else "-",
            f"{sum(ref.steps for ref in members) / len(members):.0f}",
        )
        for key, members in sorted(groups.items())
    ]
    columns = (
        "task",
        "method",
        "pattern or way",
        "episodes",
        "successes",
        "attempts",
        "steps each",
    )
    text = (
        "Attempts are those that a demonstrator made for its episodes; a policy's are "
        "under Provenance, where they are known."
    )
    more = [f"The first {_MOST_ROWS} of {len(rows)} rows."] if len(rows) > _MOST_ROWS else []
    return Section("Tasks and patterns", [text, *more], columns, rows[:_MOST_ROWS])


def _proof(metadata: Mapping[str, Any]) -> Section:
    found = metadata["certificate"]
    conventions = found["conventions"]
    rows = [
        ("episodes simulated again from their stored actions", found["replayed"]),
        ("of these, ended as they say", found["succeeded"]),
        ("largest distance of the hand from its stored positions (m)", _short(found, "position")),
        ("largest distance of a joint from its stored angle (rad)", _short(found, "joint")),
        ("largest absolute value of an action", f"{conventions['action_range']:.4g}"),
        *((name.replace("_", " "), n) for name, n in conventions.items() if name != "action_range"),
    ]
    failed = found["failed"]
    texts = [f"Not ended as they say: {', '.join(failed)}."] if failed else []
    command = "`dlr verify FOLDER --replay all` checks all of this again, bit by bit."
    return Section("Certificate", [*texts, command], ("checked while it was built", ""), rows)


def _short(found: Mapping[str, Any], what: str) -> str:
    if not found["replayed"]:
        return "-"
    unit = {"position": "m", "joint": "rad"}[what]
    return f"{found[f'largest_{what}_error_{unit}']:.1e}"


def _provenance(metadata: Mapping[str, Any]) -> Section:
    rows = [
        (source["file"], source["sha256"][:16], source["asset_pack"], source.get("attempts") or "-")
        for source in metadata["sources"]
    ]
    built = ", ".join(f"{name} {version}" for name, version in metadata["built_with"].items())
    texts = [
        f"Built with {built}. The licence is in `LICENSE`.",
        f"Pictures: {metadata['image_convention']}. Actions: {metadata['action_convention']}.",
    ]
    columns = ("trajectory file or policy", "sha256", "asset pack", "attempts")
    return Section("Provenance", texts, columns, rows[:_MOST_ROWS])


def _loading(name: str) -> Section:
    config = name.partition("/")[2]
    code = (
        "# TensorFlow Datasets, or Octo's and openpi's RLDS loaders\n"
        "import tensorflow_datasets as tfds\n"
        'builder = tfds.builder_from_directory("FOLDER")\n'
        'for episode in builder.as_dataset(split="train"):\n'
        '    steps = episode["steps"]',
        "# without TensorFlow\n"
        "from vla_adapters.records import open_records\n"
        'records = open_records(["FOLDER"])',
        "# OpenVLA, in prismatic/vla/datasets/rlds/oxe/{configs,transforms}.py, with the folder's\n"
        f"# parent's parent as data_root_dir and `{config}` as its data_mix\n"
        f'OXE_DATASET_CONFIGS["{config}"] = OXE_DATASET_CONFIGS["libero_10_no_noops"]\n'
        f'OXE_STANDARDIZATION_TRANSFORMS["{config}"] = libero_dataset_transform',
    )
    return Section("Loading", code=code)
