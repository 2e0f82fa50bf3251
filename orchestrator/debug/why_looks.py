"""What `why` shows: one request as a table that adds up, who held what it waited for, and many requests as rows."""

from __future__ import annotations

from collections import Counter

from ..units import PS_PER_MS
from .looks import ms
from .session import DebugSession
from .why import LatencySplit, why, why_all, why_slowest, why_step
from .witness import Step

NAMED = 3  # holders, and layers of a step, that are named


def because(session: DebugSession, request: int, answer: LatencySplit | None = None) -> list[str]:
    """`why` of a request, or the answer that is there already, as a table whose lines add up to its latency."""
    answer = answer or why(session, request)
    state_ = "arrival to last token" if answer.done else "arrival to now (not done)"
    state_ = f"arrival until it failed, {answer.failed}" if answer.failed else state_
    none = ", no token" if answer.failed else ", no token yet"
    first = f", first token after {ms(answer.first_ps)}" if answer.first_ps is not None else none
    found = [f"request {request}: {ms(answer.total_ps)} from {state_}{first}"]
    if answer.cached is not None:
        tiers = "".join(f", {tokens} in {tier}" for tier, tokens in answer.recalled.items())
        here = answer.cached - sum(answer.recalled.values())
        found.append(f"  of {answer.prompt} prompt tokens {here} were in the prefix cache{tiers}")
    found.append(f"  {'what':<9} {'who':<58} {'before first token':>20} {'after':>18} {'share':>7}")
    for key in _rows(answer):
        both = answer.before[key] + answer.after[key]
        share = f"{both / answer.total_ps:.1%}" if answer.total_ps else ""
        found.append(f"  {key[0]:<9} {key[1]:<58} {ms(answer.before[key]):>20} {ms(answer.after[key]):>18} {share:>7}")
    before, after = sum(answer.before.values()), sum(answer.after.values())
    found.append(f"  {'sum':<9} {'':<58} {ms(before):>20} {ms(after):>18} {ms(before + after):>7}")
    return found + _energy(answer) + _holders(answer) + _longest(answer)


def _rows(answer: LatencySplit) -> list[tuple[str, str]]:
    """(what, who), the longest first."""
    return sorted(set(answer.before) | set(answer.after), key=lambda k: (-(answer.before[k] + answer.after[k]), k))


def _energy(answer: LatencySplit) -> list[str]:
    spent = answer.energy_j
    if not spent:
        return []
    shown = ", ".join(f"{component} {joules:.3f} J" for component, joules in spent.items())
    return [f"energy of its steps, by its share of their tokens: {sum(spent.values()):.3f} J ({shown})"]


def _holders(answer: LatencySplit) -> list[str]:
    """Of each wait who had what it waited for: shares of blocks, places or prompt tokens over its time."""
    found = [f"  {key[1]}: {_shares(answer.held[key])}" for key in _rows(answer) if answer.held.get(key)]
    return ["who held what it waited for:", *found] if found else []


def _shares(held: Counter[int]) -> str:
    whole = sum(held.values())
    first = sorted(held.items(), key=lambda item: (-item[1], item[0]))[:NAMED]
    shown = ", ".join(f"request {number} {units / whole:.1%}" for number, units in first)
    rest = whole - sum(units for _, units in first)
    return shown + (f", {len(held) - len(first)} others {rest / whole:.1%}" if rest else "")


def _longest(answer: LatencySplit) -> list[str]:
    found = ["its longest steps:"]
    for step in sorted(answer.steps, key=lambda s: s.start_ps - s.end_ps)[:3]:
        parts: Counter[str] = Counter()
        for part in step.path():
            parts[f"{part.component}: {part.layer}"] += part.took_ps
        shown = ", ".join(f"{name} {ms(took)}" for name, took in parts.most_common(NAMED))
        found.append(f"  step {step.number} of {step.instance}, {ms(step.took_ps)} from {ms(step.start_ps)}: {shown}")
        found += _stretched(step)
    return found if answer.steps else []


def step(session: DebugSession, instance: str, number: int) -> list[str]:
    """`why` of a step: what every component does in it by layer, as parts that add up to it. Raises InputError."""
    found = why_step(session, instance, number)
    took = found.took_ps
    parts: Counter[tuple[str, str]] = Counter()
    for part in found.path():
        parts[part.component, part.layer] += part.took_ps
    shown = [f"step {number} of {instance}, {ms(took)} from {ms(found.start_ps)}, of {len(found.requests)} requests"]
    for (component, layer), spent in sorted(parts.items(), key=lambda item: (-item[1], item[0])):
        shown.append(f"  {component:<24} {layer:<34} {ms(spent):>18} {spent / took:>7.1%}")
    return [*shown, f"  {'sum':<24} {'':<34} {ms(took):>18}", *_stretched(found)]


def _stretched(step: Step) -> list[str]:
    """Whose prompts the step computes; what they cost of it by their share of its tokens, which is no measurement."""
    if not step.decided or not step.decided.prompts:
        return []
    took, tokens = step.took_ps, step.decided.tokens
    most = sorted(step.decided.prompts.items(), key=lambda item: (-item[1], item[0]))[:NAMED]
    shown = ", ".join(f"{ms(took * count // tokens)} the {count} of request {number}" for number, count in most)
    more = len(step.decided.prompts) - len(most)
    return [f"    by share of its {tokens} tokens: {shown}" + (f", {more} more prompts" if more else "")]


def table(session: DebugSession, slowest: int | None = None) -> list[str]:
    """All requests that have arrived by now, or the ``slowest`` of them first, by what took their time."""
    answers = why_all(session) if slowest is None else why_slowest(session, slowest)
    columns = sorted({what for answer in answers for what, _ in (*answer.before, *answer.after)})
    head = "".join(f"{f'{what} ms':>16}" for what in columns)
    found = [f"{'request':>8} {'latency ms':>16} {'TTFT ms':>16}{head}{'J':>12}  most of it"]
    for answer in answers:
        first = _plain(answer.first_ps) if answer.first_ps is not None else "-"
        cells = "".join(f"{_plain(_of(answer, what)):>16}" for what in columns)
        cells += f"{sum(answer.energy_j.values()):>12.3f}"
        undone = "" if answer.done else f" ({answer.failed or 'not done'})"
        found.append(f"{answer.request:>8} {_plain(answer.total_ps):>16} {first:>16}{cells}  {_most(answer)}{undone}")
    whole = "".join(f"{_plain(sum(_of(answer, what) for answer in answers)):>16}" for what in columns)
    joules = sum(sum(answer.energy_j.values()) for answer in answers)
    latency = _plain(sum(answer.total_ps for answer in answers))
    return [*found, f"{'sum':>8} {latency:>16} {'':>16}{whole}{joules:>12.3f}"]


def _plain(time_ps: int) -> str:
    return f"{time_ps / PS_PER_MS:.6f}"


def _of(answer: LatencySplit, what: str) -> int:
    return sum(took for split in (answer.before, answer.after) for (kind, _), took in split.items() if kind == what)


def _most(answer: LatencySplit) -> str:
    """The longest of its parts, and who is first to blame for it."""
    rows = _rows(answer)
    if not rows:
        return "nothing yet"
    held = answer.held.get(rows[0])
    by = f" (request {_first(held)} first)" if held else ""
    return f"{rows[0][0]} {rows[0][1]}{by}"


def _first(held: Counter[int]) -> int:
    return min(held, key=lambda number: (-held[number], number))
