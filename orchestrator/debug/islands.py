"""The console's `inside`: an operation of an island played once more, and what passed at its ports; `bt` of that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from metronome.hwmodels.interface import OPERATION_VALUES

from ..coupling.wired.inside import Passed, Played, island
from ..errors import InputError
from ..lowering.work import Work
from ..strict import did_you_mean
from .expressions import number
from .looks import ms
from .ported import Ported, Question, causes, check_request
from .session import DebugSession

MOST_SHOWN = 12  # requests, the first of them, and causes, the last of them
COMPUTED = 3  # operations of a step, those that took longest
NS = 1000


def question(session: DebugSession, layer: str, numbers: Sequence[str]) -> Question:
    """The first operation of that layer on an island. Raises InputError."""
    work = _work(session, layer)
    values = tuple(map(number, numbers))
    names = OPERATION_VALUES[work.template.kind]
    if len(values) < len(names):
        raise InputError("debugger", "inside", " ".join(numbers), f"{work.template.kind} takes {', '.join(names)}")
    most = max(unit.max_model_len for unit in session.simulation.units)
    if not 1 <= values[0] <= most:
        raise InputError("debugger", "inside", values[0], f"{names[0]} from 1 to {most}")
    return Question(work.component, work.template.id, values)


def inside(ported: Ported, asked: Question, trace: Path | None = None) -> Iterator[str]:
    """Lines about it; with ``trace`` also a Perfetto trace. Raises InputError, ComponentFailure."""
    found = ported.play(asked)
    took, passed, figures = found
    yield f"{ported.named(asked)}: {ms(took)}, {len(passed)} requests"
    if figures:
        yield f"  {asked.component}: {', '.join(f'{name} {value}' for name, value in figures.items())}"
    yield from _by_port(passed)
    for place, one in enumerate(passed[:MOST_SHOWN], 1):
        yield f"  #{place:<4}{_request(one)}"
    if len(passed) > MOST_SHOWN:
        yield f"  ... and {len(passed) - MOST_SHOWN} more; `bt N`: why request N was made"
    if trace is not None:
        layer = ported.templates(asked.component)[asked.template].layer
        _write(trace, f"{layer} {list(asked.values)}", asked.component, found)
        yield f"written: {trace}"


def _request(one: Passed) -> str:
    return (
        f"{one.at_ps / NS:>12.3f} ns  {one.asker}.{one.port} {one.kind} {one.op_id} {list(one.values)}: "
        f"{one.target} from {one.start_ps / NS:.3f} to {one.finish_ps / NS:.3f} ns"
    )


def because(ported: Ported, asked: Question | None, which: int) -> Iterator[str]:
    """`bt N`: a request that `inside` has shown, what made its asker ask, and so on back to the operation."""
    passed = ported.play(asked).passed if asked else None
    place = check_request(which, passed)
    if asked is None or passed is None:
        raise AssertionError("checked")
    found = causes(passed, place, asked.component)
    for depth, (at, why) in enumerate(found[:MOST_SHOWN]):
        yield f"#{depth:<4}request {at + 1}: {_request(passed[at]).strip()}"
        yield f"     asked for at {passed[at].asked_ps / NS:.3f} ns, {why}"
    if len(found) > MOST_SHOWN:
        yield f"... {len(found) - MOST_SHOWN} more ..."
    yield f"#{len(found):<4}{ported.named(asked)}, from 0.000 ns"


def computed(ported: Ported) -> list[str]:
    """Of a step that the present event ends: what islands did for it."""
    step = ported.step()
    if step is None:
        return []
    done = sorted(ported.computed(step), key=lambda one: -one[2])
    shown = [f"{w.template.kind} '{w.template.layer}' {list(values)} {ms(took)}" for w, values, took in done[:COMPUTED]]
    if not done:
        return []
    more = f" and {len(done) - COMPUTED} more" if len(done) > COMPUTED else ""
    work, values, _ = done[0]
    look = f"inside {work.template.layer} {' '.join(map(str, values))}"
    return [f"     {work.component}, wired to its memory, did {', '.join(shown)}{more}; `{look}` looks into the first"]


def _by_port(passed: Sequence[Passed]) -> Iterator[str]:
    kinds = dict.fromkeys((one.asker, one.port, one.target, one.kind) for one in passed)
    for asker, port, target, kind in kinds:
        those = [one for one in passed if (one.asker, one.port, one.target, one.kind) == (asker, port, target, kind)]
        waits = [one.finish_ps - one.at_ps for one in those]
        spent = max(one.finish_ps for one in those) - min(one.at_ps for one in those)
        size = sum(one.values[0] for one in those)
        yield (
            f"  {asker}.{port} -> {target}: {len(those)} {kind}, {size} bytes, {size / spent * 1e3:.1f} GB/s; "
            f"answered after {min(waits) / NS:.3f} to {max(waits) / NS:.3f} ns, "
            f"{sum(waits) / len(waits) / NS:.3f} in the mean"
        )


def _work(session: DebugSession, layer: str) -> Work:
    """The first operation of that layer on an island."""
    simulation = session.simulation
    wired = [spec.name for spec in simulation.specs if spec.wires]
    works = [work for unit in simulation.units for work in unit.plan.works if work.component in wired]
    if not works:
        island(session.inside.link(simulation.specs[0].name).live.link)
    layers = dict.fromkeys(work.template.layer for work in works)
    if layer not in layers:
        allowed = f"{did_you_mean(layer, layers)}layers on islands: {', '.join(layers)}"
        raise InputError("debugger", "inside", layer, allowed)
    return next(work for work in works if work.template.layer == layer)


def _write(path: Path, name: str, component: str, found: Played) -> None:
    """The operation as one span, with the figures of who does it, below it a row for each request on its way."""
    from ..instruments.perfetto import Trace
    from ..record.replay import check_trace

    check_trace()
    with Trace(path) as trace:
        track = trace.track(component)
        facts = {key: value if isinstance(value, int) else str(value) for key, value in found.figures.items()}
        trace.begin(track, 0, name, (), **facts)
        trace.end(track, found.took_ps)
        for one in found.passed:
            row = trace.row(one.at_ps, one.finish_ps, f"{one.asker}.{one.port} -> {one.target}")
            trace.begin(row, one.at_ps, f"{one.kind} {one.op_id}", bytes=one.values[0], starts_ps=one.start_ps)
            trace.end(row, one.finish_ps)
