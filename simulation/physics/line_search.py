"""Line search of the contact solver, in the order of libmujoco 3.3.2's (engine_solver.c)."""

from __future__ import annotations

import numpy as np

from simulation.physics.factor import MINIMUM, compiled, dot, inlined
from simulation.physics.problem import (
    COEFFICIENTS,
    CONE,
    EQUALITY,
    FRICTION,
    QUAD,
    STIFFNESS,
    multiply_jacobian,
    multiply_mass,
    stiffnesses,
)


@inlined
def _coefficients(problem, count):  # type: ignore[no-untyped-def]
    """Write each constraint's cost along the search direction as a polynomial."""
    stiffness = stiffnesses(problem)
    quadratics, jar, jv = problem.quadratics, problem.jar, problem.jv
    row = 0
    while row < count:
        at = row * QUAD
        weighted = stiffness[row] * jar[row]
        q0, q1, q2 = jar[row] * weighted, jv[row] * weighted, jv[row] * stiffness[row] * jv[row]
        dim = problem.dim[row]
        if problem.kind[row] == CONE:
            own = row * COEFFICIENTS
            mu = problem.coefficients[own]
            uu = uv = vv = 0.0
            for j in range(1, dim):
                r, d, friction = jar[row + j], jv[row + j], problem.coefficients[own + j]
                weighted = stiffness[row + j] * r
                q0 += r * weighted
                q1 += d * weighted
                q2 += d * stiffness[row + j] * d
                u, v = r * friction, d * friction
                uu += u * u
                uv += u * v
                vv += v * v
            quadratics[at + 3] = jar[row] * mu
            quadratics[at + 4] = jv[row] * mu
            quadratics[at + 5], quadratics[at + 6], quadratics[at + 7] = uu, uv, vv
        quadratics[at], quadratics[at + 1], quadratics[at + 2] = q0 * 0.5, q1, q2 * 0.5
        row += dim


@compiled
def _line_point(problem, count, alpha):  # type: ignore[no-untyped-def]
    """Return (alpha, cost, slope, curvature) at a point of the line search."""
    quadratics, coefficients = problem.quadratics, problem.coefficients
    jar, jv = problem.jar, problem.jv
    cost = slope = curvature = 0.0
    q0, q1, q2 = problem.gauss[0], problem.gauss[1], problem.gauss[2]
    row = 0
    while row < count:
        kind, at, own = problem.kind[row], row * QUAD, row * COEFFICIENTS
        quadratic = False
        if kind == CONE:
            mu = coefficients[own]
            v0, uv, vv = quadratics[at + 4], quadratics[at + 6], quadratics[at + 7]
            n = quadratics[at + 3] + alpha * v0
            square = quadratics[at + 5] + alpha * (2.0 * uv + alpha * vv)
            if square <= 0.0:
                quadratic = n < 0.0
            else:
                t = np.sqrt(square)
                if n >= mu * t:
                    pass
                elif mu * n + t <= 0.0:
                    quadratic = True
                else:
                    middle = coefficients[own + STIFFNESS]
                    t1 = (uv + alpha * vv) / t
                    t2 = vv / t - (uv + alpha * vv) * t1 / (t * t)
                    excess, change = n - mu * t, v0 - mu * t1
                    cost += 0.5 * middle * excess * excess
                    slope += middle * excess * change
                    curvature += middle * (change * change + excess * (-mu * t2))
            if quadratic:
                q0, q1, q2 = q0 + quadratics[at], q1 + quadratics[at + 1], q2 + quadratics[at + 2]
            row += problem.dim[row]
            continue
        x = jar[row] + alpha * jv[row]
        if kind == FRICTION:
            bound, loss = coefficients[own], coefficients[own + 2]
            if -bound < x and x < bound:
                quadratic = True
            elif x <= -bound:
                q0 += loss * (-0.5 * bound - jar[row])
                q1 += -loss * jv[row]
            else:
                q0 += loss * (-0.5 * bound + jar[row])
                q1 += loss * jv[row]
        else:
            quadratic = kind == EQUALITY or x < 0.0
        if quadratic:
            q0, q1, q2 = q0 + quadratics[at], q1 + quadratics[at + 1], q2 + quadratics[at + 2]
        row += 1
    cost += alpha * alpha * q2 + alpha * q1 + q0
    slope += 2.0 * alpha * q2 + q1
    curvature += 2.0 * q2
    if curvature <= 0.0:
        curvature = MINIMUM
    return alpha, cost, slope, curvature


@inlined
def line_search(problem, count):  # type: ignore[no-untyped-def]
    """Return the step along the search direction."""
    nv, search = problem.nv, problem.search
    length = np.sqrt(dot(search, search, nv))
    if length < MINIMUM:
        return 0.0
    tolerance = problem.tolerance * problem.line_tolerance * length / problem.scale
    multiply_mass(problem, search, problem.moved)
    multiply_jacobian(problem, count, search, problem.jv)
    problem.gauss[1] = dot(search, problem.momentum, nv) - dot(problem.qfrc_smooth, search, nv)
    problem.gauss[2] = 0.5 * dot(search, problem.moved, nv)
    _coefficients(problem, count)
    origin = _line_point(problem, count, 0.0)
    point = _line_point(problem, count, 0.0 - origin[2] / origin[3])
    if origin[1] < point[1]:
        point = origin
    if abs(point[2]) < tolerance:
        return point[0]
    return _long_search(problem, count, tolerance, origin, point)


@inlined
def _next_point(problem, count, point):  # type: ignore[no-untyped-def]
    """Return the point that Newton's method finds from another."""
    return _line_point(problem, count, point[0] - point[2] / point[3])


@compiled
def _long_search(problem, count, tolerance, origin, point):  # type: ignore[no-untyped-def]
    """Return the step where the first Newton step along the line does not suffice."""
    limit, used = problem.line_iterations, 2
    direction = 1.0 if point[2] < 0.0 else -1.0
    left, right, bracketed = point, point, False
    while left[2] * direction <= -tolerance and used < limit:
        right, bracketed = left, True
        left = _next_point(problem, count, left)
        used += 1
        if abs(left[2]) < tolerance:
            return left[0]
    if used >= limit or not bracketed:
        return left[0]
    next_right = left
    next_left = _next_point(problem, count, left)
    used += 1
    while used < limit:
        middle = _line_point(problem, count, 0.5 * (left[0] + right[0]))
        used += 1
        best, found = middle, False
        for candidate in (next_left, next_right, middle):
            if abs(candidate[2]) < tolerance and (not found or candidate[1] < best[1]):
                best, found = candidate, True
        if found:
            return best[0]
        candidates = (next_left, next_right, middle)
        left, narrower_left = _narrow(left, candidates)
        if narrower_left:
            next_left = _next_point(problem, count, left)
            used += 1
        right, narrower_right = _narrow(right, candidates)
        if narrower_right:
            next_right = _next_point(problem, count, right)
            used += 1
        if not narrower_left and not narrower_right:
            return middle[0]
    if left[1] <= right[1] and left[1] < origin[1]:
        return left[0]
    if right[1] <= left[1] and right[1] < origin[1]:
        return right[0]
    return 0.0


@inlined
def _narrow(point, candidates):  # type: ignore[no-untyped-def]
    """Return the candidate nearest to the minimum on the same side, and whether there is one."""
    changed = False
    for candidate in candidates:
        slope = candidate[2]
        if (point[2] < 0.0 and slope < 0.0 and point[2] < slope) or (
            point[2] > 0.0 and slope > 0.0 and point[2] > slope
        ):
            point, changed = candidate, True
    return point, changed
