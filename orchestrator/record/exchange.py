"""What a recording is made of beside events: messages to components and their answers, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from metronome.hwmodels.interface import Advanced, Completion, Operation, Provenance, Template, Use

from ..errors import ComponentFailure


class Exchange(NamedTuple):
    """One message of a session and its answer; ``event`` is the number of the last event before it.

    ``verb``: ``declare`` (asked: templates), ``advance`` (asked: grant, operations, whether to stop at the
    first completion), ``send`` (an ``advance`` that failed at once) or ``statistics`` (asked: uses).
    ``answer``: what the component returned, or the failure it ended with.
    """

    session: str
    event: int
    verb: str
    asked: tuple[Any, ...]
    answer: Advanced | Mapping[int, frozenset[int]] | dict[str, Any] | ComponentFailure | None


class Tape(Protocol):
    """Answers by session, in order. ``event`` is the number of the present event; ``incidents``, by component, are
    those that a recording has come to; ``interrupted`` is whether the recorded run was ended in the middle of things,
    so that what it had counted by then may differ."""

    event: int
    incidents: dict[str, dict[str, Any]]
    interrupted: bool

    def get(self, session: str, index: int) -> Exchange | None:
        """The session's message of that index, None where none is known yet."""
        ...

    def add(self, exchange: Exchange) -> None:
        """The next message of its session."""
        ...

    def mark(self, component: str, incident: dict[str, Any]) -> None:
        """From here on another model answers in its place."""
        ...


def asked_to_declare(templates: Sequence[Template]) -> tuple[Any, ...]:
    return tuple((t.id, t.kind, t.layer, dict(t.attributes)) for t in templates)


def asked_to_advance(grant_ps: int, operations: Sequence[Operation], stop_at_first: bool) -> tuple[Any, ...]:
    return (grant_ps, tuple(operations), stop_at_first)


def asked_for_statistics(uses: Sequence[Use]) -> tuple[Any, ...]:
    return tuple(uses)


def templates_of(exchange: Exchange) -> list[Template]:
    """The templates a ``declare`` carried."""
    return [Template(*asked) for asked in exchange.asked]


def operations_of(exchange: Exchange) -> tuple[int, list[Operation], bool]:
    """Grant, operations and stop of an ``advance``."""
    grant_ps, operations, stop = exchange.asked
    return grant_ps, [Operation(*operation) for operation in operations], stop


def pack(exchange: Exchange) -> tuple[Any, ...]:
    """For msgpack: tuples, numbers and strings only."""
    answer: Any = exchange.answer
    if isinstance(answer, ComponentFailure):
        packed: tuple[Any, ...] = (
            "failure",
            answer.component,
            answer.what,
            answer.doing,
            answer.last_words,
            answer.code,
        )
    elif isinstance(answer, Advanced):
        packed = ("advanced", answer.reached_ps, answer.next_event_ps, answer.completions)
    elif exchange.verb == "declare" and answer is not None:
        packed = ("resources", [(template, sorted(parts)) for template, parts in answer.items()])
    else:
        packed = ("data", answer)
    return (exchange.session, exchange.event, exchange.verb, exchange.asked, packed)


def unpack(packed: tuple[Any, ...]) -> Exchange:
    session, event, verb, asked, (kind, *rest) = packed
    if not isinstance(session, str) or not isinstance(verb, str) or not isinstance(asked, tuple):
        raise TypeError(f"a message of the session {session!r}")
    answer: Any
    if kind == "failure":
        if not all(isinstance(text, str) for text in rest):
            raise TypeError("a failure is told in texts")
        answer = ComponentFailure(*rest)
    elif kind == "advanced":
        reached, next_event, completions = rest
        _integers((reached, *(() if next_event is None else (next_event,))))
        for i, s, f, _, e in completions:
            _integers((i, s, f, *(() if e is None else (e,))))
        answer = Advanced(
            reached, tuple(Completion(i, s, f, Provenance(p), e) for i, s, f, p, e in completions), next_event
        )
    elif kind == "resources":
        answer = {template: frozenset(parts) for template, parts in rest[0]}
    else:
        answer = _listed(rest[0])
        if not (answer is None or isinstance(answer, dict)):
            raise TypeError(f"an answer to {verb}: {str(answer)[:80]!r}")
    return Exchange(session, event, verb, asked, answer)


def _integers(values: tuple[Any, ...]) -> None:
    for value in values:
        if type(value) is not int:
            raise TypeError(f"{str(value)[:80]!r} where a whole number should be")


def _listed(data: Any) -> Any:
    """JSON-ready data again: msgpack gives tuples for lists."""
    if isinstance(data, tuple):
        return [_listed(item) for item in data]
    if isinstance(data, dict):
        return {key: _listed(value) for key, value in data.items()}
    return data
