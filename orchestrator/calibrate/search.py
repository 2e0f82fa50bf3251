"""The search: slopes by runs, sets of parts by their held-out halves, again at what was found, until that stays.

Where slopes are taken, and which parts are tried, both halves say; factors that are tried on a half are the other's.

What is proposed must (1) be of the fewest parts that no other set beats on the half it was not found on, (2) have no
rival of other parts that does as well, (3) have an interval without 1, and (4) lower the errors of both held-out halves
in runs with the factors of the other half, and raise that of no metric. Where requests are of one shape nothing is
sought.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..errors import InputError
from ..scenario.calibration import PARTS
from . import fit
from .design import METRICS
from .finding import Finding, Half, Verdict, interval
from .fit import Explanation, Problem
from .log import Log
from .observations import BLOCKS, Floats
from .simulator import Simulator

MOST_PARTS = 4  # of an explanation
MOST_ROUNDS = 4
NEAR = 0.02  # a factor that changes by less has been found
SETTLE = 3  # runs of a set of parts, each about what the one before found
ENOUGH = 0.95  # of the loss before: a run that gains less is the last
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
        self._settled: dict[tuple[int, ...], Explanation] = {}  # sets of parts with losses of runs of their own
        self._known: dict[tuple[int, ...], list[float]] = {}  # and their factors
        self._weigh(base)

    def run(self) -> Finding:
        """Raises what a run raises."""
        if all(error < fit.REPEATABLE for error in self._first.values()):
            return self._nothing("as measured: less off than any server repeats itself")
        if self.simulate.directions <= METRICS:
            alike = (
                f"Its requests are too alike to tell parts apart ({self.simulate.shapes}): what they have in common is "
                "a time to first token and a time of a step, and any part of a step may be why."
            )
            return self._nothing("the log cannot tell it from others: see below", alike)
        self._slopes = self._felt()
        if not self.parts:
            return self._nothing("no effect on this log")
        return self._judged(*self._rounds())

    def _weigh(self, now: Floats) -> None:
        """A metric's errors count by how far off it still is: what no factor explains weighs little.

        Those of a metric that is as measured count as the most wrong one's: chance in it hides nothing else.
        """
        seen, errors = self.log.observations, self._errors(now, self._sound)
        most = max(fit.REPEATABLE, *errors.values())
        self._off = {name: error if error >= fit.REPEATABLE else most for name, error in errors.items()}
        each = np.array([self._off[metric.name] for metric in seen.metrics])
        self._scale = seen.mean * each[seen.metric]
        self._floor = float(np.mean(fit.REPEATABLE / each))

    def _felt(self) -> Floats:
        """Slopes of the parts that this log feels, at factors of 1; says why others are left out."""
        columns = []
        for part in PARTS:
            if part not in self.simulate.parts:
                self.without[part] = "not in this run"
                continue
            try:
                slope = self.simulate.slope(part, {})
            except InputError as error:
                if not error.field.startswith(UNABLE):
                    raise
                self.without[part] = error.allowed
                continue
            felt = np.abs(slope / self.log.observations.mean)[self._sound]
            if felt.mean() < fit.REPEATABLE:
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
            self._weigh(self.simulate(dict(zip(self.parts, factors, strict=True))))
            problem = self._problem(factors)
            found = [
                one
                for one in fit.explanations(problem, min(MOST_PARTS, self.simulate.directions))
                if self._able(problem, one)
            ]
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
        return [round(float(factor), 6) for factor in np.clip(factors, LEAST, MOST)]

    def _able(self, problem: Problem, one: Explanation) -> bool:
        """Whether its factors could be: times neither vanish nor grow beyond what a calibration is for."""
        factors = 1 + problem.fit(problem.every, one.columns)
        return bool(((factors >= LEAST) & (factors <= MOST)).all())

    def _again(self, problem: Problem, rows: fit.Bools, columns: Sequence[int]) -> tuple[Problem, list[float]]:
        """Factors of these parts by these rows, found about themselves: a run says how far the line was off."""
        about = self._problem(self._all(columns, problem.fit(rows, columns)))
        return about, self._all(columns, about.fit(rows, columns))

    def _settle(self, problem: Problem, columns: tuple[int, ...]) -> Explanation:
        """A set of parts with the losses of a run of its own: factors by the line, then about themselves."""
        factors, best = self._all(columns, problem.fit(problem.every, columns)), None
        for _ in range(SETTLE if columns else 1):
            about = self._problem(factors)
            one = Explanation(columns, about.by_block(about.loss(np.array(factors) - 1, range(len(factors)))))
            enough = best is not None and one.loss > ENOUGH * best.loss
            if best is None or one.loss < best.loss:
                best, self._known[columns] = one, factors
            if enough:
                break
            factors = self._all(columns, about.fit(about.every, columns))
        if best is None:
            raise TypeError("there is at least one run")
        return best

    def _field(self, problem: Problem, columns: tuple[int, ...], found: list[Explanation]) -> list[Explanation]:
        """A set of parts and, for each of them, the best set without it, all settled; those seen before, too."""
        sets = {columns}
        for column in columns:
            able = [one for one in found if column not in one.columns and len(one.columns) <= len(columns) + 1]
            sets.add(min(able, key=lambda one: one.loss).columns)
        for one in sorted(sets - self._settled.keys()):
            self._settled[one] = self._settle(problem, one)
        return list(self._settled.values())

    def _contested(self, problem: Problem, columns: tuple[int, ...], found: list[Explanation]) -> tuple[int, ...]:
        """The set of parts that stands when each is tried against those without one of its parts, by runs."""
        for _ in range(MOST_ROUNDS):
            new = fit.choose(self._field(problem, columns, found), self._floor)
            if new.columns == columns:
                break
            columns = new.columns
        return columns

    def _judged(self, problem: Problem, chosen: Explanation, found: list[Explanation]) -> Finding:
        why: dict[str, str] = {}
        kept, halves = self._supported(problem, self._contested(problem, chosen.columns, found), why)
        field = self._field(problem, kept, found)
        rivals = fit.rivals(self._settled[kept], field, self._floor)
        told = tuple(self._told(one) for one in (self._settled[kept], *rivals)) if rivals else ()
        if rivals:
            why |= {self.parts[column]: "the log cannot tell it from others: see below" for column in kept}
            kept, halves = (), self._held_out(problem, ())[0]
        verdicts = [*self._proposed(problem, kept), *(Verdict(p, None, None, reason) for p, reason in why.items())]
        rest = [part for part in self.parts if part not in {verdict.part for verdict in verdicts}]
        idle = "nothing to gain by it" if kept or told else "no factor near 1 of it explains what is off"
        verdicts += [Verdict(part, None, None, idle) for part in rest]
        verdicts += [Verdict(part, None, None, reason) for part, reason in self.without.items()]
        return self._finding(verdicts, halves, told, problem.condition())

    def _proposed(self, problem: Problem, kept: tuple[int, ...]) -> Iterator[Verdict]:
        """Factors by the whole log, of parts that both halves support."""
        if not kept:
            return
        about, factors = self._again(problem, problem.every, kept)
        for column, width in zip(kept, about.interval(kept), strict=True):
            factor = round(factors[column], 4)
            both = interval(factor, float(width))
            yield Verdict(self.parts[column], factor, both, "both halves support it")

    def _told(self, one: Explanation) -> dict[str, float]:
        """Its factors, as they settled."""
        return {self.parts[column]: round(self._known[one.columns][column], 4) for column in one.columns}

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
            elif not LEAST < 1 + changes[place] < MOST:
                why[self.parts[weakest]] = f"it would have to be beyond {LEAST:g} to {MOST:g}"
            elif not all(now < then - self._floor for now, then in zip(losses, without, strict=True)) or any(
                half.worse(fit.REPEATABLE) for half in halves
            ):
                why[self.parts[weakest]] = "a half it was not found on does not support it"
            else:
                break
            kept, halves, losses = left, less, without
        return kept, halves

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
            losses.append(float(np.mean([error / self._off[name] for name, error in after.items()])))
        return tuple(halves), losses

    def _errors(self, simulated: Floats, rows: fit.Bools) -> dict[str, float]:
        """Mean absolute error by metric, relative to the metric's mean over the log."""
        seen = self.log.observations
        relative = np.abs(simulated - seen.real) / seen.mean
        return {m.name: float(np.nanmean(relative[rows & (seen.metric == i)])) for i, m in enumerate(seen.metrics)}

    def _nothing(self, why: str, alike: str = "") -> Finding:
        base, block = self.simulate({}), self.log.observations.block
        rows = block < BLOCKS // 2
        halves = [
            Half(name, self._errors(base, self._sound & half), None)
            for name, half in (("first half", rows), ("second half", ~rows))
        ]
        reasons = {part: why if part in self.simulate.parts else "not in this run" for part in PARTS} | self.without
        verdicts = [Verdict(part, None, None, reasons[part]) for part in PARTS]
        return self._finding(verdicts, tuple(halves), (), None, alike)

    def _finding(
        self,
        verdicts: Sequence[Verdict],
        halves: tuple[Half, ...],
        rivals: tuple[dict[str, float], ...],
        condition: float | None,
        alike: str = "",
    ) -> Finding:
        count = max(len(metric.real) for metric in self.log.observations.metrics)
        what = "samples" if self.log.outputs is None else "requests"
        source = f"{self.log.path.name}: {self.log.kind}, {count} {what}"
        return Finding(source, self.load, tuple(verdicts), halves, rivals, condition, self.simulate.runs, alike)
