"""The link of a slow component that answers most questions by interpolation (docs/adapters.md)."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from metronome.hwmodels.interface import (
    MAX_PS,
    Advanced,
    Completion,
    Description,
    Operation,
    Template,
    TimePolicy,
    Use,
    worse,
)

from ...errors import ComponentFailure, InputError, SurrogateWarning
from ...scenario.components import SurrogateOptions
from ..link import Link
from ..oracle import answered, oracle
from ..wrapped import WrappedLink
from .coordinates import PROBES, Values, assumptions, operation, terms
from .grid import Answer, Grid, Point, Worst, off
from .store import Store

AUDIT = 32  # one of so many interpolated operations is asked for as well


class SurrogateLink(WrappedLink):
    """One session. It is an oracle whatever the component is: operations alone, no contention."""

    def __init__(self, link: Link, options: SurrogateOptions, identity: str) -> None:
        super().__init__(link)
        self.options, self._identity = options, identity
        given = link.description
        if not given.memoryless or not given.deterministic:
            what = "remembers" if not given.memoryless else "is not deterministic"
            raise InputError(
                f"component {self.name}",
                "surrogate",
                None,
                f"{given.name} {what}: its answers are no function of the operation alone",
            )
        self._description = replace(
            given, time_policy=TimePolicy.ORACLE, features=frozenset(), op_kinds=given.op_kinds - {"train", "slowdown"}
        )
        self._store = Store(identity)
        self._oracle = oracle(link)
        self._templates: dict[int, Template] = {}
        self._keys: dict[int, str] = {}
        self._known: dict[int, dict[Values, Answer]] = {}  # what the component itself said
        self._grids: dict[tuple[int, str], Grid] = {}
        self._holds: dict[tuple[int, str], bool] = {}
        self.answers: dict[tuple[int, Values], Answer] = {}  # of every operation so far
        self._fresh = 0  # asked of the component now, not found on disk
        self._audits: dict[tuple[int, Values], float] = {}

    @property
    def description(self) -> Description:
        return self._description

    @property
    def asked_freely(self) -> bool:
        return False

    @property
    def remote(self) -> bool:
        return False  # nothing is asked ahead

    def declare(self, templates: Sequence[Template]) -> Mapping[int, frozenset[int]] | None:
        self._link.declare(templates)
        for template in templates:
            self._templates[template.id] = template
            self._keys[template.id] = json.dumps(
                [template.kind, template.layer, dict(template.attributes)], sort_keys=True
            )
            self._known[template.id] = {}
        return None

    def again(self) -> Link:
        return SurrogateLink(self._link.again(), self.options, self._identity)

    def advance(self, grant_ps: int, operations: Sequence[Operation], stop_at_first: bool) -> Advanced:
        done = []
        for asked in operations:
            answer = self._answer(asked.template, asked.values)
            done.append(
                Completion(
                    asked.op_id, asked.at_ps, asked.at_ps + answer.duration_ps, answer.provenance, answer.energy_pj
                )
            )
        return Advanced(grant_ps, tuple(done))

    def statistics(self, uses: Sequence[Use]) -> dict[str, Any]:
        worst, where = self._worst()
        calls = self._calls
        errors = sorted(self._audits.values())
        inner = self._link.statistics(uses).get("relative_error")
        return {
            **({"relative_error": inner} if inner else {}),
            "surrogate": {
                "tolerance": self.options.tolerance,
                "operations": len(self.answers),
                "calls": calls,
                "calls_saved": len(self.answers) - calls,
                "wall_calls": self._fresh,
                "checked_error": worst.error,
                "worst_point": where,
                "not_additive": sorted(
                    {f"{self._templates[id].layer}: {name}" for (id, name), holds in self._holds.items() if not holds}
                ),
                "audited": len(errors),
                "audits_off": sum(error > self.options.tolerance for error in errors),
                "audited_p95_error": float(np.percentile(errors, 95)) if errors else None,
                "audited_worst_error": errors[-1] if errors else None,
            },
        }

    def inspect(self) -> dict[str, Any]:
        raise ComponentFailure(self.name, "cannot be inspected: it is behind a surrogate")

    def snapshot(self) -> dict[str, Any]:
        raise ComponentFailure(self.name, "takes no snapshots: it is behind a surrogate")

    def restore(self, state: dict[str, Any]) -> None:
        raise ComponentFailure(self.name, "takes no snapshots: it is behind a surrogate")

    def close(self) -> None:
        """The component's own link belongs to who opened it."""
        self._store.close()

    def _answer(self, template: int, values: Values) -> Answer:
        found = self.answers.get((template, values))
        if found is None:
            found = self.answers[template, values] = self._work_out(template, values)
        return found

    def _work_out(self, template: int, values: Values) -> Answer:
        kind = self._templates[template].kind
        for name in assumptions(kind, values):
            if not self._hold(template, name):
                return self._exact(template, values)
        found = [self._grid(template, term.family).at(term.point) for term in terms(kind, values)]
        whole = [answer for answer in found if answer is not None]
        if len(whole) < len(found):
            return self._exact(template, values)
        answer = _sum(whole)
        if values not in self._known[template] and self._drawn(template, values):
            truth = self._exact(template, values)
            error = self._audits[template, values] = off(answer, truth)
            if error > self.options.tolerance:
                self._found_off(template, values, error)
                return truth
        return answer

    def _found_off(self, template: int, values: Values, error: float) -> None:
        """An audit beyond the tolerance: the run ends, or the cells that gave the answer are refined."""
        layer = self._templates[template].layer
        text = (
            f"its surrogate is {error:.2%} off at {layer} {list(values)}; the tolerance is {self.options.tolerance:.2%}"
        )
        if self.options.audit == "fail":
            raise ComponentFailure(self.name, f"{text} (surrogate.audit: fail)")
        warnings.warn(f"component {self.name}: {text}: refined there from now on", SurrogateWarning, stacklevel=2)
        for term in terms(self._templates[template].kind, values):
            self._grid(template, term.family).distrust(term.point, error)

    @property
    def _calls(self) -> int:
        """Answers of the component's own that were needed, kept ones included."""
        return sum(map(len, self._known.values()))

    def _grid(self, template: int, family: str) -> Grid:
        if (template, family) not in self._grids:
            known: dict[Point, Answer] = {}
            ask = partial(self._ask_points, template, family, known)
            self._grids[template, family] = Grid(ask, known, self.options.tolerance)
        return self._grids[template, family]

    def _ask_points(self, template: int, family: str, known: dict[Point, Answer], points: list[Point]) -> None:
        lacking = {point: operation(family, point) for point in points if point not in known}
        if lacking:
            answers = self._ask(template, list(lacking.values()))
            known.update(zip(lacking, answers, strict=True))

    def _hold(self, template: int, name: str) -> bool:
        """Whether operations of this template are the sum of their terms, at the points of a probe."""
        if (template, name) not in self._holds:
            kind = self._templates[template].kind
            self._holds[template, name] = all(
                self._adds_up(template, kind, values) <= self.options.tolerance for values in PROBES[name]
            )
        return self._holds[template, name]

    def _adds_up(self, template: int, kind: str, values: Values) -> float:
        made_of = [operation(term.family, tuple(map(round, term.point))) for term in terms(kind, values)]
        truth, *pieces = self._ask(template, [values, *made_of])
        return off(_sum(pieces), truth)

    def _drawn(self, template: int, values: Values) -> bool:
        digest = hashlib.sha256(f"{self._keys[template]} {values}".encode()).digest()
        return int.from_bytes(digest[:4], "big") % AUDIT == 0

    def _exact(self, template: int, values: Values) -> Answer:
        return self._ask(template, [values])[0]

    def _ask(self, template: int, wanted: list[Values]) -> list[Answer]:
        """The component's own answers, from memory, from disk, or now."""
        known = self._known[template]
        lacking = [values for values in dict.fromkeys(wanted) if values not in known]
        if lacking:
            self._check_budget(template, len(lacking))
            keys = {values: f"{self._keys[template]} {list(values)}" for values in lacking}
            kept = self._store.get(list(keys.values()))
            known.update((values, kept[key]) for values, key in keys.items() if key in kept)
            fresh = [values for values in lacking if values not in known]
            step = max(1, self._link.description.max_batch_ops)
            for start in range(0, len(fresh), step):
                self._ask_now(template, keys, fresh[start : start + step])
        return [known[values] for values in wanted]

    def _ask_now(self, template: int, keys: Mapping[Values, str], wanted: list[Values]) -> None:
        operations = [Operation(template, values, op_id) for op_id, values in enumerate(wanted)]
        known, fresh = self._known[template], {}
        for done in answered(self._link, operations, self._oracle.advance(MAX_PS, operations, False)):
            values, took = wanted[done.op_id], done.finish_ps - done.start_ps
            if took <= 0:
                raise ComponentFailure(
                    self.name, f"says {self._templates[template].layer} {list(values)} takes no time"
                )
            known[values] = fresh[keys[values]] = Answer(took, done.energy_pj, done.provenance)
        self._fresh += len(fresh)
        self._store.put(fresh)

    def _check_budget(self, template: int, more: int) -> None:
        budget = self.options.budget
        if budget is not None and self._calls + more > budget:
            worst, where = self._worst()
            checked = f"; the worst checked error so far is {worst.error:.2%} at {where}" if where else ""
            raise ComponentFailure(
                self.name,
                f"its surrogate needs more than its budget of {budget} calls to keep {self.options.tolerance:.2%} for "
                f"{self._templates[template].layer}{checked}. Answers are kept: a run with a larger budget or "
                "tolerance goes on from these",
            )

    def _worst(self) -> tuple[Worst, str]:
        """The largest checked error of all cells that were used, and where."""
        found, text = Worst(), ""
        for (template, family), grid in self._grids.items():
            if grid.worst > found:
                found = grid.worst
                text = f"{self._templates[template].layer} {list(operation(family, found.point))}"
        return found, text


def _sum(answers: Sequence[Answer]) -> Answer:
    total = answers[0]
    for answer in answers[1:]:
        known = total.energy_pj is not None and answer.energy_pj is not None
        total = Answer(
            total.duration_ps + answer.duration_ps,
            (total.energy_pj or 0) + (answer.energy_pj or 0) if known else None,
            worse(total.provenance, answer.provenance),
        )
    return total
