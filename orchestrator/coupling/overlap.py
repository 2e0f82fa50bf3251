"""When the portions of a stretch are done: one after another, those of a pair at the same time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .costs import Cost
from .program import Portion
from .uses import Values

Costs = Sequence[tuple[Portion, Values, Cost]]  # of one member: its portions, their numbers, what they cost


class Span(NamedTuple):
    """``start_ps`` counts from the start of the stretch. ``values``: the portion's numbers."""

    portion: Portion
    cost: Cost
    start_ps: int
    values: Values


def took_ps(costs: Costs) -> int:
    """From the start of the first to the end of the last."""
    since = reached = 0
    pair = None
    for portion, _, cost in costs:
        if portion.pair is None or portion.pair != pair:
            since = reached
        pair = portion.pair
        reached = max(reached, since + cost.duration_ps)
    return reached


def spans(costs: Costs) -> tuple[list[Span], list[Span]]:
    """Those that follow one another from start to end, and those hidden behind the longer one of their pair."""
    in_turn: list[Span] = []
    hidden: list[Span] = []
    reached = 0
    for portion, values, cost in costs:
        last = in_turn[-1] if in_turn else None
        if last is None or portion.pair is None or portion.pair != last.portion.pair:
            in_turn.append(Span(portion, cost, reached, values))
            reached += cost.duration_ps
            continue
        mine = Span(portion, cost, last.start_ps, values)
        if cost.duration_ps > last.cost.duration_ps:
            in_turn[-1], mine = mine, last
            reached = in_turn[-1].start_ps + cost.duration_ps
        hidden.append(mine)
    return in_turn, hidden
