"""What one request costs another: between which bounds its latency would fall if the other were not there.

All of it is read off this run. Let R be left out, and i be the request that is asked about:

- *Steps.* R's prompt makes steps longer that compute i, or that i waits for. If nobody takes R's place a step is
  shorter by what its components say of the batch without R; if others do, there are fewer steps, by R's share of the
  tokens. The gain lies between the two.
- *Tokens.* R's output tokens in such steps: between nothing and what components say, asked of every eighth step.
- *Before.* What R's prompt had put off before i came, and i then met: between nothing and all of it, as far back as the
  engine has been in steps without a pause.
- *Held.* While i waits behind R, or for KV blocks or a place that R has, alone or among others: between nothing and
  all of that, or all the time from R's first step to its last, if that is less: what one customer of a queue with
  several servers costs each after it is at most its own service.
- *Again.* Prompts that are computed again, i's or another's, after a preemption that R's blocks may have caused.
- *Knock-on.* What i is spared makes it end earlier: others' prompts in as much of its last steps it may be spared, too.
  In the place of R may come, before i's end, prompts of others that waited as it ended (*slipping*).
- *Alignment.* Steps begin at other times: either way twice (a step in flight, and one decided already) the longest of
  i's steps without a prompt, or of all where each has one.

Components are asked what a step takes alone, so what others do on a shared link at the same time is left out. The
bounds are of a run in which the same engines serve i and all others; a router may choose otherwise.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import NamedTuple

from ..errors import InputError
from ..units import PS_PER_MS
from . import state
from .beside import Change, simulation
from .session import DebugSession
from .shapes import Pricer, Shapes
from .why import LatencySplit, split
from .witness import Step, Witness

HELD = re.compile(r"(?:behind request (\d+), which waits )?for (?:KV|a place)")
EVERY = 8  # steps of which one is priced for a request's output token
STEPS_AHEAD = 2  # in flight, and decided already
PAUSE_PS = 5 * PS_PER_MS  # longer than any engine's own work between steps: nobody was waiting for it


def named(bounds: object, but: tuple[str, ...] = ()) -> dict[str, int]:
    """The fields of a dataclass that are not 0, their names as words."""
    values = {one.name: getattr(bounds, one.name) for one in fields(bounds) if one.name not in but}  # type: ignore[arg-type]
    words = {
        name: name.replace("_least", " at least").replace("_most", " at most").replace("_", "-") for name in values
    }
    return {words[name]: value for name, value in values.items() if value}


class Cost(NamedTuple):
    """Of a request in a step, ps: what components say, and its share of the step's tokens."""

    marginal: int
    share: int


@dataclass(slots=True)
class Charge:
    """What ``request`` costs another, ps, in parts (see the module), from ``least_ps`` to ``most_ps``."""

    request: int
    steps_least: int = 0
    steps_most: int = 0
    tokens: int = 0
    before: int = 0
    held: int = 0
    again: int = 0
    knock_on: int = 0
    slipping: int = 0
    alignment: int = 0

    def parts(self) -> dict[str, int]:
        """Those that are not nothing, by name."""
        return named(self, ("request",))

    @property
    def blamed_ps(self) -> int:
        """By which those to blame are ordered."""
        return self.steps_least + self.tokens + self.held

    @property
    def least_ps(self) -> int:
        return self.steps_least - self.slipping - self.alignment

    @property
    def most_ps(self) -> int:
        return self.steps_most + self.tokens + self.before + self.held + self.again + self.knock_on + self.alignment


@dataclass(slots=True)
class Ledger:
    """The run so far, and what every step computed. ``steps`` as they began."""

    witness: Witness
    steps: list[Step]
    shapes: Shapes
    pricer: Pricer
    answers: dict[int, LatencySplit]
    arrived_ps: dict[int, int]
    again: dict[tuple[str, int], set[int]]
    _costs: dict[tuple[str, int, int], Cost] = field(default_factory=dict)

    def answer(self, request: int) -> LatencySplit:
        """Where its latency came from. Raises InputError for a request that has not arrived by now."""
        if request not in self.answers:
            raise InputError("debugger", "request", request, "has not arrived yet, or there is none of that id")
        return self.answers[request]

    def charges(self, request: int, only: int | None = None) -> list[Charge]:
        """Of everybody who costs the request something, the most blamed first; or ``only`` of one, which may cost it
        nothing. Raises InputError, ComponentFailure."""
        answer = self.answer(request)
        found = {} if only is None else {only: Charge(only)}
        windows = self.windows(answer)
        busy = {instance: self._busy_since(instance, begin) for instance, (begin, _) in windows.items()}
        for step in self.steps:
            begin, end = windows.get(step.instance, (0, 0))
            if busy.get(step.instance, end) <= step.start_ps < end and not self._on_its_way(request, step):
                for other in step.requests - {request} if only is None else step.requests & {only}:
                    self._in_step(found.setdefault(other, Charge(other)), step, begin)
        for other, took in sorted(self._held(answer).items()):
            if only in (None, other):
                found.setdefault(other, Charge(other)).held += took
        for charge in found.values():
            self._knock_on(charge, answer)
        known = [charge for charge in found.values() if charge.blamed_ps or charge.before or only is not None]
        return sorted(known, key=lambda charge: (-charge.blamed_ps, charge.request))

    def _on_its_way(self, request: int, step: Step) -> bool:
        """Whether K and V of the request moved all through a step that it is not in: it does not wait for that."""
        moves = self.witness.moves.get(request, ())
        inside = any(began <= step.start_ps and step.end_ps <= ended for began, ended in moves)
        return inside and request not in step.requests

    def _busy_since(self, instance: str, until_ps: int) -> int:
        """Since when the instance had been in one step after another then."""
        since = until_ps
        for step in reversed(self.steps):
            if step.instance == instance and step.start_ps < since:
                if step.end_ps < since - PAUSE_PS:
                    break
                since = step.start_ps
        return since

    def windows(self, answer: LatencySplit) -> dict[str, tuple[int, int]]:
        """From when to when the request was on each instance."""
        windows: dict[str, tuple[int, int]] = {}
        reached = self.arrived_ps[answer.request]
        for step in answer.steps:
            begin, _ = windows.get(step.instance, (reached, 0))
            windows[step.instance] = begin, step.end_ps
            reached = step.end_ps
        return windows

    def _in_step(self, charge: Charge, step: Step, begin_ps: int) -> None:
        took = step.took_ps
        late = max(0, min(took, begin_ps - step.start_ps))  # of the step what was over when the request came
        if not took:
            return
        if charge.request in prompts(step):
            cost = self.cost(step, charge.request)
            charge.steps_least += min(cost) * (took - late) // took
            charge.steps_most += max(cost) * (took - late) // took
            charge.before += max(cost) * late // took
        elif late < took:
            charge.tokens += self._token(step, charge.request) * (took - late) // took

    def _token(self, step: Step, request: int) -> int:
        """What an output token costs in the step: what it costs in the first that was priced of those around it."""
        key = step.instance, -(step.number // EVERY) - 1, request
        if key not in self._costs:
            self._costs[key] = self.cost(step, request)
        return self._costs[key].marginal

    def cost(self, step: Step, request: int) -> Cost:
        key = step.instance, step.number, request
        if key not in self._costs:
            self._costs[key] = self._cost(step, request)
        return self._costs[key]

    def _cost(self, step: Step, request: int) -> Cost:
        shapes = self.shapes.of.get((step.instance, step.number), [])
        tokens = sum(shape.batch.tokens for shape in shapes)
        if not tokens:
            return Cost(0, 0)
        left = [shape.without(request) for shape in shapes]
        marginal = self.pricer.marginal(step.instance, shapes, request)
        if any(shape.batch.prompts for shape in shapes) and not any(batch.prompts for batch in left):
            marginal += step.inputs_ps - step.start_ps
        share = step.took_ps * (tokens - sum(batch.tokens for batch in left)) // tokens
        return Cost(max(marginal, 0), share)

    def _held(self, answer: LatencySplit) -> dict[int, int]:
        """By who had what the request waited for: for how long it did, but no longer than the other was computed."""
        found: Counter[int] = Counter()
        for key in {*answer.before, *answer.after}:
            if match := HELD.match(key[1]):
                head = {int(match[1])} if match[1] else set()
                for other in {*answer.held.get(key, ()), *head} - {answer.request}:
                    found[other] += answer.before[key] + answer.after[key]
        for other, took in found.items():
            steps = self.answers[other].steps if other in self.answers else []
            found[other] = min(took, steps[-1].end_ps - steps[0].start_ps if steps else took)
        return found

    def _knock_on(self, charge: Charge, answer: LatencySplit) -> None:
        """Until what is spared reaches no further prompt."""
        end = self.arrived_ps[answer.request] + answer.total_ps
        charge.alignment, charge.again = self.alignment(answer), self._again(answer, charge.request)
        others = {answer.request, charge.request}
        for step in sorted(answer.steps, key=lambda step: -step.start_ps):
            if step.end_ps <= end - charge.most_ps:
                break
            charge.knock_on += sum(max(self.cost(step, one)) for one in prompts(step) - others)
        instances = {step.instance for step in answer.steps}
        for step in self.steps:
            if step.instance in instances and step.start_ps >= end:
                came = [one for one in prompts(step) - others if self.arrived_ps.get(one, end) < end]
                charge.slipping += sum(max(self.cost(step, one)) for one in came)

    def _again(self, answer: LatencySplit, request: int) -> int:
        """What is computed a second time while the request is there, the ``request`` that is left out aside."""
        found = 0
        windows = self.windows(answer)
        for step in self.steps:
            begin, end = windows.get(step.instance, (0, 0))
            if begin <= step.start_ps < end:
                again = self.again.get((step.instance, step.number), set()) - {request}
                found += sum(max(self.cost(step, one)) for one in again)
        return found

    @staticmethod
    def alignment(answer: LatencySplit) -> int:
        """By how much where steps begin can matter."""
        plain = [step.took_ps for step in answer.steps if not prompts(step)]
        return STEPS_AHEAD * max(plain or [step.took_ps for step in answer.steps], default=0)


def recomputed(steps: Sequence[Step], lengths: Mapping[int, int]) -> dict[tuple[str, int], set[int]]:
    """By step whose prompts it computes again, at least in part: their tokens have been computed before."""
    computed: Counter[int] = Counter()
    found: dict[tuple[str, int], set[int]] = {}
    for step in steps:
        for request, tokens in (step.decided.prompts if step.decided else {}).items():
            computed[request] += tokens
            if computed[request] > lengths.get(request, 0):
                found.setdefault((step.instance, step.number), set()).add(request)
    return found


def prompts(step: Step) -> set[int]:
    """Whose prompts it computes."""
    return set(step.decided.prompts) if step.decided else set()


@contextmanager
def ledger(session: DebugSession) -> Iterator[Ledger]:
    """Of the run up to here, which is played again once. Raises InputError where there are no components to ask."""
    here = session.position
    with simulation(session, Change()) as idle:
        with session.aside(1) as again:
            witness, shapes = Witness(again.mover.networks), Shapes()
            again.instruments.add(witness)
            again.instruments.add(shapes)
            while session.position < here and session.event is not None and not session.failure:
                session.step()
            witness.close(again.kernel.now_ps)
            ids = sorted(state.request_ids(again))
            answers = {request: split(again, witness, request) for request in ids}
            arrived = {one: found[0].request.arrival_ps for one in ids if (found := state.find(again, one))}
        steps = sorted((s for s in witness.steps.values() if s.end_ps >= 0), key=lambda s: (s.start_ps, s.instance))
        again_in = recomputed(steps, {one: answer.prompt for one, answer in answers.items()})
        yield Ledger(witness, steps, shapes, Pricer(idle), answers, arrived, again_in)
