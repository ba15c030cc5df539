"""Pictures of stored simulator states: any task, camera and size, with no display."""

from __future__ import annotations

import atexit
import copy
import functools
import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

import mujoco
import numpy as np

from common.errors import RenderError, one_line
from simulation.assets.resolve import AssetPack
from simulation.pictures.culling import Culling, drawn_by_processor
from simulation.pictures.graphics import choose_backend, new_context
from simulation.pictures.look import Look, Wardrobe
from simulation.pictures.segments import Segment, draw_numbers, list_segments
from simulation.scene import Fixtures, Scene, load_scene
from simulation.tasks import Task

if TYPE_CHECKING:
    from simulation.recordings.trajectories import Episode

__all__ = ["DEFAULT_CAMERAS", "Picture", "Renderer", "Segment", "View", "choose_backend"]

DEFAULT_CAMERAS = ("agentview", "robot0_eye_in_hand")
"""The two cameras that LIBERO's policies look through."""
_MAX_GEOMS = 1000
_SHADOW_SIZE = 512
"""Side of a look's shadow map, pixels: in software MuJoCo's 4096 takes three pictures' time."""
_OPEN: weakref.WeakSet[Renderer] = weakref.WeakSet()
_MAKING = threading.Lock()
"""Held while a context is made: MuJoCo starts EGL with the first, and looks for that unguarded."""
_LOST: list[tuple[tuple[int, int], Any, mujoco.MjrContext]] = []
"""Owners and contexts, OpenGL's and MuJoCo's, of renderers that were dropped without `close`."""


@dataclass(frozen=True)
class View:
    """One picture to draw."""

    camera: str = "agentview"
    """Name of the camera."""
    width: int = 256
    """Width, pixels."""
    height: int = 256
    """Height, pixels."""
    depth: bool = False
    """Whether to read the depth too: nearly free."""
    segmentation: bool = False
    """Whether to tell apart what is seen: one more drawing."""


@dataclass(frozen=True)
class Picture:
    """What one view shows, upright: row 0 is the top."""

    rgb: np.ndarray
    """Colours, uint8 (height, width, 3)."""
    depth: np.ndarray | None = None
    """Distance from the camera along its axis, m, float32 (height, width)."""
    segmentation: np.ndarray | None = None
    """Geom seen, int32 (height, width): an index into `Renderer.segments`, or -1 for the sky."""


class Renderer:
    """Draws states of one task, with upstream's visual options and cameras.

    Pictures are upright: row 0 is the top. LIBERO's observation arrays (robosuite's `opengl`
    convention) are these with the rows in reverse order, `picture[::-1]`.

    A renderer owns an OpenGL context, which belongs to the thread that made it: each thread, and
    each process after a fork, makes its own. Several renderers may share a thread. Use it as a
    context manager, or call `close`.

    Args:
        task: the task.
        assets: asset pack; by default the first that `resolve_assets` finds.
        width: widest picture that will be asked for, pixels.
        height: tallest picture that will be asked for, pixels.
        scene: the task's compiled scene; by default the one that every environment shares.

    Raises:
        RenderError: no OpenGL renders here, or none so large.
    """

    def __init__(
        self,
        task: Task,
        assets: AssetPack | None = None,
        width: int = 256,
        height: int = 256,
        scene: Scene | None = None,
    ) -> None:
        self.backend = choose_backend()
        self.scene = scene or load_scene(task, assets)
        self.model = copy.copy(self.scene.visual_model)
        self.model.vis.global_.offwidth = max(width, 640)
        self.model.vis.global_.offheight = max(height, 480)
        if not self.model.light_castshadow.any():  # only a look casts shadows here, if at all
            quality = self.model.vis.quality
            quality.shadowsize = min(quality.shadowsize, _SHADOW_SIZE)
        self.data = mujoco.MjData(self.model)
        self._owner = _here()
        with _MAKING:
            _free_lost()
            self._gl: Any = new_context(max(width, 640), max(height, 480))
            _close_at_exit(os.getpid())
        self._gl.make_current()
        self._scene = mujoco.MjvScene(self.model, maxgeom=_MAX_GEOMS)
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._options = _visual_options()
        self._without_sites = _visual_options()
        self._without_sites.sitegroup[:] = 0
        self._perturb = mujoco.MjvPerturb()
        self._context = self._draws_into(width, height)
        self._lost = weakref.finalize(self, _LOST.append, (self._owner, self._gl, self._context))
        self._lost.atexit = False
        _OPEN.add(self)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._wardrobe = Wardrobe(self.scene.visual_model, self.model, self._context)
        self._culling = (
            Culling(self.model, self.data, self._context) if drawn_by_processor() else None
        )
        self.segments = list_segments(self.scene, self.model)
        """What each geom id of a segmentation stands for."""

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the task's cameras."""
        return tuple(self.model.camera(i).name for i in range(self.model.ncam))

    def wear(self, look: Look) -> None:
        """Draw with other cameras, lights, colours and textures until told otherwise.

        Raises:
            RenderError: the renderer is closed, or of another thread.
        """
        self._make_current()
        self._wardrobe.wear(look)

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
            RenderError: no such camera, too large, or the renderer is of another thread.
        """
        self._set(state, fixtures)
        return self._draw(camera, width, height)

    def render_views(
        self, state: np.ndarray, fixtures: Fixtures, views: Sequence[View]
    ) -> tuple[Picture, ...]:
        """Return what each view shows of a state: colours, and depth and geoms where asked.

        Raises:
            InvalidStateError, RenderError: as for `render`.
        """
        self._set(state, fixtures)
        return tuple(self._picture(view) for view in views)

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
        """Free the OpenGL context.

        Raises:
            RenderError: another thread made it, and only that one can free it.
        """
        if self._gl is not None:
            self._make_current()
            self._context.free()
            self._lost.detach()
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

    def _draws_into(self, width: int, height: int) -> mujoco.MjrContext:
        """Return what draws into the current OpenGL context, which is freed where nothing can."""
        try:
            return mujoco.MjrContext(self.model, mujoco.mjtFontScale.mjFONTSCALE_150)
        except mujoco.FatalError as error:
            self._gl.free()
            raise RenderError(
                f"OpenGL draws no pictures of {width}x{height} pixels here ({one_line(error)}): "
                "ask for smaller ones"
            ) from error

    def _make_current(self) -> None:
        if self._gl is None:
            raise RenderError("this renderer is closed: make a new one")
        if self._owner != _here():
            raise RenderError(
                "this renderer was made in another thread or process, and OpenGL draws only in "
                "the one that made it: make a Renderer in each"
            )
        self._gl.make_current()

    def _picture(self, view: View) -> Picture:
        rgb = self._draw(view.camera, view.width, view.height)
        return Picture(
            rgb,
            self._read_depth(view.width, view.height) if view.depth else None,
            self._segment(view) if view.segmentation else None,
        )

    def _draw(self, camera: str, width: int, height: int) -> np.ndarray:
        self._update(camera, width, height, self._options)
        viewport = mujoco.MjrRect(0, 0, width, height)
        mujoco.mjr_render(viewport, self._scene, self._context)
        pixels = np.empty((height, width, 3), np.uint8)
        mujoco.mjr_readPixels(pixels, None, viewport, self._context)
        return pixels[::-1].copy()

    def _update(self, camera: str, width: int, height: int, options: mujoco.MjvOption) -> None:
        self._make_current()
        index = mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_CAMERA, camera)
        if index < 0:
            raise RenderError(f"no camera {camera!r}; this task has {', '.join(self.cameras)}")
        if width < 1 or height < 1:
            raise RenderError(f"{width}x{height} is no picture: width and height are 1 or more")
        if width > self._context.offWidth or height > self._context.offHeight:
            raise RenderError(
                f"{width}x{height} is larger than this renderer's buffer "
                f"({self._context.offWidth}x{self._context.offHeight}); make it larger"
            )
        self._camera.fixedcamid = index
        if self._culling:
            self._culling.before(index, width, height, self._wardrobe.casts_shadows)
        mujoco.mjv_updateScene(
            self.model,
            self.data,
            options,
            self._perturb,
            self._camera,
            mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )
        self._wardrobe.light(self._scene)
        if self._culling:
            self._culling.after(self._scene)

    def _read_depth(self, width: int, height: int) -> np.ndarray:
        """Read the depth of what was just drawn, and turn buffer values 0..1 into metres."""
        buffer = np.empty((height, width), np.float32)
        mujoco.mjr_readPixels(None, buffer, mujoco.MjrRect(0, 0, width, height), self._context)
        planes, extent = self.model.vis.map, self.model.stat.extent
        near, far = planes.znear * extent, planes.zfar * extent
        return near / (1.0 - buffer[::-1] * (1.0 - near / far))

    def _segment(self, view: View) -> np.ndarray:
        self._update(view.camera, view.width, view.height, self._without_sites)
        viewport = mujoco.MjrRect(0, 0, view.width, view.height)
        return draw_numbers(viewport, self._scene, self._context)[::-1].copy()


def _here() -> tuple[int, int]:
    """The process and the thread."""
    return os.getpid(), threading.get_ident()


def _visual_options() -> mujoco.MjvOption:
    """Upstream's: all groups that MuJoCo shows but the collision geoms."""
    options = mujoco.MjvOption()
    options.geomgroup[0] = 0
    return options


@functools.cache
def _close_at_exit(process: int) -> None:
    """Register the clean-up once a process, after that of the library that made its contexts."""
    atexit.register(_close_all)


def _close_all() -> None:
    """Free the contexts before the process ends, but those that a living thread may be using.

    OpenGL's own clean-up comes later.
    """
    living = _living()
    for renderer in list(_OPEN):
        if renderer._owner == _here():
            renderer.close()
        elif renderer._owner not in living:
            renderer._lost()
    _free_lost()


def _free_lost() -> None:
    """Free contexts whose renderers are gone; no context is current in this thread afterwards.

    Left to the garbage collector, which may run in any thread and at any moment, they would take
    what they have uploaded out of the context that is current there, and make none current.
    """
    living = _living() - {_here()}
    for lost in [lost for lost in _LOST if lost[0][0] == os.getpid() and lost[0] not in living]:
        _LOST.remove(lost)
        _, opengl_context, context = lost
        opengl_context.make_current()
        context.free()
        opengl_context.free()


def _living() -> set[tuple[int, int]]:
    """This process's threads."""
    return {(os.getpid(), thread.ident or 0) for thread in threading.enumerate()}
