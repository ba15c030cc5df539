"""What a camera may see."""

from __future__ import annotations

import numpy as np

from simulation.pictures.sight import Sight

CENTRES = np.array([[0.5, 0.5]])


def looking_ahead(size: int = 10) -> Sight:
    """From the origin along -z, a picture as wide as it is far away."""
    return Sight(np.zeros((1, 3)), np.eye(3)[None], np.array([0.5, 0.5]), np.array([size, size]))


def test_what_may_be_in_the_picture():
    ahead, left, behind = [0, 0, -1.0], [-2, 0, -1.0], [0, 0, 1.0]
    hulls = np.array(
        [[ahead, left], [left, left], [behind, behind], [behind, left], [left, [2, 0, -1]]]
    )
    # from behind to the left: not in the picture, but no one side has both corners beyond it
    assert looking_ahead().may_show(hulls).tolist() == [True, False, False, True, True]


def test_a_mirror_shows_what_the_camera_does_not():
    direct = looking_ahead()
    flip = np.diag([1.0, 1.0, -1.0])
    both = Sight(
        np.array([[0, 0, 0], [0, 0, -4.0]]),
        np.stack([np.eye(3), flip]),
        direct.slopes,
        direct.size,
    )
    behind = np.array([[[0, 0, 1.0]]])
    assert not direct.may_show(behind)[0] and both.may_show(behind)[0]


def test_triangles_between_the_samples_are_left_out():
    corners = np.array([[0, 0], [1, 0], [0, 1]])

    def triangle(x: float, y: float, pixels: float) -> np.ndarray:
        """At distance 1, its lower left corner at a place of the picture of 10 pixels."""
        place = (np.array([x, y]) + pixels * corners) / 10 - 0.5
        return np.column_stack([place, np.full(3, -1.0)])

    triangles = np.stack(
        [
            triangle(3.1, 3.1, 0.3),  # left of and below the centre of a pixel
            triangle(3.4, 3.4, 0.3),  # around it
            triangle(3.51, 3.6, 0.3),  # beside it, nearer than OpenGL's numbers tell apart
            triangle(3.1, 3.1, 1.5),  # over several
            triangle(30, 3, 5),  # beside the picture
        ]
    )
    assert looking_ahead().may_cover(triangles, CENTRES).tolist() == [
        False,
        True,
        False,
        True,
        False,
    ]
    assert looking_ahead().may_cover(triangles, np.array([[0.25, 0.25], [0.5, 0.5]]))[0]


def test_triangles_that_reach_the_eye_are_kept():
    through = np.array([[[-0.1, 0, -1.0], [0.1, 0, -1.0], [0, 0.1, 1.0]]])
    assert looking_ahead().may_cover(through, CENTRES)[0]
