"""Requests on the page: who is there, why one took so long, and how two futures differ for all of them."""

from __future__ import annotations

from collections import Counter
from itertools import zip_longest
from typing import Any

from ..debug import looks, state
from ..debug.session import DebugSession
from ..debug.why import LatencySplit, why
from ..debug.why_looks import because
from ..report.metrics import latencies, summary
from .viewer import Shown

SHOWN = 50  # requests under way, and as many that are done
STEPS = 5  # of its longest steps
CHANGED = 20  # requests that fare most differently in another future
HELD = 8  # holders that are named


def listing(shown: Shown) -> dict[str, Any]:
    """Requests under way, and the slowest that are done."""
    simulation = shown.session.simulation
    under_way = sorted({one.request.id for replica in simulation.replicas for one in replica.requests()})
    alive = []
    for number in under_way[:SHOWN]:
        data = state.request(simulation, str(number))
        alive.append({"id": number, "state": data["state"], "engine": data["engine"], "produced": data["produced"]})
    done = sorted(simulation.recorder.done, key=lambda one: (one.request.arrival_ps - one.end_ps, one.request.id))
    slowest = []
    for one in done[:SHOWN]:
        took, first = one.end_ps - one.request.arrival_ps, one.first_token_ps - one.request.arrival_ps
        slowest.append({"id": one.request.id, "latency_ps": str(took), "ttft_ps": str(first)})
    failed = [{"id": one.state.request.id, "reason": one.reason} for one in simulation.recorder.failed[:SHOWN]]
    more = max(0, len(under_way) - SHOWN)
    return {"alive": alive, "more": more, "slowest": slowest, "done": len(done), "failed": failed}


def because_of(shown: Shown, request: int) -> dict[str, Any]:
    """Where a request's latency came from, as parts that add up to it, and the console's words for the same."""
    answer = why(shown.session, request)
    words = because(shown.session, request, answer)
    parts = []
    for key in sorted(set(answer.before) | set(answer.after), key=lambda k: (-answer.before[k] - answer.after[k], k)):
        before, after = answer.before[key], answer.after[key]
        part = {"what": key[0], "who": key[1], "before_ps": str(before), "after_ps": str(after)}
        parts.append({**part, "held": _held(answer, key)})
    row = next(row for row in shown.session.log if row.kind == "arrival" and row.about == request)
    return {
        "request": request,
        "done": answer.done,
        "arrival_ps": str(row.time_ps),
        "total_ps": str(answer.total_ps),
        "first_ps": None if answer.first_ps is None else str(answer.first_ps),
        "prompt": answer.prompt,
        "cached": None if answer.cached is None else answer.cached - sum(answer.recalled.values()),
        "recalled": dict(answer.recalled),
        "parts": parts,
        "energy_j": answer.energy_j,
        "steps": _steps(answer),
        "words": words,
    }


def _held(answer: LatencySplit, key: tuple[str, str]) -> list[dict[str, Any]]:
    """Shares of who held what a wait waited for, the largest first."""
    held = answer.held.get(key, Counter())
    whole = sum(held.values())
    first = sorted(held.items(), key=lambda item: (-item[1], item[0]))[:HELD]
    return [{"request": number, "share": units / whole} for number, units in first] if whole else []


def _steps(answer: LatencySplit) -> list[dict[str, Any]]:
    longest = sorted(answer.steps, key=lambda step: step.start_ps - step.end_ps)[:STEPS]
    found = []
    for step in longest:
        parts = [{"who": s.component, "layer": s.layer, "took_ps": str(s.took_ps)} for s in step.path()]
        prompts = sorted(step.decided.prompts.items(), key=lambda i: (-i[1], i[0])) if step.decided else []
        found.append(
            {
                "instance": step.instance,
                "number": step.number,
                "start_ps": str(step.start_ps),
                "took_ps": str(step.took_ps),
                "requests": len(step.requests),
                "tokens": step.decided.tokens if step.decided else None,
                "prompts": [{"request": number, "tokens": count} for number, count in prompts[:HELD]],
                "parts": parts,
            }
        )
    return found


def compare(one: Shown, other: Shown) -> dict[str, Any]:
    """Two futures: where they part, their figures as far as each has come, and who fares differently."""
    sides = [_figures(shown.session) for shown in (one, other)]
    ends = [{s.request.id: s for s in shown.session.simulation.recorder.done} for shown in (one, other)]
    changed = []
    for number in sorted(ends[0].keys() & ends[1].keys()):
        took = [s[number].end_ps - s[number].request.arrival_ps for s in ends]
        if took[0] != took[1]:
            changed.append((number, *took))
    changed.sort(key=lambda row: (-abs(row[2] - row[1]), row[0]))
    return {
        "sides": sides,
        "parts_at": _parting(one.session, other.session),
        "both": len(ends[0].keys() & ends[1].keys()),
        "changed": [{"id": n, "one_ps": str(a), "other_ps": str(b)} for n, a, b in changed[:CHANGED]],
        "changed_count": len(changed),
    }


def _parting(one: DebugSession, other: DebugSession) -> dict[str, Any] | None:
    """The first event that differs, as far as both are known; None where there is none."""
    for number, (row, fellow) in enumerate(zip_longest(one.log, other.log), 1):
        if row != fellow:
            lines = [looks.line(s, number).strip() if number <= s.frontier else "not known yet" for s in (one, other)]
            return {"event": number, "one": lines[0], "other": lines[1]}
    return None


def _figures(session: DebugSession) -> dict[str, Any]:
    recorder = session.simulation.recorder
    found: dict[str, Any] = {"done": len(recorder.done), "now_ps": str(session.now_ps), "ended": session.ended}
    if recorder.done:
        times = latencies(recorder.so_far())
        for name, values in (("ttft", times.ttft), ("tpot", times.tpot), ("e2el", times.e2el)):
            found |= summary(name, values)
    return found
