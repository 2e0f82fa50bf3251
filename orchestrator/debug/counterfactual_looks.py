"""Counterfactuals as lines of text, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import InputError
from ..scenario.loading import parse_overrides
from .beside import Change
from .charges import ledger
from .counterfactual import Bounds, Counterfactual, Key, counterfactual
from .looks import ms
from .session import DebugSession
from .why import LatencySplit

SHOWN = 12  # parts of a latency, and requests to blame, that are shown
USAGE = "without ID2[,ID3], with PATH=VALUE ..., or both; `without` alone says whom it would be worth to ask about"


def change_of(words: Sequence[str]) -> Change:
    """Of ``without 2,5 with path=value ...``. Raises InputError."""
    without: list[int] = []
    values: list[str] = []
    where = None
    for word in words:
        if word in ("without", "with"):
            where = word
        elif where == "without" and all(number.isdigit() for number in word.split(",")):
            without += map(int, word.split(","))
        elif where == "with" and "=" in word:
            values.append(word)
        else:
            raise InputError("debugger", "why", word, USAGE)
    if not without and not values:
        raise InputError("debugger", "why", " ".join(words), USAGE)
    return Change(tuple(dict.fromkeys(without)), parse_overrides(values))


def otherwise(session: DebugSession, request: int, words: Sequence[str]) -> list[str]:
    """`why ID without ...` and `why ID with ...`. Raises InputError."""
    if list(words) == ["without"]:
        return blamed(session, request)
    return lines(counterfactual(session, request, change_of(words)))


def lines(found: Counterfactual) -> list[str]:
    """A table whose lines add up to both latencies, and what this run says beside it."""
    here, there = found.here.total_ps, found.there.total_ps
    shown = [
        f"request {found.request} {found.change}: {ms(here)} here, {ms(there)} there, {_signed(there - here)}",
        f"  {_says(found)}",
    ]
    shown += [f"  {text}" for text in found.otherwise()]
    if found.parts_at is None or found.parts_ps is None:
        shown.append("  no event that is known is otherwise there")
    else:
        shown.append(f"  the runs part at event {found.parts_at}, at {ms(found.parts_ps)}")
    shown.append(f"  {'what':<9} {'who':<58} {'here':>20} {'there':>18} {'difference':>20}")
    parts = list(found.parts().items())
    shown += [_row(*key, *both) for key, both in parts[:SHOWN]]
    if rest := parts[SHOWN:]:
        sums = (sum(both[i] for _, both in rest) for i in (0, 1))
        shown.append(_row("and", f"{len(rest)} more", *sums))
    return [*shown, _row("sum", "", here, there)]


def _row(what: str, who: str, here: int, there: int) -> str:
    return f"  {what:<9} {who:<58} {ms(here):>20} {ms(there):>18} {_signed(there - here):>20}"


def _signed(time_ps: int) -> str:
    return f"{'+' if time_ps > 0 else ''}{ms(time_ps)}"


def _says(found: Counterfactual) -> str:
    bounds = found.bounds
    if bounds is None:
        return "this run says nothing of such a change: only the other run does"
    if bounds.least_ps is None:
        said = f"this run says {_signed(-bounds.most_ps)} at most, and nothing of how much longer it may take"
        return said + (": so it is" if found.as_blamed else ": it is not so") + f" ({_parts(bounds)})"
    said = f"this run says {_signed(-bounds.most_ps)} to {_signed(-bounds.least_ps)}"
    return said + (": so it is" if found.as_blamed else ": it is not so") + f" ({_parts(bounds)})"


def _parts(bounds: Bounds) -> str:
    return ", ".join(f"{name} {ms(took)}" for name, took in bounds.parts().items()) or "nothing"


def blamed(session: DebugSession, request: int) -> list[str]:
    """Whom to ask about: without whom this run says that the latency would be less."""
    with ledger(session) as books:
        answer, charges = books.answer(request), books.charges(request)
    shown = [
        f"request {request}: {ms(answer.total_ps)}; this run says that it would be otherwise",
        f"  {'without':<12} {'at most by':>20} {'at least by':>20}  of that",
    ]
    for charge in charges[:SHOWN]:
        ends = f"{_signed(-charge.most_ps):>20} {_signed(-charge.least_ps):>20}"
        shown.append(f"  {f'request {charge.request}':<12} {ends}  {_parts(charge)}")
    return shown if charges else [f"request {request}: {ms(answer.total_ps)}; nobody costs it anything"]


def as_json(found: Counterfactual) -> dict[str, Any]:
    """The same for programs; times in ps, differences as there minus here. Bounds of which nothing is said are null."""
    bounds = found.bounds
    return {
        "request": found.request,
        "without": list(found.change.without),
        "with": dict(found.change.values),
        "here_ps": found.here.total_ps,
        "there_ps": found.there.total_ps,
        "difference_ps": -found.saved_ps,
        "bounds_ps": bounds and [-bounds.most_ps, None if bounds.least_ps is None else -bounds.least_ps],
        "as_blamed": found.as_blamed,
        "otherwise": found.otherwise(),
        "elsewhere": list(found.elsewhere),
        "parts_at": None if found.parts_at is None else {"event": found.parts_at, "time_ps": found.parts_ps},
        "parts": [_entry(key, here_ps=here, there_ps=there) for key, (here, there) in found.parts().items()],
    }


def split_as_json(answer: LatencySplit) -> dict[str, Any]:
    """`why` of one request for programs; times in ps."""
    keys = sorted({*answer.before, *answer.after}, key=lambda key: (-answer.before[key] - answer.after[key], key))
    return {
        "request": answer.request,
        "latency_ps": answer.total_ps,
        "ttft_ps": answer.first_ps,
        "done": answer.done,
        "failed": answer.failed or None,
        "parts": [
            {
                **_entry(key, before_ps=answer.before[key], after_ps=answer.after[key]),
                "held": {str(holder): units for holder, units in sorted(answer.held.get(key, {}).items())},
            }
            for key in keys
        ],
        "energy_j": answer.energy_j,
    }


def _entry(key: Key, **times: int) -> dict[str, Any]:
    return {"what": key[0], "who": key[1], **times}
