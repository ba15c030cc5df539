"""Draws docs/perturbations/AXIS.webp: three tasks, each from the control to level 5.

python docs/make_perturbations.py [AXIS ...]
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from common.files import write_bytes
from eval_harness.episode import RunningEpisode, Seat, Seats
from eval_harness.perturbations.noise import KINDS, Noise
from eval_harness.perturbations.table import AXES
from eval_harness.plan import make_item
from eval_harness.policy import Requirements
from eval_harness.protocols import Protocol
from eval_harness.timing import Clock
from simulation.assets.resolve import embedded_pack
from simulation.pictures.pictures import contact_sheet
from simulation.pictures.renderers import Renderers
from simulation.pictures.rendering import Renderer
from simulation.pictures.transforms import Rotate180
from simulation.tasks import get_task

_FOLDER = Path(__file__).parent / "perturbations"
_TASKS = (
    "libero_spatial/pick_up_the_black_bowl_between_the_plate_and_the_ramekin_and_place_it_on_the_plate",
    "libero_object/pick_up_the_alphabet_soup_and_place_it_in_the_basket",
    "libero_90/KITCHEN_SCENE3_turn_on_the_stove_and_put_the_frying_pan_on_it",
)
_SIZE, _EPISODE = 176, 3
_SMALL = 132


def draw_noise() -> np.ndarray:
    """Return the sheet of all kinds of noise, a row each, uint8 (H, W, 3)."""
    task = get_task(_TASKS[0])
    env = Seat(task, embedded_pack()).env
    env.reset(_EPISODE, _EPISODE)
    with Renderer(task, embedded_pack(), _SMALL * 2, _SMALL * 2) as renderer:
        own = renderer.render(env.state(), env.fixtures(), "agentview", _SMALL * 2, _SMALL * 2)
    pictures, captions = [], []
    for kind in KINDS:
        for level in range(1, 6):
            spoilt = Noise(level).spoil(own[::-1], kind, (level - 0.5) / 5, _EPISODE)
            small = Image.fromarray(spoilt[::-1]).resize((_SMALL, _SMALL), Image.Resampling.BOX)
            pictures.append(np.asarray(small))
            captions.append(f"{kind} {level}")
    return contact_sheet(pictures, captions, 5)


def draw(axis: str) -> np.ndarray:
    """Return the sheet of one axis, uint8 (H, W, 3)."""
    pictures, captions = [], []
    for row, name in enumerate(_TASKS):
        task = get_task(name)
        renderers = Renderers(embedded_pack(), (_SIZE, _SIZE), 1)
        for level in range(6):
            if axis == "layout":
                renderers.close()  # its scene is another at each level
            protocol = Protocol(
                "docs", "", (_SIZE, _SIZE), (Rotate180(),), perturbations=(AXES[axis](level),)
            )
            needs = Requirements(("agentview",), ())
            item = make_item(protocol, task, _EPISODE + row)
            episode = RunningEpisode(item, protocol, needs, Clock())
            episode.advance(Seats(embedded_pack(), 1, protocol.perturbations))
            seen = episode.observe(renderers)
            pictures.append(seen.images["agentview"][:, ::-1])
            captions.append("control" if level == 0 else f"level {level}")
        renderers.close()
    return contact_sheet(pictures, captions, 6)


if __name__ == "__main__":
    for name in sys.argv[1:] or [axis for axis in AXES if axis != "language"]:
        content = io.BytesIO()
        sheet = draw_noise() if name == "noise" else draw(name)
        Image.fromarray(sheet).save(content, "WEBP", quality=72, method=6)
        write_bytes(_FOLDER / f"{name}.webp", content.getvalue())
        print(_FOLDER / f"{name}.webp", f"{len(content.getvalue()) // 1000} kB")
