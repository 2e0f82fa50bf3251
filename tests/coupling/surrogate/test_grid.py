"""Interpolation keeps what it promises for functions that can keep it, and asks where they cannot."""

from __future__ import annotations

from math import ceil, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st
from metronome.hwmodels.interface import Provenance
from metronome.orchestrator.coupling.surrogate.grid import Answer, Grid, root

TOLERANCE = 0.01


def grid_of(function, tolerance=TOLERANCE):
    known, asked = {}, []

    def ask(points):
        for point in points:
            if point not in known:
                asked.append(point)
                known[point] = Answer(round(function(*point)), None, Provenance.MODELLED)

    return Grid(ask, known, tolerance), asked


SMOOTH = {
    "affine": lambda m: 10**6 + 321 * m,
    "kinked": lambda m: 10**6 * max(40, m),
    "bent": lambda m: 1000 * m * log2(m + 2),
    "square": lambda m: 10**5 + m * m * 100,
}


@pytest.mark.parametrize("name", SMOOTH)
@given(point=st.integers(1, 10**6))
def test_answers_are_within_the_tolerance_of_the_truth(name, point):
    function = SMOOTH[name]
    grid, _ = grid_of(function)
    answer = grid.at((point,))
    if answer is not None:
        assert abs(answer.duration_ps - function(point)) <= 2 * TOLERANCE * function(point) + 1


def test_a_straight_line_takes_few_questions():
    grid, asked = grid_of(SMOOTH["affine"])
    for m in range(1, 4097):
        grid.at((m,))
    assert len(asked) < 60
    assert grid.worst.error < TOLERANCE


@given(points=st.lists(st.tuples(st.integers(1, 300), st.integers(1, 5000)), min_size=2, max_size=12))
def test_answers_do_not_depend_on_the_order_of_questions(points):
    def function(n, context):
        return 10**6 + n * (1000 * context + 5 * (context % 97)) + 7 * n * n

    forwards, _ = grid_of(function)
    backwards, _ = grid_of(function)
    first = {point: forwards.at(point) for point in points}
    assert {point: backwards.at(point) for point in reversed(points)} == first


def test_steps_are_asked_for_not_smoothed():
    """Finding every step would take more questions than there are answers: the number of halvings is bounded."""

    def folds(context):
        return 10**6 * ceil(context / 128)

    grid, asked = grid_of(folds)
    wrong = [c for c in range(1, 2049) if (a := grid.at((c,))) and abs(a.duration_ps - folds(c)) > TOLERANCE * folds(c)]
    assert len(wrong) <= 0.02 * 2048
    assert len(asked) < 1000
    assert grid.at((130,)) is None or grid.at((130,)).duration_ps == folds(130)


@given(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)))
def test_the_root_holds_its_point(point):
    box = root(point)
    assert all(low <= value <= high for low, value, high in zip(box.low, point, box.high, strict=True))


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 9))
def test_checks_lie_within_and_not_on_corners(a, b, number):
    box = root((a, b))
    inside = box.inside(number)
    assert all(low <= at <= high for low, at, high in zip(box.low, inside, box.high, strict=True))
    if any(box.divisible(axis) for axis in (0, 1)):
        assert inside not in box.corners


def test_the_worst_error_is_of_cells_that_are_used():
    grid, _ = grid_of(lambda m: 10**9 + (10**8 if m > 700 else 0))
    assert grid.at((600,)) is not None
    assert grid.worst.error <= TOLERANCE


def test_provenance_is_never_better_than_interpolated():
    known = {}

    def ask(points):
        known.update({point: Answer(1000 * point[0] + 10**6, 5, Provenance.MEASURED) for point in points})

    grid = Grid(ask, known, TOLERANCE)
    assert grid.at((100,)) == Answer(1_100_000, 5, Provenance.INTERPOLATED)
    assert grid.at((128,)) == Answer(1_128_000, 5, Provenance.MEASURED)
