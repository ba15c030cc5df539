"""Leaves out of a picture what it cannot show, where the processor draws: exact, and faster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import mujoco
import numpy as np

from simulation.pictures.graphics import find_backend, opengl
from simulation.pictures.sight import Sight

_SOFTWARE = ("llvmpipe", "softpipe", "swrast", "swiftshader", "software")
"""Parts of the names of OpenGL devices that are the processor."""
_MANY_FACES = 1000
"""Faces of a mesh from which on a list of those that a fixed camera sees is worth making."""
_AT_REST = 4
"""Pictures in a row from one place after which it is made: some draw states of many episodes."""
_WORTH = 0.8
"""Share of a mesh's faces up to which such a list is used."""
_CENTRE = (0.5, 0.5)
"""What is sampled of a pixel without antialiasing, as in segmentations."""
_FLAT = (int(mujoco.mjtGeom.mjGEOM_PLANE), int(mujoco.mjtGeom.mjGEOM_BOX))
"""Types of what may be a mirror."""
_HIDDEN = 0
"""Group of the collision geoms, which no picture shows."""
_CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)


@dataclass(frozen=True)
class _Part:
    """The faces of an unmoving mesh that a camera may see from where it is."""

    pose: bytes
    """Where the geom and the pyramids of sight were."""
    pictures: int = 1
    """How many in a row have found them there."""
    faces: int | None = None
    """How many; None: not counted yet, or so many that MuJoCo's own list does."""


class Culling:
    """Which geoms a renderer draws, and which faces of the unmoving ones.

    LIBERO's kitchens have 370,000 faces, far more than a picture has pixels: most lie beside it,
    or between the points at which OpenGL samples it, and still take their time. Geoms beside the
    picture are put into the group that is not shown. Of the large meshes that stand still, a
    camera that does so too gets lists of the faces that may cover a sample, made by MuJoCo of the
    same numbers. What is drawn is drawn as before, and what is left out would have coloured
    nothing: pictures stay the same, bit for bit. Where a light casts shadows nothing is left out,
    for they may fall into the picture, nor where a site is a mirror.

    Args:
        model: the renderer's own copy. The groups of its geoms change with each picture.
        data: where its bodies are.
        context: where its meshes have been uploaded; its OpenGL context must be current in calls.
    """

    def __init__(
        self, model: mujoco.MjModel, data: mujoco.MjData, context: mujoco.MjrContext
    ) -> None:
        self._model, self._data, self._context = model, data, context
        self._groups = model.geom_group.copy()
        self._shown = np.flatnonzero(self._groups != _HIDDEN)
        reflectance = np.append(model.mat_reflectance, 0)  # of no material, whose number is -1
        mirrors = np.isin(model.geom_type, _FLAT) & (reflectance[model.geom_matid] > 0)
        self._mirrors = self._shown[mirrors[self._shown]]
        sites = np.isin(model.site_type, _FLAT) & (reflectance[model.site_matid] > 0)
        self._mirror_sites = bool(sites.any())
        self._endless = model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE
        still = model.body_weldid[model.geom_bodyid] == 0
        meshes = model.geom_type == mujoco.mjtGeom.mjGEOM_MESH
        faces = np.zeros(model.ngeom, int)
        faces[meshes] = model.mesh_facenum[model.geom_dataid[meshes]]
        self._samples = _sample_positions(context)
        large = still & (faces >= _MANY_FACES) & (len(self._samples) > context.offSamples)
        self._large = self._shown[large[self._shown]].tolist()
        self._parts: dict[tuple[int, ...], _Part] = {}
        self._lists: dict[tuple[int, ...], int] = {}
        self._drawn: dict[int, int] = {}

    def before(self, camera: int, width: int, height: int, shadows: bool) -> None:
        """Leave out what the next picture cannot show; call it before the scene is filled.

        Args:
            camera: the camera's number.
            width: of the picture, pixels.
            height: of the picture, pixels.
            shadows: whether a light casts them.
        """
        model = self._model
        model.geom_group[:] = self._groups
        self._drawn = {}
        unusual = model.cam_orthographic[camera] or model.cam_sensorsize[camera].any()
        if shadows or unusual or self._mirror_sites:
            return
        sight = self._sight(camera, width, height)
        shown = self._shown
        hidden = shown[~(sight.may_show(self._boxes(shown)) | self._endless[shown])]
        model.geom_group[np.setdiff1d(hidden, self._mirrors)] = _HIDDEN
        if model.body_weldid[model.cam_bodyid[camera]] == 0:
            for geom in self._large:
                if model.geom_group[geom] != _HIDDEN:
                    self._choose_faces((camera, width, height, geom), sight)

    def after(self, scene: mujoco.MjvScene) -> None:
        """Have the scene, filled from the model, draw the chosen faces."""
        if not self._drawn:
            return
        for geom in scene.geoms[: scene.ngeom]:
            chosen = self._drawn.get(geom.objid)
            if chosen is not None and geom.objtype == mujoco.mjtObj.mjOBJ_GEOM:
                geom.dataid = chosen - self._context.baseMesh

    def _sight(self, camera: int, width: int, height: int) -> Sight:
        model, data = self._model, self._data
        eye, axes = data.cam_xpos[camera], data.cam_xmat[camera].reshape(3, 3)
        eyes, all_axes = [eye], [axes]
        for mirror in self._mirrors:
            normal = data.geom_xmat[mirror].reshape(3, 3)[:, 2]
            box = model.geom_type[mirror] == mujoco.mjtGeom.mjGEOM_BOX
            side = data.geom_xpos[mirror] + normal * (model.geom_size[mirror, 2] if box else 0)
            reflection = np.eye(3) - 2 * np.outer(normal, normal)
            eyes.append(side + reflection @ (eye - side))
            all_axes.append(reflection @ axes)
        half_height = np.tan(np.deg2rad(model.cam_fovy[camera]) / 2)
        slopes = half_height * np.array([width / height, 1.0])
        return Sight(np.array(eyes), np.array(all_axes), slopes, np.array([width, height]))

    def _boxes(self, geoms: np.ndarray) -> np.ndarray:
        """Corners of the geoms' bounding boxes, world frame, m, (N, 8, 3)."""
        boxes = self._model.geom_aabb[geoms]
        corners = boxes[:, None, :3] + _CORNERS * boxes[:, None, 3:]
        rotations = self._data.geom_xmat[geoms].reshape(-1, 3, 3)
        return self._data.geom_xpos[geoms][:, None] + corners @ rotations.transpose(0, 2, 1)

    def _choose_faces(self, key: tuple[int, ...], sight: Sight) -> None:
        """Have a geom draw the faces that may be seen, once it has been seen to stand still.

        Args:
            key: camera, width, height, geom.
            sight: where the camera is.
        """
        geom = key[-1]
        pose = self._data.geom_xpos[geom].tobytes() + self._data.geom_xmat[geom].tobytes()
        pose += sight.pose
        part = self._parts.get(key)
        if part is None or part.pose != pose:
            part = _Part(pose)
        elif part.pictures < _AT_REST:
            counts = part.pictures + 1 == _AT_REST
            part = _Part(pose, part.pictures + 1, self._make_list(key, sight) if counts else None)
        self._parts[key] = part
        if part.faces == 0:
            self._model.geom_group[geom] = _HIDDEN
        elif part.faces:
            self._drawn[geom] = self._lists[key]

    def _make_list(self, key: tuple[int, ...], sight: Sight) -> int | None:
        """Make the list of the faces that may be seen; return how many, or None for all."""
        model, data, geom = self._model, self._data, key[-1]
        mesh = int(model.geom_dataid[geom])
        first, count = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
        vertices = model.mesh_vert[first : first + count].astype(float)
        world = data.geom_xpos[geom] + vertices @ data.geom_xmat[geom].reshape(3, 3).T
        start, faces = model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
        covers = sight.may_cover(world[model.mesh_face[start : start + faces]], self._samples)
        kept = np.flatnonzero(covers)
        if len(kept) > _WORTH * faces:
            return None
        if len(kept):
            gl = opengl()
            if key in self._lists:  # where a mesh has no hull, the second of the pair is not made
                gl.glDeleteLists(self._lists[key], 1)
            self._lists[key] = gl.glGenLists(2)
            with _only(model, mesh, kept), self._into(self._lists[key], mesh):
                mujoco.mjr_uploadMesh(model, self._context, mesh)
        return len(kept)

    @contextmanager
    def _into(self, number: int, mesh: int) -> Iterator[None]:
        """Have MuJoCo upload a mesh into a list of ours: it counts from `baseMesh`, two a mesh."""
        context, own = self._context, self._context.baseMesh
        context.baseMesh = (number - 2 * mesh) % 2**32
        try:
            yield
        finally:
            context.baseMesh = own


@contextmanager
def _only(model: mujoco.MjModel, mesh: int, faces: np.ndarray) -> Iterator[None]:
    """Let a mesh have but these of its faces for a while."""
    start, count = int(model.mesh_faceadr[mesh]), int(model.mesh_facenum[mesh])
    tables: Sequence[np.ndarray] = (
        model.mesh_face,
        model.mesh_facenormal,
        model.mesh_facetexcoord,
    )
    own = [table[start : start + count].copy() for table in tables]
    try:
        for table, rows in zip(tables, own, strict=True):
            table[start : start + len(faces)] = rows[faces]
        model.mesh_facenum[mesh] = len(faces)
        yield
    finally:
        model.mesh_facenum[mesh] = count
        for table, rows in zip(tables, own, strict=True):
            table[start : start + count] = rows


def _sample_positions(context: mujoco.MjrContext) -> np.ndarray:
    """Where OpenGL samples a pixel, from its lower left corner, (S, 2), each less than 1.

    The centre, then the samples of antialiasing, which OpenGL before 3.2 does not tell.
    """
    gl, positions = opengl(), [_CENTRE]
    mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, context)
    for number in range(context.offSamples if gl.glGetMultisamplefv else 0):
        positions.append(tuple(gl.glGetMultisamplefv(gl.GL_SAMPLE_POSITION, number)))
    return np.array(positions, float)


def drawn_by_processor() -> bool:
    """Tell whether pictures are drawn in software, which is where culling saves time.

    Raises:
        RenderError: no OpenGL renders here.
    """
    return any(name in find_backend().driver.lower() for name in _SOFTWARE)
