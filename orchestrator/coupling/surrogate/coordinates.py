"""What an operation is a function of: a few numbers that answers can be interpolated over.

An attention operation is a sum of terms: its decodes (how many, their mean context) and each of its
prompts (new, cached). Whether a component's answers do add up, and do not depend on how contexts
spread around their mean, is asked of it before that is used (`probes`).
"""

from __future__ import annotations

from typing import NamedTuple

Values = tuple[int, ...]


class Term(NamedTuple):
    """One point of one family: ``family`` names the coordinates."""

    family: str
    point: tuple[float, ...]


PLAIN, EQUAL, SPREAD, PROMPT = "plain", "equal", "spread", "prompt"


def terms(kind: str, values: Values) -> list[Term]:
    """The terms an operation is made of."""
    if kind != "attention":
        return [Term(PLAIN, values)]
    decodes, total, longest, shortest = values[:4]
    found = []
    if decodes:
        family = EQUAL if longest == shortest else SPREAD
        found.append(Term(family, (decodes, total / decodes)))
    found += [Term(PROMPT, pair) for pair in zip(values[4::2], values[5::2], strict=True)]
    return found or [Term(EQUAL, (0, 0))]


def operation(family: str, point: tuple[int, ...]) -> Values:
    """The numbers of the operation at a point of a family: contexts that spread lie half below to half above."""
    if family == PLAIN:
        return point
    if family == PROMPT:
        return (0, 0, 0, 0, *point)
    decodes, context = point
    around = context // 2 if family == SPREAD else 0
    return (decodes, decodes * context, context + around, context - around)


def assumptions(kind: str, values: Values) -> tuple[str, ...]:
    """Which of `PROBES` must hold for the terms of this operation to stand for it."""
    if kind != "attention":
        return ()
    found = terms(kind, values)
    return (("spread",) if any(term.family == SPREAD for term in found) else ()) + (("sum",) if len(found) > 1 else ())


#: assumption -> operations, of attention, whose answers must be the sum of their terms' answers.
PROBES: dict[str, tuple[Values, ...]] = {
    "spread": ((8, 8 * 512, 900, 100), (24, 24 * 1000, 1100, 900), (3, 3 * 300, 500, 100)),
    "sum": ((8, 8 * 512, 768, 256, 256, 0), (64, 64 * 300, 450, 150, 128, 512, 512, 0), (0, 0, 0, 0, 256, 0, 96, 32)),
}
