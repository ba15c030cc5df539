"""Which OpenGL draws without a display here, found before anything binds one to the process."""

from __future__ import annotations

import functools
import importlib
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from common.errors import RenderError

_CONTEXTS = {"egl": "mujoco.egl", "osmesa": "mujoco.osmesa", "glfw": "mujoco.glfw"}
"""Backend -> module of MuJoCo whose `GLContext` makes its contexts."""
_ALIASES = {"glx": "glfw"}
_OFF = ("disable", "disabled", "off", "false", "0")
_PROBE = """
import sys, importlib, mujoco
context = importlib.import_module(sys.argv[1]).GLContext(64, 64)
context.make_current()
from OpenGL import GL
model = mujoco.MjModel.from_xml_string(
    '<mujoco><worldbody><geom size=".1"/><camera pos="0 0 1"/></worldbody></mujoco>')
data, scene = mujoco.MjData(model), mujoco.MjvScene(model, 10)
mujoco.mj_forward(model, data)
camera = mujoco.MjvCamera()
camera.type, camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, 0
mujoco.mjv_updateScene(model, data, mujoco.MjvOption(), None, camera, 7, scene)
render = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, render)
mujoco.mjr_render(mujoco.MjrRect(0, 0, 64, 64), scene, render)
import numpy
pixels = numpy.zeros((64, 64, 3), numpy.uint8)
mujoco.mjr_readPixels(pixels, None, mujoco.MjrRect(0, 0, 64, 64), render)
assert pixels.any(), "it drew a black picture"
print("drawn by", GL.glGetString(GL.GL_RENDERER).decode())
"""
_PROBE_TIMEOUT_S = 120
_REMEDY = (
    "Install Mesa (apt-get install -y libegl1 libgl1-mesa-dri, or libosmesa6), or with an NVIDIA "
    "GPU the driver's EGL library (libnvidia-gl-*; in a container NVIDIA_DRIVER_CAPABILITIES=all)"
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Backend:
    """An OpenGL backend that drew when tried."""

    name: str
    """`egl`, `osmesa` or `glfw`."""
    driver: str
    """What OpenGL calls the device, such as `llvmpipe (LLVM 15.0.6, 256 bits)`."""
    reason: str
    """Why it was chosen, for people."""


def choose_backend() -> str:
    """Return the name of the OpenGL backend that draws here: `egl`, `osmesa`, or `glfw` if asked.

    Raises:
        RenderError: none works; the message names the packages to install.
    """
    return find_backend().name


@functools.cache
def find_backend() -> Backend:
    """Find an OpenGL backend that draws without a display.

    Each candidate draws once in a process of its own, because a bad driver can take a process
    down, and because an OpenGL library, once loaded, stays with its process. `MUJOCO_GL` decides
    where it is set; else EGL, which finds GPUs, goes before OSMesa. On a machine with several
    GPUs `MUJOCO_EGL_DEVICE_ID` says which; then EGL alone is tried. The environment is left as
    it is.

    Raises:
        RenderError: none works; the message says what each lacks and which packages to install.
    """
    candidates, why = _candidates()
    failures: list[str] = []
    for name in candidates:
        drawn, message = _probe(name)
        if drawn:
            reason = "; ".join([f"{name} ({message}): {why}", *failures])
            _log.info("OpenGL backend %s", reason)
            return Backend(name, message.removeprefix("drawn by "), reason)
        failures.append(f"{name} does not work: {message}")
    raise RenderError(
        f"no OpenGL draws here without a display ({why}; {'; '.join(failures)}). {_REMEDY}."
    )


def new_context(width: int, height: int) -> Any:
    """Make an OpenGL context, with buffers of that many pixels, of the backend that draws here.

    Raises:
        RenderError: no backend works.
    """
    return importlib.import_module(_CONTEXTS[choose_backend()]).GLContext(width, height)


@contextmanager
def no_graphics() -> Iterator[None]:
    """Import robosuite, or what imports it, inside this: it then binds no OpenGL.

    robosuite sets `MUJOCO_GL` to `egl` and loads EGL when it is imported, so that simulating
    alone fails without EGL, and rendering where OSMesa is all there is. Inside this it loads
    neither, and its own renderers ask `choose_backend` when they make their first context. A
    `MUJOCO_GL` of the user's that names EGL or OSMesa is obeyed.
    """
    asked = os.environ.get("MUJOCO_GL")
    if _binding_utils() is not None or _asked() in ("egl", "osmesa"):
        yield
        return
    os.environ["MUJOCO_GL"] = "glx"  # the only value that robosuite does not overwrite or load
    try:
        yield
    finally:
        if asked is None:
            del os.environ["MUJOCO_GL"]
        else:
            os.environ["MUJOCO_GL"] = asked
    robosuite = _binding_utils()
    if robosuite is not None:
        robosuite.GLContext = _robosuite_context


def _robosuite_context(max_width: int, max_height: int, device_id: int = -1) -> Any:
    """Make the context that robosuite's renderer asks for, of the backend that draws here."""
    name = choose_backend()
    classes = {"egl": "EGLGLContext", "osmesa": "OSMesaGLContext", "glfw": "GLFWGLContext"}
    module = importlib.import_module(f"robosuite.renderers.context.{name}_context")
    return getattr(module, classes[name])(max_width, max_height, device_id)


def _binding_utils() -> Any:
    return sys.modules.get("robosuite.utils.binding_utils")


def _asked() -> str:
    value = os.environ.get("MUJOCO_GL", "").lower().strip()
    return _ALIASES.get(value, value)


def _candidates() -> tuple[list[str], str]:
    """Return the backends to try and why these."""
    asked, bound = _asked(), os.environ.get("PYOPENGL_PLATFORM", "").lower()
    if asked in _OFF:
        raise RenderError(f"MUJOCO_GL={asked} turns rendering off: unset it, or set egl or osmesa")
    if asked in _CONTEXTS:
        return [asked], f"MUJOCO_GL={asked} asks for it"
    if bound in _CONTEXTS:
        return [bound], f"PYOPENGL_PLATFORM={bound} binds this process to it"
    device = os.environ.get("MUJOCO_EGL_DEVICE_ID")
    if device is not None:
        return ["egl"], f"MUJOCO_EGL_DEVICE_ID={device} asks for EGL"
    return ["egl", "osmesa"], "the first that draws of EGL and OSMesa"


def _probe(name: str) -> tuple[bool, str]:
    """Return whether a backend draws in a process of its own, and its device or its error."""
    environment = {**os.environ, "MUJOCO_GL": name, "PYOPENGL_PLATFORM": name}
    if name == "glfw":
        del environment["PYOPENGL_PLATFORM"]
    command = [sys.executable, "-c", _PROBE, _CONTEXTS[name]]
    try:
        run = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=_PROBE_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return False, f"no picture within {_PROBE_TIMEOUT_S} s"
    lines = run.stdout.strip().splitlines()
    if run.returncode == 0 and lines:
        return True, lines[-1]
    error = re.search(r"^[\w.]*(?:Error|Exception)\b.*$", run.stderr, re.MULTILINE)
    if error is None:
        return False, f"the process ended with {run.returncode}"
    # PyOpenGL's functions are None's where it finds no library.
    return False, "no library" if "'NoneType' object" in error[0] else error[0]


def opengl() -> Any:
    """Return OpenGL itself, which binds its library when first imported: after a context's."""
    return importlib.import_module("OpenGL.GL")
