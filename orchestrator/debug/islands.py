"""The console's `inside`: an operation of an island played once more, and what passed at its ports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from metronome.hwmodels.interface import OPERATION_VALUES, Operation, Template

from ..coupling.wired.inside import Passed, island, played
from ..errors import InputError
from ..lowering.work import Work
from ..strict import did_you_mean
from .expressions import number
from .looks import ms
from .session import DebugSession

MOST_SHOWN = 12  # requests, the first of them
NS = 1000


def inside(session: DebugSession, layer: str, numbers: Sequence[str], trace: Path | None = None) -> Iterator[str]:
    """Lines about it; with ``trace`` also a Perfetto trace. Raises InputError, ComponentFailure."""
    work = _work(session, layer)
    values = tuple(map(number, numbers))
    names = OPERATION_VALUES[work.template.kind]
    if len(values) < len(names):
        raise InputError("debugger", "inside", " ".join(numbers), f"{work.template.kind} takes {', '.join(names)}")
    link = session.inside.link(work.component).live.link
    templates = _templates(session, work.component)
    took, passed, figures = played(link, templates, Operation(work.template.id, values))
    yield f"{work.template.kind} '{layer}' {list(values)} on {work.component}: {ms(took)}, {len(passed)} requests"
    if figures:
        yield f"  {work.component}: {', '.join(f'{name} {value}' for name, value in figures.items())}"
    yield from _by_port(passed)
    for one in passed[:MOST_SHOWN]:
        yield (
            f"  {one.at_ps / NS:>12.3f} ns  {one.asker}.{one.port} {one.kind} {one.op_id} {list(one.values)}: "
            f"{one.target} from {one.start_ps / NS:.3f} to {one.finish_ps / NS:.3f} ns"
        )
    if len(passed) > MOST_SHOWN:
        yield f"  ... and {len(passed) - MOST_SHOWN} more"
    if trace is not None:
        _write(trace, f"{layer} {list(values)}", work.component, took, passed, figures)
        yield f"written: {trace}"


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


def _works(session: DebugSession) -> list[Work]:
    return [work for unit in session.simulation.units for work in unit.plan.works]


def _work(session: DebugSession, layer: str) -> Work:
    """The first operation of that layer on an island."""
    simulation = session.simulation
    wired = [spec.name for spec in simulation.specs if spec.wires]
    works = [work for work in _works(session) if work.component in wired]
    if not works:
        island(session.inside.link(simulation.specs[0].name).live.link)
    layers = dict.fromkeys(work.template.layer for work in works)
    if layer not in layers:
        allowed = f"{did_you_mean(layer, layers)}layers on islands: {', '.join(layers)}"
        raise InputError("debugger", "inside", layer, allowed)
    return next(work for work in works if work.template.layer == layer)


def _templates(session: DebugSession, component: str) -> list[Template]:
    found = {work.template.id: work.template for work in _works(session) if work.component == component}
    return list(found.values())


def _write(
    path: Path, name: str, component: str, took: int, passed: Sequence[Passed], figures: Mapping[str, float]
) -> None:
    """The operation as one span, with the figures of who does it, below it a row for each request on its way."""
    from ..instruments.perfetto import Trace
    from ..record.replay import check_trace

    check_trace()
    with Trace(path) as trace:
        track = trace.track(component)
        facts = {key: value if isinstance(value, int) else str(value) for key, value in figures.items()}
        trace.begin(track, 0, name, (), **facts)
        trace.end(track, took)
        for one in passed:
            row = trace.row(one.at_ps, one.finish_ps, f"{one.asker}.{one.port} -> {one.target}")
            trace.begin(row, one.at_ps, f"{one.kind} {one.op_id}", bytes=one.values[0], starts_ps=one.start_ps)
            trace.end(row, one.finish_ps)
