"""Recorded values of a sound installation: where objects settle, and one picture.

`python -m simulation.golden [ASSETS]` records them anew. `embedded.*` is of the embedded pack,
`libero.*` of LIBERO's own assets.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import mujoco
import numpy as np

from simulation.assets.embedded import PACK_NAME
from simulation.assets.resolve import AssetPack
from simulation.environment import Environment
from simulation.pictures.rendering import Renderer
from simulation.tasks import SUITES, get_task, libero_root

FOLDER = Path(__file__).parent
FRAME_TASK = "libero_object/pick_up_the_alphabet_soup_and_place_it_in_the_basket"
"""Its floor fills the picture, and mujoco 3.3.3 darkens it."""
PROBE_TASKS = (
    FRAME_TASK,
    "libero_spatial/pick_up_the_black_bowl_on_the_ramekin_and_place_it_on_the_plate",
    "libero_90/KITCHEN_SCENE4_put_the_black_bowl_in_the_bottom_drawer_of_the_cabinet",
)
"""Tasks whose settling is checked; in the second a bowl balances on a ramekin, and mujoco 3.4
and later let it slip."""
FRAME_SIZE = 128
"""Pixels of the picture that is drawn."""
FRAME_CELLS = 32
"""Cells a side that it is averaged to, so that renderers' edges do not matter."""


@dataclass(frozen=True)
class Golden:
    """What a sound installation gives with one pack."""

    pack: str
    """`embedded` or `libero`."""
    settled: Mapping[str, Mapping[str, Any]]
    """Task -> what `settle` returned."""
    frame: np.ndarray
    """What `draw_frame` returned, uint8 (32, 32, 3)."""


def load_golden(pack: AssetPack) -> Golden:
    """Return a pack's recorded values: all but the embedded one claim to be LIBERO's."""
    name = golden_name(pack)
    settled = json.loads((FOLDER / f"{name}.json").read_text())
    return Golden(name, settled, iio.imread(FOLDER / f"{name}.png"))


def golden_name(pack: AssetPack) -> str:
    """Return which recorded values belong to a pack."""
    return "embedded" if pack.name == PACK_NAME else "libero"


def settle(key: str, pack: AssetPack) -> dict[str, Any]:
    """Return what decides a task's physics, and where things are after the protocol's settling.

    Official init state 0, fixtures of seed 0, ten no-op steps. Time step in s, gravity in m/s2,
    masses of bodies with their children in kg, positions in the world frame in m, joints of
    drawers, doors and knobs in m or rad.

    Raises:
        AssetError, InvalidStateError: the pack is incomplete, or the init state does not fit.
    """
    env = Environment(get_task(key), pack)
    env.reset(seed=0, init_index=0)
    env.settle()
    model, data = env.model, env.data
    return {
        "state_size": env.scene.state_size,
        "timestep": float(model.opt.timestep),
        "gravity": model.opt.gravity.tolist(),
        "masses": {x.name: float(model.body_subtreemass[x.body]) for x in env.scene.objects},
        "positions": {x.name: data.xpos[x.body].tolist() for x in env.scene.objects}
        | {"gripper": data.site_xpos[env.scene.robot.site].tolist()},
        "joints": {
            name: float(data.qpos[address])
            for name, address in zip(env.scene.joint_names, env.scene.joint_qpos, strict=True)
        },
    }


def draw_frame(pack: AssetPack) -> np.ndarray:
    """Draw the known state, averaged to uint8 (32, 32, 3).

    Raises:
        RenderError: no OpenGL renders here.
    """
    task = get_task(FRAME_TASK)
    env = Environment(task, pack)
    env.reset(seed=0, init_index=0)
    with Renderer(task, pack) as renderer:
        picture = renderer.render(env.state(), env.fixtures(), width=FRAME_SIZE, height=FRAME_SIZE)
    return shrink(picture)


def shrink(picture: np.ndarray) -> np.ndarray:
    """Average a square picture, uint8 (128, 128, 3), to uint8 (32, 32, 3)."""
    block = FRAME_SIZE // FRAME_CELLS
    cells = picture.reshape(FRAME_CELLS, block, FRAME_CELLS, block, 3).mean(axis=(1, 3))
    return cells.round().astype(np.uint8)


def tasks_digest() -> str:
    """Return the SHA-256 over the definitions and init states of the 130 tasks, as installed."""
    digest = hashlib.sha256()
    for kind, suffix in (("bddl_files", "bddl"), ("init_files", "pruned_init")):
        for suite in SUITES:
            for path in sorted((libero_root() / kind / suite).glob(f"*.{suffix}")):
                content = path.read_bytes()
                digest.update(f"{kind}/{suite}/{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def simulator_version() -> str:
    """Return the version of the MuJoCo library that is loaded."""
    return str(mujoco.mj_versionString())
