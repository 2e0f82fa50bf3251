"""The search: slopes by runs, sets of parts by their held-out halves, again at what was found, until that stays.

Where slopes are taken, and which parts are tried, both halves say; factors that are tried on a half are the other's.

What is proposed must (1) be of the fewest parts that no other set beats on the half it was not found on, (2) have no
rival of other parts that does as well, (3) have an interval without 1, and (4) lower the errors of both held-out halves
in runs with the factors of the other half.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import InputError
from ..scenario.calibration import PARTS
from . import fit
from .finding import Finding, Half, Verdict, interval
from .fit import Explanation, Problem
from .log import Log
from .observations import BLOCKS, Floats
from .simulator import Simulator

MOST_PARTS = 4  # of an explanation
MOST_ROUNDS = 4
NEAR = 0.02  # a factor that changes by less has been found
LEAST, MOST = 0.1, 10.0  # factors beyond are no calibration: the scenario is of something else
UNABLE = "calibration.factors."


class Search:
    """One calibration; ``run`` gives what it found. ``load`` says in words what is simulated.

    Making it runs the scenario once. Raises what a run raises, and InputError for a log that is not of this scenario.
    """

    def __init__(self, log: Log, simulate: Simulator, load: str) -> None:
        self.log, self.simulate, self.load = log, simulate, load
        self.parts: list[str] = []
        self.without: dict[str, str] = {}  # part -> why it is left out
        base, seen = simulate({}), log.observations
        if len(base) != len(seen.real):
            why = f"the simulation has {len(base)} rows for the log's {len(seen.real)}"
            raise InputError(str(log.path), "requests", None, why)
        self._sound = ~(np.isnan(seen.real) | np.isnan(base))
        self._first = self._errors(base, self._sound)
        at_first = np.array([max(self._first[metric.name], 1e-3) for metric in seen.metrics])
        self._scale = seen.mean * at_first[seen.metric]
        self._floor = float(np.mean(fit.REPEATABLE / at_first))

    def run(self) -> Finding:
        """Raises what a run raises."""
        if all(error < fit.REPEATABLE for error in self._first.values()):
            return self._nothing("as measured: less off than any server repeats itself")
        self._slopes = self._felt()
        if not self.parts:
            return self._nothing("no effect on this log")
        return self._judged(*self._rounds())

    def _felt(self) -> Floats:
        """Slopes of the parts that this log feels, at factors of 1; says why others are left out."""
        columns = []
        for part in PARTS:
            try:
                slope = self.simulate.slope(part, {}, both=False)
            except InputError as error:
                if not error.field.startswith(UNABLE):
                    raise
                self.without[part] = error.allowed
                continue
            felt = np.abs(slope / self.log.observations.mean)[self._sound]
            if not felt.any():
                self.without[part] = "not in this run"
            elif felt.mean() < fit.REPEATABLE:
                self.without[part] = "too little of this run to be told from chance"
            else:
                self.parts.append(part)
                columns.append(slope)
        return np.stack(columns, axis=1) if columns else np.empty((len(self._sound), 0))

    def _problem(self, factors: Sequence[float]) -> Problem:
        """About these factors, by the slopes there are: a line through them says how it would be at 1."""
        now = self.simulate(dict(zip(self.parts, factors, strict=True)))
        error = self.log.observations.real - now + self._slopes @ (np.array(factors) - 1)
        scale = self._scale[self._sound]
        block = self.log.observations.block[self._sound]
        return Problem(error[self._sound] / scale, self._slopes[self._sound] / scale[:, None], block, self._floor)

    def _rounds(self) -> tuple[Problem, Explanation, list[Explanation]]:
        """New slopes where the parts are others than in the round before, else the same about new factors."""
        factors = [1.0] * len(self.parts)
        before: tuple[int, ...] | None = None
        for number in range(MOST_ROUNDS):
            problem = self._problem(factors)
            found = [one for one in fit.explanations(problem, MOST_PARTS) if self._able(problem, one)]
            chosen = fit.choose(found, self._floor)
            new = self._all(chosen.columns, problem.fit(problem.every, chosen.columns))
            moved = max(abs(a - b) for a, b in zip(new, factors, strict=True))
            factors = new
            if chosen.columns == before and moved <= NEAR:
                break
            if chosen.columns != before and number + 1 < MOST_ROUNDS:
                at = dict(zip(self.parts, factors, strict=True))
                self._slopes = np.stack([self.simulate.slope(part, at) for part in self.parts], axis=1)
            before = chosen.columns
        return problem, chosen, found

    def _all(self, columns: Sequence[int], changes: Floats) -> list[float]:
        """The factors of all parts, of the changes of some."""
        factors = np.ones(len(self.parts))
        factors[list(columns)] += changes
        return [round(float(factor), 6) for factor in factors]

    def _able(self, problem: Problem, one: Explanation) -> bool:
        """Whether its factors could be: times neither vanish nor grow beyond what a calibration is for."""
        factors = 1 + problem.fit(problem.every, one.columns)
        return bool(((factors >= LEAST) & (factors <= MOST)).all())

    def _again(self, problem: Problem, rows: fit.Bools, columns: Sequence[int]) -> tuple[Problem, list[float]]:
        """Factors of these parts by these rows, found about themselves: a run says how far the line was off."""
        about = self._problem(self._all(columns, problem.fit(rows, columns)))
        return about, self._all(columns, about.fit(rows, columns))

    def _judged(self, problem: Problem, chosen: Explanation, found: list[Explanation]) -> Finding:
        other = fit.rivals(chosen, found, self._floor)
        unsure = {column for column in chosen.columns if any(column not in one.columns for one in other)}
        why = {self.parts[column]: "the log cannot tell it from others: see below" for column in unsure}
        kept, halves = self._supported(problem, [c for c in chosen.columns if c not in unsure], why)
        about, factors = self._again(problem, problem.every, kept) if kept else (problem, [])
        widths = dict(zip(kept, about.interval(kept), strict=True)) if kept else {}
        verdicts = []
        for number, part in enumerate(self.parts):
            if number in kept:
                factor = round(factors[number], 4)
                both = interval(factor, float(widths[number]))
                verdicts.append(Verdict(part, factor, both, "both halves support it"))
            else:
                verdicts.append(Verdict(part, None, None, why.get(part, "nothing to gain by it")))
        verdicts += [Verdict(part, None, None, reason) for part, reason in self.without.items()]
        told = tuple(self._factors(problem, one) for one in (chosen, *other)) if unsure else ()
        return self._finding(verdicts, halves, told, problem.condition())

    def _supported(
        self, problem: Problem, columns: Sequence[int], why: dict[str, str]
    ) -> tuple[tuple[int, ...], tuple[Half, ...]]:
        """Those of the parts without which both held-out halves are worse, by runs; and the errors with them.

        Says ``why`` of the others. The one that seems to matter least is tried first.
        """
        kept = tuple(columns)
        halves, losses = self._held_out(problem, kept)
        while kept:
            widths = problem.interval(kept)
            changes = problem.fit(problem.every, kept)
            weakest = min(kept, key=lambda c: problem.held_out([k for k in kept if k != c]).mean())
            left = tuple(column for column in kept if column != weakest)
            less, without = self._held_out(problem, left)
            place = kept.index(weakest)
            if abs(changes[place]) <= widths[place]:
                why[self.parts[weakest]] = "its interval contains 1"
            elif not all(now < then - self._floor for now, then in zip(losses, without, strict=True)):
                why[self.parts[weakest]] = "a half it was not found on does not support it"
            else:
                break
            kept, halves, losses = left, less, without
        return kept, halves

    def _factors(self, problem: Problem, one: Explanation) -> dict[str, float]:
        changes = problem.fit(problem.every, one.columns)
        return {self.parts[c]: round(1 + float(x), 4) for c, x in zip(one.columns, changes, strict=True)}

    def _held_out(self, problem: Problem, columns: Sequence[int]) -> tuple[tuple[Half, ...], list[float]]:
        """Errors and loss of each half by a run with the factors of these parts that were found on the other."""
        base, halves, losses = self.simulate({}), [], []
        sides = zip(("first half", "second half"), problem.halves(), reversed(problem.halves()), strict=True)
        for name, here, there in sides:
            rows = self._sound.copy()
            rows[self._sound] = here
            before = after = self._errors(base, rows)
            if columns:
                factors = self._again(problem, there, columns)[1]
                after = self._errors(self.simulate(dict(zip(self.parts, factors, strict=True))), rows)
            halves.append(Half(name, before, after if columns else None))
            losses.append(float(np.mean([error / max(self._first[name], 1e-3) for name, error in after.items()])))
        return tuple(halves), losses

    def _errors(self, simulated: Floats, rows: fit.Bools) -> dict[str, float]:
        """Mean absolute error by metric, relative to the metric's mean over the log."""
        seen = self.log.observations
        relative = np.abs(simulated - seen.real) / seen.mean
        return {m.name: float(np.nanmean(relative[rows & (seen.metric == i)])) for i, m in enumerate(seen.metrics)}

    def _nothing(self, why: str) -> Finding:
        base, block = self.simulate({}), self.log.observations.block
        rows = block < BLOCKS // 2
        halves = [
            Half(name, self._errors(base, self._sound & half), None)
            for name, half in (("first half", rows), ("second half", ~rows))
        ]
        verdicts = [Verdict(part, None, None, self.without.get(part, why)) for part in PARTS]
        return self._finding(verdicts, tuple(halves), (), None)

    def _finding(
        self,
        verdicts: Sequence[Verdict],
        halves: tuple[Half, ...],
        rivals: tuple[dict[str, float], ...],
        condition: float | None,
    ) -> Finding:
        count = max(len(metric.real) for metric in self.log.observations.metrics)
        what = "samples" if self.log.outputs is None else "requests"
        source = f"{self.log.path.name}: {self.log.kind}, {count} {what}"
        return Finding(source, self.load, tuple(verdicts), halves, rivals, condition, self.simulate.runs)
