"""The card of a dataset: one page of HTML and one of Markdown that say what it is, and show it."""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from PIL import Image

from analysis.diversity import pairwise_terms
from analysis.poses import path_lengths, straightness
from analysis.quality import mean_squared_jerk
from analysis.trajectories import Trajectory
from common.files import write_bytes, write_text
from dataset_builders.describing.sections import Section, card_sections
from dataset_builders.describing.statistics import ACTION, STATE
from dataset_builders.features import OBSERVATION, STEPS
from dataset_builders.provenance import CONTROL_FREQUENCY_HZ
from dataset_builders.records.formats import read_records
from dataset_builders.records.tfrecords import parse_example
from dataset_builders.shards import Finished
from dataset_builders.sources import EpisodeRef
from dataset_builders.verification.episodes import decode_picture
from simulation.pictures.pictures import encode_video

HTML, MARKDOWN, SHEET = "card.html", "card.md", "card.jpg"
"""Files of a card; the last holds the thumbnails."""
_MOST_SHOWN = 24
_MOST_MEASURED = 32
"""Episodes of a task whose pairs are measured: their number grows with the square."""
_THUMBNAIL_PX = 128
_SHORTEST = 4


@dataclass(frozen=True)
class Shown:
    """One episode that is shown."""

    name: str
    """Its task and pattern or way."""
    thumbnail: str
    """Its last picture, upright, as a JPEG in base64."""
    video: str
    """All of it, as an MP4 in base64."""


@dataclass(frozen=True)
class Card:
    """What a card says."""

    title: str
    """The dataset's name."""
    description: str
    """What it holds, in a sentence or two."""
    sections: Sequence[Section]
    """Tables and texts."""
    shown: Sequence[Shown]
    """One episode of each pattern or way, of the first tasks if there are many."""


class Numbers:
    """Paths and actions of some episodes of each task, gathered while shards are read."""

    def __init__(self, refs: Sequence[EpisodeRef]) -> None:
        self._refs = {ref.key: ref for ref in refs}
        self._of_task: dict[str, list[Trajectory]] = {}

    def add(self, key: str, numbers: np.ndarray) -> None:
        """Take in an episode's numbers, float32 (T, 22), unless its task has enough."""
        ref = self._refs[key]
        trajectories = self._of_task.setdefault(ref.task, [])
        if len(numbers) < _SHORTEST or len(trajectories) == _MOST_MEASURED:
            return
        info, exact = ref.info, numbers.astype(np.float64)
        trajectories.append(
            Trajectory(
                exact[:, STATE],
                None,
                info.pattern,
                info.seed,
                info.init_index,
                info.success,
                exact[:-1, ACTION],
                info.way,
            )
        )

    def rows(self) -> list[tuple[str, ...]]:
        """Return a row of figures for each task, as text; a dash where nothing can be measured."""
        return [(task, *_figures(found)) for task, found in sorted(self._of_task.items()) if found]


def _figures(found: Sequence[Trajectory]) -> tuple[str, ...]:
    paths = [trajectory.proprio for trajectory in found]
    apart = ["-", "-"]
    if len(found) > 1:
        terms, pairs = pairwise_terms(found), np.triu_indices(len(found), 1)
        names = [f"mean_pairwise_distance_{space}" for space in ("positions", "rotations")]
        apart = [f"{terms[name][pairs].mean():.3f}" for name in names]
    return (
        str(len(found)),
        *apart,
        f"{np.mean(path_lengths(paths, 'positions')):.2f}",
        f"{np.mean(straightness(paths)):.2f}",
        f"{np.mean([mean_squared_jerk(path) for path in paths]):.0f}",
    )


def write_card(
    folder: Path,
    name: str,
    description: str,
    metadata: Mapping[str, Any],
    numbers: Numbers,
    finished: Sequence[Finished],
    refs: Sequence[EpisodeRef],
) -> None:
    """Write a dataset's card into its folder.

    Args:
        folder: the dataset's folder.
        name: its name with that of its configuration.
        description: what the configuration holds.
        metadata: what `metadata.json` will hold.
        numbers: paths of its episodes.
        finished: its shards.
        refs: its episodes.

    Raises:
        OutputError: it cannot be written.
    """
    camera = next(iter(metadata["cameras"]))
    shown = _show(finished, {ref.key: ref for ref in refs}, camera)
    sections = card_sections(name, metadata, refs, numbers.rows())
    card = Card(name, description, sections, shown)
    write_text(folder / MARKDOWN, _markdown(card))
    templates = Environment(
        loader=PackageLoader("dataset_builders.describing", "."), autoescape=True
    )
    templates.filters["marked"] = _marked
    write_text(folder / HTML, templates.get_template("card_template.html").render(card=card))
    write_bytes(folder / SHEET, _sheet(shown))


def _show(finished: Sequence[Finished], refs: Mapping[str, EpisodeRef], camera: str) -> list[Shown]:
    """Return the first episode of each task, method, pattern and way."""
    shown: dict[str, Shown] = {}
    for item in finished:
        wanted: dict[str, int] = {}
        for line in item.lines():
            kind = kind_name(refs[line["key"]])
            if kind not in shown and len(shown) + len(wanted) < _MOST_SHOWN:
                wanted.setdefault(kind, line["number"])
        if not wanted:
            continue
        names = {number: kind for kind, number in wanted.items()}
        for number, record in enumerate(read_records(item.path)):
            if number in names:
                features = parse_example(record.content, item.path, number)
                jpegs = features[f"{STEPS}/{OBSERVATION}{camera}"].bytes_list.value
                shown[names[number]] = _shown(names[number], jpegs)
    return [shown[kind] for kind in sorted(shown)]


def kind_name(ref: EpisodeRef) -> str:
    """Return the task, method, and pattern or way of an episode, in words."""
    info = ref.info
    which = f"pattern {info.pattern}" if info.pattern >= 0 else info.way
    return ", ".join(filter(None, (ref.task, info.method, which)))


def _shown(name: str, jpegs: Sequence[bytes]) -> Shown:
    pictures = [decode_picture(jpeg)[:, ::-1] for jpeg in jpegs]
    video, _ = encode_video(pictures, CONTROL_FREQUENCY_HZ)
    last = Image.fromarray(pictures[-1]).resize((_THUMBNAIL_PX, _THUMBNAIL_PX))
    return Shown(name, _text(_jpeg(last)), _text(video))


def _sheet(shown: Sequence[Shown]) -> bytes:
    """Return the thumbnails side by side, six a row, as a JPEG."""
    size, across = _THUMBNAIL_PX, min(6, len(shown))
    down = -(-len(shown) // across)
    sheet = Image.new("RGB", (across * size, down * size), "white")
    for number, one in enumerate(shown):
        picture = Image.open(io.BytesIO(base64.b64decode(one.thumbnail)))
        sheet.paste(picture, (number % across * size, number // across * size))
    return _jpeg(sheet)


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _marked(text: object) -> Markup:
    """Return a text as HTML, what stands between backticks as code."""
    parts = str(text).split("`")
    pairs = zip(parts, itertools.cycle(("{}", "<code>{}</code>")), strict=False)
    return Markup().join(Markup(form).format(part) for part, form in pairs)


def _markdown(card: Card) -> str:
    parts = [f"# {card.title}", card.description]
    for section in card.sections:
        parts += [f"## {section.title}", *section.texts]
        if section.rows:
            rows = [section.columns, ["---"] * len(section.columns), *section.rows]
            parts.append("\n".join(f"| {' | '.join(map(_cell, row))} |" for row in rows))
        parts += [f"```python\n{code}\n```" for code in section.code]
    names = "; ".join(one.name for one in card.shown)
    parts += ["## Episodes", f"![{names}]({SHEET})", f"Videos are in `{HTML}`, beside the data."]
    return "\n\n".join(parts) + "\n"


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")
