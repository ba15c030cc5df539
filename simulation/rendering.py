"""Pictures of stored simulator states: any task, camera and size, with no display."""

from __future__ import annotations

import copy
import functools
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

import mujoco
import numpy as np

from simulation.assets import AssetPack
from simulation.errors import RenderError
from simulation.registry import Task
from simulation.scene import Fixtures, load_scene

if TYPE_CHECKING:
    from simulation.trajectories import Episode

DEFAULT_CAMERAS = ("agentview", "robot0_eye_in_hand")
"""The two cameras that LIBERO's policies look through."""
_MAX_GEOMS = 1000
_PROBE = (
    "import mujoco; c = mujoco.GLContext(64, 64); c.make_current(); "
    'm = mujoco.MjModel.from_xml_string(\'<mujoco><worldbody><geom size=".1"/></worldbody>'
    "</mujoco>'); mujoco.MjrContext(m, mujoco.mjtFontScale.mjFONTSCALE_100)"
)


@functools.cache
def choose_backend() -> str:
    """Return the OpenGL backend that renders without a display here: `egl` or `osmesa`.

    `MUJOCO_GL` decides where it is set. Otherwise each backend draws once in a process of its
    own, because a bad driver can take the process down; the first that works is set in
    `MUJOCO_GL`, which MuJoCo reads when a context is made.

    Raises:
        RenderError: none works; the message names the packages to install.
    """
    wanted = os.environ.get("MUJOCO_GL", "").lower()
    candidates = [wanted] if wanted in ("egl", "osmesa", "glfw") else ["egl", "osmesa"]
    reasons = []
    for backend in candidates:
        environment = {**os.environ, "MUJOCO_GL": backend, "PYOPENGL_PLATFORM": backend}
        probe = subprocess.run(
            [sys.executable, "-c", _PROBE], env=environment, capture_output=True, timeout=120
        )
        if probe.returncode == 0:
            os.environ["MUJOCO_GL"] = backend
            os.environ["PYOPENGL_PLATFORM"] = backend
            return backend
        lines = probe.stderr.decode(errors="replace").strip().splitlines() or ["crashed"]
        reasons.append(f"{backend}: {lines[-1]}")
    raise RenderError(
        "no OpenGL can render here without a display (" + "; ".join(reasons) + "). "
        "Install Mesa (apt-get install -y libegl1 libgl1-mesa-dri libosmesa6), or set "
        "MUJOCO_GL=osmesa where only OSMesa works"
    )


class Renderer:
    """Draws states of one task, with upstream's visual options and cameras.

    Pictures are upright: row 0 is the top. LIBERO's observation arrays (robosuite's `opengl`
    convention) are these with the rows in reverse order, `picture[::-1]`.

    A renderer owns an OpenGL context, which belongs to the thread that made it. Use it as a
    context manager, or call `close`.

    Args:
        task: the task.
        assets: asset pack; by default the first that `resolve_assets` finds.
        width: widest picture that will be asked for, pixels.
        height: tallest picture that will be asked for, pixels.

    Raises:
        RenderError: no OpenGL renders here.
    """

    def __init__(
        self,
        task: Task,
        assets: AssetPack | None = None,
        width: int = 256,
        height: int = 256,
    ) -> None:
        self.backend = choose_backend()
        self.scene = load_scene(task, assets)
        self.model = copy.copy(self.scene.visual_model)
        self.model.vis.global_.offwidth = max(width, 640)
        self.model.vis.global_.offheight = max(height, 480)
        self.data = mujoco.MjData(self.model)
        self._gl = _gl_context(self.backend, max(width, 640), max(height, 480))
        self._gl.make_current()
        self._scene = mujoco.MjvScene(self.model, maxgeom=_MAX_GEOMS)
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._options = mujoco.MjvOption()
        self._options.geomgroup[0] = 0
        self._perturb = mujoco.MjvPerturb()
        self._context = mujoco.MjrContext(self.model, mujoco.mjtFontScale.mjFONTSCALE_150)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the task's cameras."""
        return tuple(self.model.camera(i).name for i in range(self.model.ncam))

    def render(
        self,
        state: np.ndarray,
        fixtures: Fixtures,
        camera: str = "agentview",
        width: int = 256,
        height: int = 256,
    ) -> np.ndarray:
        """Return one upright picture of a state, uint8 (height, width, 3).

        Raises:
            InvalidStateError: the state does not belong to this task.
            RenderError: the task has no such camera.
        """
        self._set(state, fixtures)
        return self._draw(camera, width, height)

    def render_episode(
        self,
        episode: Episode,
        cameras: Sequence[str] = DEFAULT_CAMERAS,
        width: int = 256,
        height: int = 256,
    ) -> dict[str, np.ndarray]:
        """Return upright pictures before each action, camera -> uint8 (T, height, width, 3)."""
        frames = list(self.iterate(episode, cameras, width, height))
        return {camera: np.stack([f[i] for f in frames]) for i, camera in enumerate(cameras)}

    def iterate(
        self, episode: Episode, cameras: Sequence[str], width: int, height: int
    ) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield, before each action, one upright picture per camera."""
        for state in episode.states:
            self._set(state, episode.fixtures)
            yield tuple(self._draw(camera, width, height) for camera in cameras)

    def close(self) -> None:
        """Free the OpenGL context."""
        if self._gl is not None:
            self._context.free()
            self._gl.free()
            self._gl = None

    def __enter__(self) -> Renderer:
        """Return the renderer itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Free the OpenGL context."""
        self.close()

    def _set(self, state: np.ndarray, fixtures: Fixtures) -> None:
        array = self.scene.check_state(state)
        bodies = self.scene.fixture_bodies
        self.model.body_pos[bodies] = fixtures.positions
        self.model.body_quat[bodies] = fixtures.quaternions
        nq = self.model.nq
        self.data.time = array[0]
        self.data.qpos[:] = array[1 : 1 + nq]
        self.data.qvel[:] = array[1 + nq :]
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_comPos(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)
        for site, address, threshold in self.scene.burners:
            self.model.site_rgba[site, 3] = float(self.data.qpos[address] >= threshold)

    def _draw(self, camera: str, width: int, height: int) -> np.ndarray:
        index = mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_CAMERA, camera)
        if index < 0:
            raise RenderError(f"no camera {camera!r}; this task has {', '.join(self.cameras)}")
        if width > self._context.offWidth or height > self._context.offHeight:
            raise RenderError(
                f"{width}x{height} is larger than this renderer's buffer "
                f"({self._context.offWidth}x{self._context.offHeight}); make it larger"
            )
        self._camera.fixedcamid = index
        mujoco.mjv_updateScene(
            self.model,
            self.data,
            self._options,
            self._perturb,
            self._camera,
            mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )
        self._gl.make_current()
        viewport = mujoco.MjrRect(0, 0, width, height)
        mujoco.mjr_render(viewport, self._scene, self._context)
        pixels = np.empty((height, width, 3), np.uint8)
        mujoco.mjr_readPixels(pixels, None, viewport, self._context)
        return pixels[::-1].copy()


def _gl_context(backend: str, width: int, height: int) -> mujoco.GLContext:
    """Make a context of the chosen backend (MuJoCo fixed its own choice when imported)."""
    if backend == "osmesa":
        from mujoco.osmesa import GLContext
    elif backend == "egl":
        from mujoco.egl import GLContext
    else:
        from mujoco.glfw import GLContext
    return GLContext(width, height)
