"""Whether a file in LIBERO's own layout is whole, of LIBERO's robot, and of the task asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from common.errors import TrajectoryError, one_line
from common.hdf5 import FAULTS, as_error, open_hdf5, read_array
from common.json_files import parse_json
from simulation.physics.control import ACTION_DIM
from simulation.tasks import Task, list_tasks

REMEDY = "download it again (`dlr demos download`), or copy it again"
_ROBOT, _CONTROLLER, _RATE_HZ = "Panda", "OSC_POSE", 20
"""Robot, controller and control frequency of LIBERO's demonstrations."""


def check_whole(path: Path, task: Task) -> None:
    """Check that a file holds every demonstration that it says, each with what replaying needs.

    Pictures are not looked at.

    Raises:
        TrajectoryError: it is missing, truncated, damaged, of another task or of another robot.
    """
    if not path.is_file():
        raise TrajectoryError(f"{path} is not there: {REMEDY}")
    try:
        with open_hdf5(path) as file:
            data = file["data"]
            check_origin(path, data, task)
            for name in demonstration_names(data):
                _check_demonstration(data[name], name)
    except TrajectoryError:
        raise
    except FAULTS as error:
        raise as_error(path, error, TrajectoryError, REMEDY) from error


def demonstration_names(data: h5py.Group) -> list[str]:
    """Return the names of a file's demonstrations, `demo_0` first.

    Raises:
        ValueError: there is none, or fewer than the file says.
    """
    names = sorted(data, key=lambda name: int(name.split("_")[1]))
    count = data.attrs.get("num_demos")
    if not names or (count is not None and int(count) != len(names)):
        raise ValueError(f"it holds {len(names)} demonstrations, not {count or 'one at least'}")
    return names


def check_origin(path: Path, data: h5py.Group, task: Task) -> None:
    """Check by the attributes of a file's `data` that it is of a task and of LIBERO's robot.

    What it does not say is not asked for. Published files name their definition by names that
    LIBERO no longer has (`open_the_middle_layer_of_the_drawer`): only the name of another
    task, or its instruction in the same scene, makes it one of that task.

    Raises:
        TrajectoryError: it is of another task, robot, controller or control frequency.
    """
    if (other := _other_task(data, task)) is not None:
        raise TrajectoryError(
            f"{path} is of {other.key} by what it says itself, but it is named or taken for "
            f"{task.key}: name it {other.name}_demo.hdf5, or give the right file"
        )
    settings = _json_attribute(data, "env_args").get("env_kwargs")
    wrong = next(_foreign(settings), None) if isinstance(settings, dict) else None
    if wrong is not None:
        raise TrajectoryError(
            f"{path} was recorded with {wrong}: demonstrations of LIBERO's {_ROBOT} under "
            f"{_CONTROLLER} at {_RATE_HZ} Hz are read"
        )


def _other_task(data: h5py.Group, task: Task) -> Task | None:
    """Return the task that a file's definition or, where that has an old name, language names."""
    named = Path(str(data.attrs.get("bddl_file_name", ""))).stem
    tasks = {other.name: other for other in list_tasks()}
    if named in tasks:
        return None if named == task.name else tasks[named]
    told = _json_attribute(data, "problem_info").get("language_instruction")
    language = " ".join(str(told or "").lower().split())
    if language in ("", task.language):
        return None
    alike = (other for other in list_tasks(task.suite) if _scene(other) == _scene(task))
    return next((other for other in alike if other.language == language), None)


def _scene(task: Task) -> str:
    """Return what stands before the instruction in a task's name, such as `KITCHEN_SCENE3_`."""
    return task.name.removesuffix(task.language.replace(" ", "_"))


def _foreign(settings: dict[str, Any]) -> Iterator[str]:
    """Yield, in words, what of an environment's settings is not LIBERO's."""
    robots = settings.get("robots")
    if robots is not None and robots not in ([_ROBOT], _ROBOT):
        yield f"the robot {robots}"
    controller = settings.get("controller_configs")
    kind = controller.get("type") if isinstance(controller, dict) else None
    if kind not in (None, _CONTROLLER):
        yield f"the controller {kind}"
    if settings.get("control_freq", _RATE_HZ) != _RATE_HZ:
        yield f"a control frequency of {settings['control_freq']} Hz"


def _check_demonstration(group: h5py.Group, name: str) -> None:
    try:
        states, actions = read_array(group, "states"), read_array(group, "actions", ACTION_DIM)
    except FAULTS as error:
        raise ValueError(f"{name}: {one_line(error)}") from error
    if len(states) != len(actions):
        raise ValueError(f"{name} has {len(states)} states and {len(actions)} actions")
    if "model_file" not in group.attrs:
        raise ValueError(f"{name} has no model_file, which holds the fixtures' poses")


def _json_attribute(data: h5py.Group, name: str) -> dict[str, Any]:
    """Return the object in an attribute, empty where there is none.

    Raises:
        ValueError: it is no JSON object.
    """
    text = data.attrs.get(name)
    if text is None:
        return {}
    content = parse_json(str(text).encode())
    if not isinstance(content, dict):
        raise ValueError(f"its {name} is no JSON object")
    return content
