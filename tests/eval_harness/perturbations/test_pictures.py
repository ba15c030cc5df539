"""Axes that change pictures alone: cameras, lights, surfaces and noise."""

from __future__ import annotations

from collections.abc import Iterator

import mujoco
import numpy as np
import pytest

from eval_harness.perturbations.background import PATTERNS, Background, Covering, surfaces
from eval_harness.perturbations.base import PerturbationError
from eval_harness.perturbations.camera import Camera, CameraMove, check_free, looked_at
from eval_harness.perturbations.light import Light
from eval_harness.perturbations.noise import KINDS, Noise
from simulation.assets.resolve import embedded_pack
from simulation.environment import Environment
from simulation.pictures.look import Look
from simulation.pictures.rendering import Renderer
from simulation.tasks import get_task

TASK = get_task("libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")
SIZE = 64
OWN = Look()


class Studio:
    """An environment and its renderer."""

    def __init__(self) -> None:
        self.env = Environment(TASK, embedded_pack())
        self.env.reset(0, 0)
        self.renderer = Renderer(TASK, embedded_pack(), SIZE, SIZE)
        self.model = self.renderer.scene.visual_model

    def picture(self, look: Look = OWN) -> np.ndarray:
        self.renderer.wear(look)
        state, fixtures = self.env.state(), self.env.fixtures()
        return self.renderer.render(state, fixtures, "agentview", SIZE, SIZE).astype(int)


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    made = Studio()
    yield made
    made.renderer.close()


@pytest.mark.parametrize("kind", [Camera, Light, Background])
def test_look_grows_with_the_level_and_is_taken_off(studio: Studio, kind: type[Camera]) -> None:
    own = studio.picture()
    assert own.std() > 5
    differences = []
    for level in (1, 5):
        changes = []
        for seed in range(4):
            look = kind(level).look(studio.model, TASK, seed)
            seen = studio.picture(look)
            changes.append(np.abs(seen - own).mean())
            studio.picture(kind(level).look(studio.model, TASK, seed + 100))
            assert np.array_equal(studio.picture(kind(level).look(studio.model, TASK, seed)), seen)
        differences.append(np.mean(changes))
    assert 0.2 < differences[0] < differences[1]
    assert np.array_equal(studio.picture(kind(0).look(studio.model, TASK, 3)), own)


def test_looks_add_up(studio: Studio) -> None:
    parts = [kind(4).look(studio.model, TASK, 7) for kind in (Camera, Light, Background)]
    together = studio.picture(parts[0] + parts[1] + parts[2])
    assert all(not np.array_equal(together, studio.picture(part)) for part in parts)
    studio.picture()
    assert np.array_equal(studio.picture(parts[0] + parts[1] + parts[2]), together)


def test_textures_of_episodes_that_take_turns_are_uploaded_once(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = [Background(5).look(studio.model, TASK, seed) for seed in range(3)]
    textures = sum(len(look.textures) for look in looks)
    state, fixtures = studio.env.state(), studio.env.fixtures()
    uploaded: list[int] = []
    upload = mujoco.mjr_uploadTexture

    def count(model: mujoco.MjModel, context: mujoco.MjrContext, index: int) -> None:
        uploaded.append(index)
        upload(model, context, index)

    monkeypatch.setattr(mujoco, "mjr_uploadTexture", count)

    def draw_by_turns() -> list[bytes]:
        drawn = []
        with Renderer(TASK, embedded_pack(), SIZE, SIZE) as renderer:
            for look in (OWN, *looks, *looks, OWN):
                renderer.wear(look)
                picture = renderer.render(state, fixtures, "agentview", SIZE, SIZE)
                drawn.append(picture.tobytes())
        return drawn

    own, *first = draw_by_turns()
    assert first == [*first[:3], *first[:3], own] and len({own, *first}) == 4
    assert len(uploaded) == textures
    monkeypatch.setattr("simulation.pictures.look._MOST_KEPT", len(looks[0].textures))
    assert draw_by_turns() == [own, *first]
    assert len(uploaded) == 3 * textures


def test_camera_keeps_looking_at_the_same_point(studio: Studio) -> None:
    for move in (CameraMove(25, 10, 1.2, 0), CameraMove(-40, -15, 0.8, 0)):
        look = move.look(studio.model)
        numbers = {n.field: np.asarray(n.value) for n in look.numbers}
        studio.renderer.wear(look)
        camera = studio.model.camera("agentview").id
        target = looked_at(studio.model)
        before = np.linalg.norm(studio.model.cam_pos[camera] - target)
        assert np.linalg.norm(numbers["cam_pos"] - target) == pytest.approx(before * move.distance)
        assert looked_at(studio.renderer.model) == pytest.approx(target, abs=1e-6)


@pytest.mark.parametrize(
    ("move", "reason"),
    [
        (CameraMove(elevation=-80), "under the table"),
        (CameraMove(distance=9.0), "outside the room"),
    ],
)
def test_camera_that_clashes_is_refused(studio: Studio, move: CameraMove, reason: str) -> None:
    with pytest.raises(PerturbationError, match=reason):
        move.look(studio.model)


def test_camera_inside_furniture_is_refused(studio: Studio) -> None:
    kitchen = np.array([-1.7868, 0.0, 2.06])
    with pytest.raises(PerturbationError, match="inside"):
        check_free(studio.model, kitchen)
    check_free(studio.model, np.add(kitchen, (1.0, 0.0, 0.0)))


def test_every_drawn_camera_stands_free(studio: Studio) -> None:
    moves = [Camera(level).draw(TASK, seed) for level in (1, 3, 5) for seed in range(100)]
    for move in moves:
        move.look(studio.model)
    turns = np.abs([move.azimuth for move in moves]).reshape(3, -1).max(axis=1)
    assert np.all(turns <= [8, 24, 40]) and turns[2] > 24


def test_surfaces_are_found_and_covered(studio: Studio) -> None:
    found = list(surfaces(studio.model))
    assert {surface for surface, _ in found} == {"table", "wall", "floor"}
    for pattern in PATTERNS:
        paint = Covering(1.0, pattern, (1.0, 0.2, 0.1), (0.0, 0.0, 0.5), 3).paint(32, 32)
        assert paint.shape == (32, 32, 3) and paint.min() >= 0 and paint.max() <= 1
        assert (paint.std(axis=(0, 1)).max() > 0.05) == (pattern != "plain")


@pytest.mark.parametrize("kind", KINDS)
def test_noise_grows_with_the_amount(kind: str) -> None:
    picture = np.random.default_rng(0).integers(40, 216, (8, 8, 3), np.uint8)
    picture = np.kron(picture, np.ones((16, 16, 1), np.uint8))
    noise, before = Noise(5), picture.copy()
    little, much = (noise.spoil(picture, kind, amount, 11, 4) for amount in (0.2, 1.0))
    assert np.array_equal(picture, before)
    assert little.dtype == much.dtype == np.uint8 and little.shape == much.shape == picture.shape
    change = [np.abs(seen.astype(int) - picture).mean() for seen in (little, much)]
    assert 0.2 < change[0] < change[1]
    assert np.array_equal(noise.spoil(picture, kind, 1.0, 11, 4), much)
    later = noise.spoil(picture, kind, 1.0, 11, 5)
    assert np.array_equal(later, much) == (kind != "sensor")


def test_noise_depends_on_level_camera_and_seed_alone() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    assert Noise(0).picture(picture, TASK, 1, 0, "agentview") is picture
    seen = Noise(4).picture(picture, TASK, 1, 0, "agentview")
    assert np.array_equal(Noise(4).picture(picture, TASK, 1, 0, "agentview"), seen)
    kinds = {Noise(3).draw(TASK, seed)[0] for seed in range(60)}
    assert kinds == set(KINDS)
