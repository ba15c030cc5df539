"""The choice of OpenGL, each in a process where nothing has bound one yet."""

from __future__ import annotations

import ctypes.util
import os
import subprocess
import sys

import pytest

from common.errors import RenderError
from simulation.pictures import graphics
from simulation.pictures.graphics import find_backend

_VARIABLES = ("MUJOCO_GL", "PYOPENGL_PLATFORM", "MUJOCO_EGL_DEVICE_ID")
CHOOSE = (
    "from simulation.pictures.graphics import find_backend\nfrom common.errors import RenderError\n"
    "try: print(find_backend().reason)\nexcept RenderError as error: print('RenderError', error)"
)


def run(code: str, **variables: str) -> str:
    """What a fresh process prints."""
    environment = {name: value for name, value in os.environ.items() if name not in _VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without settings."""
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_simulating_loads_no_opengl_and_leaves_the_environment() -> None:
    code = (
        "import os, sys\nbefore = dict(os.environ)\nsys.modules['OpenGL'] = None\n"
        "from simulation.scene import load_scene\nfrom simulation.tasks import list_tasks\n"
        "from simulation.assets.resolve import embedded_pack\n"
        "load_scene(list_tasks('libero_object')[0], embedded_pack())\n"
        "changed = {name for name in os.environ if before.get(name) != os.environ[name]}\n"
        "print(sorted(name for name in changed if 'GL' in name))"
    )
    assert run(code).splitlines()[-1] == "[]"


def test_the_choice_says_what_draws_and_why() -> None:
    assert "drawn by" in run(CHOOSE)


def test_egl_without_a_driver_is_one_clear_error() -> None:
    message = run(CHOOSE, MUJOCO_EGL_DEVICE_ID="0", __EGL_VENDOR_LIBRARY_DIRS="/nowhere")
    assert message.startswith("RenderError no OpenGL draws here")
    assert "MUJOCO_EGL_DEVICE_ID=0 asks for EGL" in message and "apt-get install" in message


def test_a_device_that_is_not_there_is_named() -> None:
    message = run(CHOOSE, MUJOCO_EGL_DEVICE_ID="99")
    assert message.startswith("RenderError") and "99" in message


@pytest.mark.skipif(ctypes.util.find_library("OSMesa") is None, reason="libosmesa6 is not there")
def test_osmesa_alone_is_enough() -> None:
    assert run(CHOOSE, __EGL_VENDOR_LIBRARY_DIRS="/nowhere").startswith("osmesa (drawn by")


def test_osmesa_comes_after_egl(fresh, monkeypatch) -> None:
    tried: list[str] = []

    def probe(name: str) -> tuple[bool, str]:
        tried.append(name)
        return (True, "drawn by a CPU") if name == "osmesa" else (False, "no library")

    monkeypatch.setattr(graphics, "_probe", probe)
    backend = find_backend.__wrapped__()
    assert tried == ["egl", "osmesa"]
    assert (backend.name, backend.driver) == ("osmesa", "a CPU")
    assert "egl does not work: no library" in backend.reason


@pytest.mark.parametrize(
    ("variables", "candidates"),
    [
        ({}, ["egl", "osmesa"]),
        ({"MUJOCO_GL": "OSMesa"}, ["osmesa"]),
        ({"MUJOCO_GL": "glx"}, ["glfw"]),
        ({"PYOPENGL_PLATFORM": "osmesa"}, ["osmesa"]),
        ({"MUJOCO_EGL_DEVICE_ID": "1"}, ["egl"]),
    ],
)
def test_settings_decide_what_is_tried(fresh, monkeypatch, variables, candidates) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(graphics, "_probe", lambda name: (False, f"tried {name}"))
    with pytest.raises(RenderError) as caught:
        find_backend.__wrapped__()
    tried = [name for name in ("egl", "osmesa", "glfw") if f"tried {name}" in str(caught.value)]
    assert tried == candidates


def test_rendering_turned_off_says_so(fresh, monkeypatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "disable")
    with pytest.raises(RenderError, match="unset it"):
        find_backend.__wrapped__()
