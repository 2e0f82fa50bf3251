"""Statistics: factors that explain errors, how sure they are, and which sets of parts explain them as well.

Times are linear in factors as long as the schedule stays: ``real = as they are + slopes @ change``, where a change is a
factor less 1, slopes are from runs, and "as they are" is what the line through those says of factors of 1. Errors are
relative to a metric's mean and to how far off that metric was at first, so that both count alike; large ones count less
(Huber), since a request that was scheduled a step later is off by a whole step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from .observations import BLOCKS, Floats, Ints

HUBER = 1.345  # 95 % as efficient as least squares where errors are normal
T_95 = 2.262  # Student's t, 95 %, BLOCKS - 1 = 9 degrees of freedom
ROUNDS = 30
SINGULAR = 1e-6  # of the largest singular value: what is below it is not in the data
REPEATABLE = 5e-4  # of a metric's mean: no server repeats itself better, so no log tells such differences
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Problem:
    """All rows of a log, scaled. ``change`` is sought: factors less 1.

    Attributes:
        error: real less simulated with factors of 1.
        slopes: a column a part.
        block: of each row.
        floor: least difference of mean losses that means anything.
    """

    error: Floats
    slopes: Floats
    block: Ints
    floor: float

    @property
    def every(self) -> Bools:
        """All rows."""
        return np.ones(len(self.error), dtype=bool)

    def loss(self, change: Floats, columns: Sequence[int]) -> Floats:
        """Of each row the absolute error that is left."""
        left: Floats = np.abs(self.error - self.slopes[:, list(columns)] @ change)
        return left

    def fit(self, rows: Bools, columns: Sequence[int]) -> Floats:
        """The change of these parts that explains these rows best, by Huber's loss."""
        a, y = self.slopes[rows][:, list(columns)], self.error[rows]
        if not len(columns):
            return np.zeros(0)
        weights = np.ones(len(y))
        change: Floats = np.zeros(len(columns))
        for _ in range(ROUNDS):
            root = np.sqrt(weights)
            found = np.linalg.lstsq(a * root[:, None], y * root, rcond=SINGULAR)[0]
            change = np.asarray(found, dtype=np.float64)
            left = np.abs(y - a @ change)
            spread = 1.4826 * float(np.median(left))
            if spread <= 1e-12:
                break
            weights = np.minimum(1, HUBER * spread / np.maximum(left, 1e-12))
        return change

    def halves(self) -> tuple[Bools, Bools]:
        first = self.block < BLOCKS // 2
        return first, ~first

    def held_out(self, columns: Sequence[int]) -> Floats:
        """Of each block the mean loss of its rows, by factors that were found on the other half of the log."""
        loss = np.zeros(len(self.error))
        first, second = self.halves()
        for here, there in ((first, second), (second, first)):
            loss[there] = self.loss(self.fit(here, columns), columns)[there]
        return self.by_block(loss)

    def by_block(self, loss: Floats) -> Floats:
        return np.array([loss[self.block == number].mean() for number in range(BLOCKS)])

    def interval(self, columns: Sequence[int]) -> Floats:
        """Half the width of each change's 95 % interval: delete-one-block jackknife."""
        each = np.array([self.fit(self.block != number, columns) for number in range(BLOCKS)])
        width: Floats = T_95 * np.sqrt((BLOCKS - 1) / BLOCKS * ((each - each.mean(axis=0)) ** 2).sum(axis=0))
        return width

    def condition(self) -> float:
        """How nearly parts do the same: the condition number of the slopes, each part's scaled to length 1."""
        values = np.linalg.svd(self.slopes / np.linalg.norm(self.slopes, axis=0), compute_uv=False)
        return float(values[0] / values[-1]) if values[-1] > 0 else float("inf")


@dataclass(frozen=True, slots=True)
class Explanation:
    """A set of parts whose factors may be why; ``blocks`` are its held-out losses."""

    columns: tuple[int, ...]
    blocks: Floats

    @property
    def loss(self) -> float:
        return float(self.blocks.mean())


def explanations(problem: Problem, most: int) -> list[Explanation]:
    """Every set of at most ``most`` parts, the empty one first."""
    every = range(problem.slopes.shape[1])
    sets: Iterator[tuple[int, ...]] = (c for size in range(most + 1) for c in combinations(every, size))
    return [Explanation(columns, problem.held_out(columns)) for columns in sets]


def worse(one: Explanation, other: Explanation, floor: float) -> bool:
    """Whether one explains held-out blocks worse than the other, by more than chance and than anything repeats."""
    differences = one.blocks - other.blocks
    error = float(differences.std(ddof=1)) / np.sqrt(BLOCKS)
    return bool(differences.mean() > max(T_95 * error, floor))


def choose(found: Sequence[Explanation], floor: float) -> Explanation:
    """Of the fewest parts that nothing is worse than: among these the best."""
    best = min(found, key=lambda one: (one.loss, len(one.columns)))
    able = [one for one in found if not worse(one, best, floor)]
    fewest = min(len(one.columns) for one in able)
    return min((one for one in able if len(one.columns) == fewest), key=lambda one: one.loss)


def rivals(chosen: Explanation, found: Sequence[Explanation], floor: float) -> list[Explanation]:
    """Sets of other parts, at most one more of them, that explain as well: the log cannot tell them from the chosen."""
    own = set(chosen.columns)
    return [
        one
        for one in found
        if not own <= set(one.columns) and len(one.columns) <= len(own) + 1 and not worse(one, chosen, floor)
    ]
