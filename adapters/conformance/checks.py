"""The checks. The operations they use are made from the kinds a component says it does."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from metronome.hwmodels.interface import (
    OPERATION_ATTRIBUTES,
    OPERATION_VALUES,
    Advanced,
    Attribute,
    Completion,
    Description,
    Feature,
    Operation,
    Template,
    TimePolicy,
)

FAR_PS = 10**15  # beyond anything a check starts


class Violation(AssertionError):
    """The component broke the contract; the text says which rule and how."""


class Refused(Exception):
    """A session refused an operation, as the contract wants; raised by sessions, whatever the transport."""


class SessionUnderTest(Protocol):
    """One configured component; ``advance`` raises Refused for operations it will not take."""

    def advance(self, grant_ps: int, operations: Sequence[Operation], stop: bool = False) -> Advanced: ...

    def snapshot(self) -> dict[str, Any]: ...

    def restore(self, state: dict[str, Any]) -> None: ...

    def inspect(self) -> dict[str, Any]: ...

    def close(self) -> None: ...


MOST_OPERATIONS = 20_000
MOST_ASKING = 300  # of a component with ports: each may be many requests
ASKED_BYTES = 4096  # in one operation of a memory with ports, at least


@dataclass(frozen=True, slots=True)
class Subject:
    """A component to check: what it says of itself, templates it can do, and how to open a session."""

    description: Description
    templates: tuple[Template, ...]
    open: Callable[..., SessionUnderTest]  # of a component with ports: given what each of its requests takes

    @property
    def clocked(self) -> bool:
        return self.description.time_policy in (TimePolicy.CONSERVATIVE, TimePolicy.FORWARD_ONLY)

    @property
    def asks(self) -> bool:
        """Whether it has ports."""
        return Feature.PORTS in self.description.features


_SIZES: dict[str, Attribute] = {
    "n": 512,
    "k": 256,
    "width": 1024,
    "heads": 8,
    "kv_heads": 2,
    "head_size": 64,
    "depth": 16,
    "conv_width": 512,
    "state_dtype": "fp32",
    "hidden": 256,
    "intermediate": 512,
    "experts": 8,
    "top_k": 2,
    "participants": 4,
    "dtype": "bf16",
    "kv_dtype": "bf16",
    "ranks": "n0.0,n0.1,n0.2,n0.3",
    "of": "0,0",
    "pattern": "stream",
    "links": "*",
}


def templates_for(description: Description) -> tuple[Template, ...]:
    """One template of every kind the component does, with small shapes."""
    return tuple(
        Template(i, kind, kind, {name: _SIZES[name] for name in OPERATION_ATTRIBUTES[kind]})
        for i, kind in enumerate(sorted(description.op_kinds))
    )


def operations(subject: Subject, count: int = 12, spacing_ps: int = 500_000) -> list[Operation]:
    """Operations of all the subject's templates in turn, ``spacing_ps`` apart."""
    made = []
    for i in range(count):
        template = subject.templates[i % len(subject.templates)]
        names = OPERATION_VALUES[template.kind]
        values = tuple(3 + 7 * i + j for j in range(len(names)))
        if template.kind == "attention":
            values = (4, 400 + i, 120 + i, 80, 16, 32)
        elif template.kind == "moe":
            values = (8 + i, 4)
        elif template.kind in ("load", "store"):
            values = (3 + 7 * (i % 100), 4096 * i)
        elif template.kind == "train":
            values = (3, 100_000, 4096 * (i + 1), 0, 512)
        elif template.kind == "slowdown":
            values = ((1 + i % 3) * 10**6,)
        made.append(Operation(template.id, values, op_id=i, at_ps=i * spacing_ps))
    return made


def _expect(rule: bool, text: str) -> None:
    if not rule:
        raise Violation(text)


def _run(session: SessionUnderTest, work: Sequence[Operation], stop: bool = False) -> list[Completion]:
    """All of it to the end, in one grant or stopping at each completion."""
    answer = session.advance(FAR_PS, work, stop)
    done = list(answer.completions)
    while stop and len(done) < len(work):
        answer = session.advance(FAR_PS, (), stop)
        _expect(bool(answer.completions), f"{len(done)} of {len(work)} operations completed and no more follow")
        done += answer.completions
    return done


def completes_everything(subject: Subject) -> None:
    """Every operation is completed once, not before it may start, in no negative time; a slowdown at once."""
    work = operations(subject)
    session = subject.open()
    done = _run(session, work)
    session.close()
    kinds = {template.id: template.kind for template in subject.templates}
    _expect(sorted(c.op_id for c in done) == [o.op_id for o in work], "operations lost, repeated or made up")
    for completion in done:
        at = work[completion.op_id].at_ps
        if kinds[work[completion.op_id].template] == "slowdown":
            _expect(completion.start_ps == completion.finish_ps == at, f"slowdown {completion.op_id} took time")
            continue
        _expect(completion.start_ps >= at, f"operation {completion.op_id} started before {at} ps")
        _expect(completion.finish_ps > completion.start_ps, f"operation {completion.op_id} took no time")
        energy = completion.energy_pj
        _expect(energy is None or energy >= 0, f"operation {completion.op_id} has negative energy")


def two_runs_are_equal(subject: Subject) -> None:
    """The same operations give the same answers in another session."""
    if not subject.description.deterministic:
        return
    runs = []
    for _ in range(2):
        session = subject.open()
        runs.append(_run(session, operations(subject)))
        session.close()
    _expect(runs[0] == runs[1], "two runs differ although the component says it is deterministic")


def time_is_monotone(subject: Subject) -> None:
    """``reached`` never exceeds the grant nor runs back; completions lie at or before it."""
    if not subject.clocked:
        return
    session, reached = subject.open(), 0
    work = operations(subject)
    for operation in work:
        answer = session.advance(operation.at_ps, [operation])
        _expect(reached <= answer.reached_ps <= operation.at_ps, f"reached {answer.reached_ps} of {operation.at_ps} ps")
        _expect(all(c.finish_ps <= answer.reached_ps for c in answer.completions), "completed beyond what it reached")
        reached = answer.reached_ps
    session.close()


def split_grants_change_nothing(subject: Subject) -> None:
    """One grant, many small ones, or stopping at each completion: the same completions."""
    if not subject.clocked:
        return
    work = operations(subject)
    session = subject.open()
    whole = sorted(_run(session, work), key=lambda c: c.op_id)
    session.close()
    session = subject.open()
    stopped = sorted(_run(session, work, stop=True), key=lambda c: c.op_id)
    session.close()
    _expect(whole == stopped, "stopping at completions changes them")
    session = subject.open()
    pieces: list[Completion] = []
    for operation, following in zip(work, [*work[1:], None], strict=True):
        pieces += session.advance(operation.at_ps, [operation]).completions
        if following:
            pieces += session.advance((operation.at_ps + following.at_ps) // 2, ()).completions
    pieces += session.advance(FAR_PS, ()).completions
    session.close()
    _expect(whole == sorted(pieces, key=lambda c: c.op_id), "splitting grants changes completions")


def next_event_is_honoured(subject: Subject) -> None:
    """Granted exactly to its promised next event, the component acts then and not before.

    A forward-only one cannot look ahead, nor one that asks others: it may act later than promised, and then promises a
    later time.
    """
    if not subject.clocked:
        return
    looks_ahead = subject.description.time_policy is TimePolicy.CONSERVATIVE and not subject.asks
    session = subject.open()
    answer = session.advance(0, operations(subject, 3, 0))
    left = 3 - len(answer.completions)
    while left:
        promised = answer.next_event_ps
        if promised is None:
            raise Violation(f"{left} operations outstanding and no next event promised")
        early = session.advance(promised - 1, ())
        _expect(not early.completions, f"completed something before the promised {promised} ps")
        answer = session.advance(promised, ())
        if not answer.completions and not looks_ahead:
            later = answer.next_event_ps
            _expect(
                later is None or later > promised, f"did nothing at the promised {promised} ps and promises it again"
            )
            continue
        _expect(bool(answer.completions), f"did nothing at the promised {promised} ps")
        left -= len(answer.completions)
    session.close()


def late_operations_are_refused(subject: Subject) -> None:
    """An operation older than the component's time is refused, and the session goes on."""
    if not subject.clocked:
        return
    session = subject.open()
    session.advance(10**9, ())
    _refuses(session, operations(subject, 1)[0]._replace(at_ps=10**9 - 1), "an operation in the past")
    done = session.advance(FAR_PS, [operations(subject, 1)[0]._replace(at_ps=10**9)])
    _expect(len(done.completions) == 1, "after refusing an operation the session is of no use")
    session.close()


def bad_operations_are_refused(subject: Subject) -> None:
    """Unknown template, missing number, negative number."""
    session = subject.open()
    good = operations(subject, 1)[0]
    _refuses(session, good._replace(template=9999), "an unknown template")
    _refuses(session, good._replace(values=()), "an operation without its numbers")
    _refuses(session, good._replace(values=(-1, *good.values[1:])), "a negative number")
    _expect(len(_run(session, [good])) == 1, "after refusing an operation the session is of no use")
    session.close()


def answers_do_not_depend_on_when(subject: Subject) -> None:
    """A memoryless component, idle, takes as long for an operation now as later."""
    if not subject.description.memoryless:
        return
    for operation in operations(subject, len(subject.templates), 0):
        durations = set()
        for at in (0, 123_456_789):
            session = subject.open()
            done = _run(session, [operation._replace(at_ps=at)])[0]
            durations.add(done.finish_ps - done.start_ps)
            session.close()
        _expect(len(durations) == 1, f"operation {operation.op_id} takes {sorted(durations)} ps, depending on when")


def ports_are_kept(subject: Subject) -> None:
    """At its ports it asks in time, within its credits, and for the same however its time is cut, its requests answered
    soon or late."""
    if not subject.asks:
        return
    memory = subject.description.kind == "memory"
    work = [o._replace(values=(ASKED_BYTES + o.values[0], *o.values[1:])) if memory else o for o in operations(subject)]
    for latency_ps in (500, 5_000_000):
        asked = []
        for grants in ([FAR_PS], [o.at_ps + more for o in work for more in (0, 1000, 250_000)] + [FAR_PS]):
            session: Any = subject.open(latency_ps)
            left, done = list(work), []
            for grant in grants:
                due = [operation for operation in left if operation.at_ps <= grant]
                left = left[len(due) :]
                done += session.advance(grant, due).completions
            asked.append((session.answered, sorted(done, key=lambda c: c.op_id)))
            session.close()
        _expect(bool(asked[0][0]), "it has ports, and asks nobody")
        _expect(len(asked[0][1]) == len(work), f"completed {len(asked[0][1])} of {len(work)} operations")
        _expect(asked[0] == asked[1], "what it asks at its ports depends on how its time is cut")


def batches_may_be_split(subject: Subject) -> None:
    """Asked together or one by one, an oracle answers the same."""
    if subject.description.time_policy is not TimePolicy.ORACLE:
        return
    work = operations(subject)
    session = subject.open()
    together = _run(session, work)
    apart = [c for operation in work for c in _run(session, [operation])]
    session.close()
    _expect(together == apart, "the answer depends on what is asked beside it")


def snapshots_restore(subject: Subject) -> None:
    """Snapshot, run, restore, run again: the same."""
    if Feature.SNAPSHOT not in subject.description.features:
        return
    session = subject.open()
    session.advance(0, operations(subject, 6, 0))
    state = session.snapshot()
    first = session.advance(FAR_PS, ()).completions
    session.restore(state)
    second = session.advance(FAR_PS, ()).completions
    session.close()
    _expect(bool(first) and first == second, "a restored session does not repeat itself")


def looking_changes_nothing(subject: Subject) -> None:
    """Inspect gives the same tree twice, JSON-ready, and leaves the completions as they are."""
    if Feature.INSPECT not in subject.description.features:
        return
    session, other = subject.open(), subject.open()
    work = operations(subject, 6, 0)
    session.advance(0, work)
    other.advance(0, work)
    looks = [json.dumps(session.inspect(), sort_keys=True) for _ in range(2)]
    _expect(looks[0] == looks[1], "looking twice shows two things")
    _expect(session.advance(FAR_PS, ()) == other.advance(FAR_PS, ()), "looking changed the run")
    session.close()
    other.close()


def sessions_are_isolated(subject: Subject) -> None:
    """What one session does is nothing to another."""
    alone = subject.open()
    expected = _run(alone, operations(subject))
    alone.close()
    busy, quiet = subject.open(), subject.open()
    busy.advance(0, operations(subject, 12, 0))
    _expect(_run(quiet, operations(subject)) == expected, "a session felt another one")
    busy.close()
    quiet.close()


def large_batches_are_taken(subject: Subject) -> None:
    """As many operations at once as the component says it takes, up to 20,000; 300 of one with ports."""
    count = min(MOST_ASKING if subject.asks else MOST_OPERATIONS, subject.description.max_batch_ops)
    session = subject.open()
    _expect(len(_run(session, operations(subject, count, 0))) == count, f"{count} operations were not all completed")
    session.close()


def _refuses(session: SessionUnderTest, operation: Operation, what: str) -> None:
    try:
        session.advance(FAR_PS, [operation])
    except Refused:
        return
    raise Violation(f"took {what}")


CHECKS: tuple[Callable[[Subject], None], ...] = (
    completes_everything,
    two_runs_are_equal,
    time_is_monotone,
    split_grants_change_nothing,
    next_event_is_honoured,
    late_operations_are_refused,
    bad_operations_are_refused,
    answers_do_not_depend_on_when,
    ports_are_kept,
    batches_may_be_split,
    snapshots_restore,
    looking_changes_nothing,
    sessions_are_isolated,
    large_batches_are_taken,
)
