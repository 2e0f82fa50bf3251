"""Where two recordings first part, and what led there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, zip_longest

from metronome.hwmodels.interface import Advanced

from ..units import MAX_PS
from .exchange import Exchange
from .journal import Journal, Row
from .replay import differences

CHAIN = 8  # causes shown


@dataclass(frozen=True, slots=True)
class Parting:
    """Event ``number`` is the first that differs; ``a`` or ``b`` is None where that recording has ended.

    ``causes`` are those both have in common, latest first; ``answers`` the answers of one session to the
    same message, given before, that differ: (session, what was asked, in a, in b).
    """

    number: int
    a: Row | None
    b: Row | None
    fields: dict[str, tuple[object, object]]
    causes: list[tuple[int, Row]]
    answers: list[tuple[str, str, str, str]] = field(default_factory=list)


def parting(a: Journal, b: Journal) -> Parting | None:
    """The first event in which two recordings differ; None if there is none."""
    number = 0
    for one, other in zip_longest(_rows(a), _rows(b)):
        number += 1
        if one == other:
            continue
        fields = differences(one, other) if one and other else {}
        shared = max(row.cause for row in (one, other) if row)
        return Parting(number, one, other, fields, _causes(a, min(shared, number - 1)), _answers(a, b, number))
    return None


def _rows(journal: Journal) -> Iterator[Row]:
    return chain.from_iterable(block.rows for block in journal.blocks())


def _causes(journal: Journal, event: int) -> list[tuple[int, Row]]:
    found: list[tuple[int, Row]] = []
    while event > 0 and len(found) < CHAIN:
        row = journal.row(event)
        found.append((event, row))
        event = row.cause
    return found


def _answers(a: Journal, b: Journal, before: int, most: int = 3) -> list[tuple[str, str, str, str]]:
    """The first answers that differ although the same was asked."""
    streams: list[dict[str, Iterator[Exchange]]] = []
    for journal in (a, b):
        by_session: dict[str, list[Exchange]] = {}
        for block in journal.blocks():
            if block.first > before:
                break
            for exchange in block.exchanges:
                by_session.setdefault(exchange.session, []).append(exchange)
        streams.append({session: iter(exchanges) for session, exchanges in by_session.items()})
    found: list[tuple[int, str, str, str, str]] = []
    for session in streams[0].keys() & streams[1].keys():
        for one, other in zip(streams[0][session], streams[1][session], strict=False):
            if one.asked != other.asked or one.verb != other.verb or one.verb == "statistics":
                break
            if one.answer != other.answer and one.verb == "advance":
                found.append((one.event, session, _asked(one), answered(one.answer), answered(other.answer)))
                break
    return [rest[1:] for rest in sorted(found)][:most]


def _asked(exchange: Exchange) -> str:
    operations = exchange.asked[1]
    shown = ", ".join(f"template {operation[0]} {list(operation[1])}" for operation in operations[:3])
    return f"after event {exchange.event}: {shown}" + (", ..." if len(operations) > 3 else "")


def answered(answer: object) -> str:
    """An answer in one line."""
    if not isinstance(answer, Advanced):
        return str(answer)
    shown = [f"op {done.op_id}: {done.finish_ps - done.start_ps} ps" for done in answer.completions[:3]]
    more = f" and {len(answer.completions) - 3} more" if len(answer.completions) > 3 else ""
    reached = "" if answer.reached_ps == MAX_PS else f"reached {answer.reached_ps} ps; "
    return reached + (", ".join(shown) + more or "nothing done")
